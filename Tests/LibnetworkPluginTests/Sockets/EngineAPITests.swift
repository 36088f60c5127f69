// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Foundation
import TestSupport
import Testing

@testable import LibnetworkPlugin

@Suite struct `The engine's API` {
    private static let inspection = """
        {"Name":"web","Id":"\(Sample.network)","Scope":"local","Driver":"calico","EnableIPv6":false,"Internal":true,
        "IPAM":{"Driver":"calico-ipam","Options":null,"Config":[{"Subnet":"192.168.0.0/16","Gateway":"0.0.0.0"}]},
        "Containers":{"4f1d":{"Name":"web-1","EndpointID":"e1","IPv4Address":"192.168.0.5/32"},"ep-e2":{"Name":"web-2",
        "EndpointID":"e2"}},"Options":{"com.docker.network.driver.mtu":"1400"},"Labels":{}}
        """

    private static func reply(_ status: String, _ body: String) -> String {
        "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private func asking(
        _ answer: String?, limit: Duration = .seconds(20), id: String = Sample.network
    ) async throws -> Result<EngineNetwork?, any Error> {
        try await asking(answer, limit: limit, path: "/networks/\(id)") { try await $0.lookUp(id) }
    }

    /// An engine that answers one request with `answer` and closes, or keeps silent where that is `nil`.
    private func asking<Answer: Sendable>(
        _ answer: String?, limit: Duration = .seconds(20), path expected: String,
        _ question: (EngineAPI) async throws -> Answer
    ) async throws -> Result<Answer, any Error> {
        try await withTemporaryFolder { folder in
            let path = folder + "/docker.sock"
            let listener = try UnixSocket.listen(path)
            async let served: String = onThread {
                let connection = try listener.accept()
                let request = try connection.read { $0.hasSuffix("\r\n\r\n") }
                if let answer { try? connection.write(answer) } else { _ = try? connection.read { _ in false } }
                return request
            }
            let result = await Result.catching { try await question(EngineAPI(.unix(path: path), limit: limit)) }
            #expect(try await served.hasPrefix("GET \(expected) HTTP/1.1\r\n"))
            return result
        }
    }

    @Test func `a network is told with all endpoints, those of starting containers too`() async throws {
        let network = try #require(try await asking(Self.reply("200 OK", Self.inspection)).get())
        #expect(network.name == "web" && network.isInternal)
        #expect(network.endpoints == ["e1", "e2"])
        #expect(network.containers == ["e1": .init(name: "web-1", id: "4f1d"), "e2": .init(name: "web-2")])
        #expect(network.subnets == ["192.168.0.0/16"])
        #expect(network.options == ["com.docker.network.driver.mtu": "1400"])
    }

    @Test func `all networks are told with the addresses that they reserve`() async throws {
        let list = #"""
            [{"Name":"web","Id":"w","Scope":"local","Driver":"calico","IPAM":{"Driver":"calico-ipam","Options":{"a":"b"},
            "Config":[{"Subnet":"192.168.0.0/16","AuxiliaryAddresses":{"router":"192.168.0.1","nas":"192.168.0.2"}},
            {"Subnet":"fd00:1::/64","AuxiliaryAddresses":{"router":"fd00:1::1"}}]},"Containers":{},"Options":null},
            {"Name":"s","Id":"s","Scope":"swarm","Driver":"calico:latest","IPAM":{"Config":null},"Containers":null},
            {"Name":"ingress","Id":"i","Scope":"swarm","Driver":"overlay","IPAM":{"Config":[{"Subnet":"10.0.0.0/24"}]}}]
            """#
        let networks = try await asking(Self.reply("200 OK", list), path: "/networks") { try await $0.networks() }.get()
        let reserved = ["192.168.0.1", "192.168.0.2", "fd00:1::1"]
        #expect(networks.first?.auxiliaryAddresses == Set(reserved.compactMap { IPAddress($0) }))
        #expect(networks.first?.ipamOptions == ["a": "b"])
        #expect(networks.filter(\.isOfSwarm).map(\.name) == ["s"])
        let silence = try await asking(Self.reply("500 Internal Server Error", "[]"), path: "/networks") {
            try await $0.networks()
        }
        #expect(throws: (any Error).self) { try silence.get() }
    }

    @Test func `a network the engine does not know is none`() async throws {
        let answer = Self.reply("404 Not Found", #"{"message":"network x not found"}"#)
        #expect(try await asking(answer).get() == nil)
    }

    @Test(arguments: [
        ("500 of the engine", Self.reply("500 Internal Server Error", #"{"message":"no"}"#)),
        ("no JSON", Self.reply("200 OK", "<html>")), ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n"), ("nothing", ""),
        ("half an answer", String(Self.reply("200 OK", Self.inspection).dropLast(40))),
    ])
    func `what is no answer is an error, not an absence`(_ what: String, _ answer: String) async throws {
        let result = try await asking(answer)
        #expect(throws: (any Error).self) { try result.get() }
    }

    @Test func `an engine that keeps silent is not waited for`() async throws {
        let start = ContinuousClock.now
        let result = try await asking(nil, limit: .milliseconds(200))
        #expect(throws: DeadlineExceeded.self) { try result.get() }
        #expect(start.duration(to: .now) < .seconds(30))
    }

    @Test func `an endless answer is cut off`() async throws {
        let result = try await asking(
            "HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n" + String(repeating: "x", count: 17 << 20),
            limit: .seconds(20))
        #expect { try result.get() } throws: { "\($0)".contains("exceeds 16 MiB") }
    }

    @Test(arguments: [
        ("unix:///nowhere/docker.sock", "No such file or directory"), ("tcp://127.0.0.1:1", "Connection refused"),
    ])
    func `an engine that is not there is named, with the kernel's reason`(_ text: String, _ reason: String) async throws
    {
        let address = try #require(EngineAPI.Address(text))
        await #expect { try await EngineAPI(address, limit: .seconds(20)).lookUp(Sample.network) } throws: {
            "\($0)" == "no engine answers at \(text): \(reason)"
        }
    }

    @Test func `an id that could lead elsewhere is not asked for`() async throws {
        #expect(try await EngineAPI(.unix(path: "/nowhere/docker.sock")).lookUp("../containers/x") == nil)
    }

    @Test func `a container is looked for by its whole name, in the list, whatever its state`() async throws {
        let list = #"""
            [{"Id":"1111","Names":["/web/alias","/other"],"Labels":{}},
            {"Id":"2222","Names":["/web.1-a_b"],"Labels":{"org.projectcalico.label.role":"db"},"State":"created",
            "NetworkSettings":{"Networks":{"blue":{"EndpointID":""},"red":null}}},
            {"Id":"3333","Names":null,"Labels":null}]
            """#
        let path = "/containers/json?all=1&filters=%7B%22name%22%3A%5B%22%5E%2Fweb%5B.%5D1-a_b%24%22%5D%7D"
        let container = try await asking(Self.reply("200 OK", list), path: path) {
            try await $0.container(named: "web.1-a_b")
        }.get()
        #expect(
            container
                == .init(
                    id: "2222", name: "web.1-a_b", labels: ["org.projectcalico.label.role": "db"],
                    networks: ["blue", "red"]))
        #expect(path.removingPercentEncoding?.hasSuffix(#"filters={"name":["^/web[.]1-a_b$"]}"#) == true)
    }

    @Test func `a container that is not in the list is none, and one without labels has none`() async throws {
        let path = "/containers/json?all=1&filters=%7B%22name%22%3A%5B%22%5E%2Fweb%24%22%5D%7D"
        for (list, expected) in [
            ("[]", nil), (#"[{"Id":"1","Names":["/web2"]}]"#, nil),
            (#"[{"Id":"1","Names":["/web"],"Labels":null}]"#, EngineContainer(id: "1", name: "web")),
        ] {
            let found = try await asking(Self.reply("200 OK", list), path: path) {
                try await $0.container(named: "web")
            }
            #expect(try found.get() == expected)
        }
        let refused = try await asking(Self.reply("500 Internal Server Error", "{}"), path: path) {
            try await $0.container(named: "web")
        }
        #expect { try refused.get() } throws: { "\($0)".contains("answered 500") }
    }

    @Test(arguments: ["", "a b", "../x", "a\"b", "web*"])
    func `what is no container's name is not asked for`(_ name: String) async throws {
        #expect(try await EngineAPI(.unix(path: "/nowhere/docker.sock")).container(named: name) == nil)
    }

    @Test(arguments: [
        ("unix:///var/run/docker.sock", EngineAPI.Address.unix(path: "/var/run/docker.sock")),
        ("tcp://127.0.0.1:2375", .tcp(host: "127.0.0.1", port: 2375)), ("tcp://127.0.0.1", nil),
        ("ssh://host", nil), ("", nil),
    ])
    func `DOCKER_HOST is read as Docker reads it`(_ text: String, _ expected: EngineAPI.Address?) {
        #expect(EngineAPI.Address(text) == expected)
    }
}

extension Result where Failure == any Error, Success: Sendable {
    fileprivate static func catching(_ body: () async throws -> Success) async -> Self {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}
