// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Glibc
import Testing

@testable import LibnetworkPlugin

@Suite struct `Published ports` {
    private func binding(_ first: UInt16, _ last: UInt16? = nil, container: Int = 80, ip: String = "") -> String {
        #"{"Proto":6,"IP":"","Port":\#(container),"HostIP":"\#(ip)","HostPort":\#(first),"HostPortEnd":\#(last ?? first)}"#
    }

    private func ports(_ life: Life, _ plugin: Plugin) throws -> [UInt16] {
        try plugin.endpoint(life.endpoint)?.spec.ports.compactMap(\.hostPort) ?? []
    }

    @Test func `a published port is taken on the host, recorded with its endpoint, and in force`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let port = try HostPort.free()
        #expect(try await life.program(plugin, ports: "[\(binding(port))]").status == 200)
        #expect(!HostPort.isFree(port))
        #expect(try ports(life, plugin) == [port])
        #expect(!plugin.dataplane.changes.isEmpty)
    }

    private func storedPorts(_ life: Life, _ plugin: Plugin) async throws -> JSONValue? {
        let key = try plugin.network.identity(life.endpoint).key()
        let value = try #require(try await plugin.store.get(key)?.value)
        return try JSONDecoder().decode(JSONValue.self, from: value)["spec"]?["ports"]
    }

    /// What another client does to the endpoint.
    private func setPorts(_ ports: JSONValue, of life: Life, _ plugin: Plugin) async throws {
        let key = try plugin.network.identity(life.endpoint).key()
        let value = try #require(try await plugin.store.get(key)?.value)
        var endpoint = try #require(try JSONDecoder().decode(JSONValue.self, from: value).object)
        var spec = try #require(endpoint["spec"]?.object)
        spec["ports"] = ports
        endpoint["spec"] = .object(spec)
        let changed = try JSONEncoder().encode(JSONValue.object(endpoint))
        _ = try await plugin.store.commit(Transaction(writes: [.put(key, bytes: changed)]))
        await plugin.replica.refresh()
    }

    @Test func `a named port, with every member as Go writes it, outlives what is published`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let written: JSONValue = [
            "name": "sql", "protocol": "TCP", "port": 5432, "hostPort": 0, "hostIP": "", "later": 1,
        ]
        let kept: JSONValue = ["name": "sql", "protocol": "TCP", "port": 5432, "later": 1]
        try await setPorts([written], of: life, plugin)
        #expect(try await life.revoke(plugin).status == 200)
        #expect(try await storedPorts(life, plugin) == [written])
        let port = try HostPort.free()
        let published: JSONValue = ["protocol": "TCP", "port": 80, "hostPort": .integer(Int64(port))]
        #expect(try await life.program(plugin, ports: "[\(binding(port))]").status == 200)
        #expect(try await storedPorts(life, plugin) == [kept, published])
        let words = try plugin.endpoint(life.endpoint)?.metadata.annotations["org.projectcalico.ports"]
        #expect(words == "\(port)->80/tcp")
        #expect(try await life.revoke(plugin).status == 200)
        #expect(try await storedPorts(life, plugin) == [kept])
    }

    @Test func `the same request again gives the same ports`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let both = "[\(binding(0)),\(binding(0)),\(binding(0, container: 81))]"
        _ = try await life.program(plugin, ports: both)
        let first = try ports(life, plugin)
        _ = try await life.program(plugin, ports: both)
        #expect(try ports(life, plugin) == first)
        #expect(Set(first).count == 3 && !first.contains(0))
    }

    @Test func `a port that another program uses is refused by number, and none of the others stays taken`()
        async throws
    {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let free = try HostPort.free()
        let busy = try HostPort.free()
        let program = try HostPort.occupy(busy)
        defer { close(program) }
        let reply = try await life.program(plugin, ports: "[\(binding(free)),\(binding(busy, container: 81))]")
        #expect(reply.refusal?.contains("cannot publish port \(busy)/tcp on this host") == true, "\(reply)")
        let remedy = "another program or container uses it; to find out which: ss -lntup 'sport = :\(busy)'"
        #expect(reply.refusal?.contains(remedy) == true)
        #expect(HostPort.isFree(free))
        #expect(try ports(life, plugin) == [])
    }

    @Test(arguments: [("", "this host"), ("127.0.0.1", "127.0.0.1")])
    func `a port that another container publishes is refused with the container's name`(
        _ ip: String, _ place: String
    ) async throws {
        let plugin = try await Plugin.fresh()
        var (holder, other, next) = (Life(1), Life(2), Life(3))
        holder.container = "web"
        other.container = "shop"
        next.container = "web-2"
        let (elsewhere, port) = (try HostPort.free(), try HostPort.free())
        for (life, number) in [(other, elsewhere), (holder, port)] {
            try await life.start(plugin)
            #expect(try await life.program(plugin, ports: "[\(binding(number))]").status == 200)
        }
        try await next.start(plugin)
        let reply = try await next.program(plugin, ports: "[\(binding(port, ip: ip))]")
        let words =
            "cannot publish port \(port)/tcp on \(place): Address already in use; container web, endpoint "
            + "\(holder.endpoint.abbreviated) on node host-1 uses it"
        #expect(reply.refusal?.hasSuffix(words) == true, "\(reply)")
    }

    @Test func `a port of another address or protocol is not what a refusal names`() async throws {
        let plugin = try await Plugin.fresh()
        let (holder, next) = (Life(1), Life(2))
        let port = try HostPort.free()
        let udp = #"{"Proto":17,"Port":53,"HostPort":\#(port)}"#
        let local = binding(port, ip: "127.0.0.2")
        try await holder.start(plugin)
        #expect(try await holder.program(plugin, ports: "[\(udp),\(local)]").status == 200)
        let program = try HostPort.occupy(port, on: "127.0.0.1")
        defer { close(program) }
        try await next.start(plugin)
        let reply = try await next.program(plugin, ports: "[\(binding(port, ip: "127.0.0.1"))]")
        #expect(reply.refusal?.contains("; another program or container uses it") == true, "\(reply)")
    }

    @Test func `a range gives its first free port`() async throws {
        let plugin = try await Plugin.fresh()
        let first = try HostPort.freeRange(3)
        for (number, expected) in [(1, first), (2, first + 1), (3, first + 2)] {
            let life = Life(number)
            try await life.start(plugin)
            #expect(try await life.program(plugin, ports: "[\(binding(first, first + 2))]").status == 200)
            #expect(try ports(life, plugin) == [expected])
        }
        let fourth = Life(4)
        try await fourth.start(plugin)
        #expect(try await fourth.program(plugin, ports: "[\(binding(first, first + 2))]").status == 500)
    }

    @Test(arguments: ["revoke", "leave", "delete"])
    func `a port is free again after each way to end`(_ end: String) async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let port = try HostPort.free()
        _ = try await life.program(plugin, ports: "[\(binding(port))]")
        let reply =
            switch end {
            case "revoke": try await life.revoke(plugin)
            case "leave": try await life.leave(plugin)
            default: try await life.deleteEndpoint(plugin)
            }
        #expect(reply.status == 200)
        #expect(HostPort.isFree(port))
    }

    @Test func `a restarted plugin takes its ports again`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let port = try HostPort.free()
        _ = try await life.program(plugin, ports: "[\(binding(port, ip: "127.0.0.1"))]")
        // What the kernel does when a process dies.
        await plugin.network.ports.release(life.endpoint)
        #expect(HostPort.isFree(port))
        let next = try await plugin.restarted()
        #expect(!HostPort.isFree(port))
        #expect(try ports(life, next) == [port])
        #expect(try await life.revoke(next).status == 200)
        #expect(HostPort.isFree(port))
    }

    @Test func `a restarted plugin says which port it could not take again`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let port = try HostPort.free()
        _ = try await life.program(plugin, ports: "[\(binding(port))]")
        await plugin.network.ports.release(life.endpoint)
        let program = try HostPort.occupy(port)
        defer { close(program) }
        let log = RecordedLog()
        _ = try await Plugin(on: plugin.store, logger: log.logger)
        let text = log.lines.joined(separator: "\n")
        #expect(text.contains("\(port)/tcp"), "\(text)")
        #expect(text.contains(life.endpoint.abbreviated) && text.contains("Address already in use"))
    }

    @Test(arguments: [
        (#"{"Port":80}"#, "without protocol or port"), (#"{"Proto":1,"Port":80}"#, "protocol 1 has no ports"),
        (#"{"Proto":6,"Port":70000}"#, "without protocol or port"),
        (#"{"Proto":6,"Port":80,"HostIP":"here"}"#, "\"here\" is not an address"),
        (#"{"Proto":6,"Port":80,"HostIP":"203.0.113.7","HostPort":8080}"#, "on 203.0.113.7"),
        (#"{"Proto":6,"Port":81,"HostIP":"::1","HostPort":8081}"#, "port 81/tcp on [::1]: Linux takes no answers"),
    ])
    func `a malformed mapping is refused in words`(_ entry: String, _ words: String) async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let reply = try await life.program(plugin, ports: "[\(entry)]")
        #expect(reply.refusal?.contains(words) == true, "\(reply)")
    }

    @Test(arguments: [
        ("CalicoPoolIPv4", "::", "the container's port 80/tcp on [::]: the container has no IPv6 address"),
        ("CalicoPoolIPv6", "127.0.0.1", "the container's port 80/tcp on 127.0.0.1: the container has no IPv4 address"),
    ])
    func `a host address that the container has no like of is refused, or left to its other networks`(
        _ pool: String, _ address: String, _ words: String
    ) async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(logger: log.logger)
        let life = Life(1, pools: [pool])
        try await life.start(plugin)
        let both = "[\(binding(0, ip: address)),\(binding(0, container: 81))]"
        plugin.engine.learn("web", of: life, networks: ["blue"])
        let reply = try await life.program(plugin, ports: both)
        #expect(reply.refusal?.contains("cannot publish \(words)") == true, "\(reply)")
        #expect(try ports(life, plugin) == [])
        plugin.engine.learn("web", of: life, networks: ["blue", "red"])
        for isSilent in [false, true] {
            plugin.engine.fallSilent(isSilent)
            #expect(try await life.program(plugin, ports: both).status == 200)
            let recorded = try #require(try plugin.endpoint(life.endpoint)?.spec.ports)
            #expect(recorded.map(\.port) == [81] && recorded[0].hostPort ?? 0 > 0, "\(recorded)")
        }
        let lines = log.lines.filter { $0.hasPrefix("ports are not published by way of this network") }
        #expect(lines.count == 2 && lines[0].contains("ports=the container's port 80/tcp on "), "\(lines)")
    }

    @Test func `UDP and TCP share a number`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let port = try HostPort.free()
        let udp = #"{"Proto":17,"Port":53,"HostPort":\#(port)}"#
        #expect(try await life.program(plugin, ports: "[\(binding(port)),\(udp)]").status == 200)
        #expect(try ports(life, plugin) == [port, port])
    }

    @Test func `what is published stands in words with the endpoint, while it is`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1, pools: ["CalicoPoolIPv4", "CalicoPoolIPv6"])
        try await life.start(plugin)
        let (any, local, local6) = (try HostPort.free(), try HostPort.free(), try HostPort.free())
        let udp = #"{"Proto":17,"Port":53,"HostIP":"127.0.0.1","HostPort":\#(local)}"#
        let bindings = [binding(any), udp, binding(local6, container: 81, ip: "::")].joined(separator: ",")
        #expect(try await life.program(plugin, ports: "[\(bindings)]").status == 200)
        let annotation = { try plugin.endpoint(life.endpoint)?.metadata.annotations["org.projectcalico.ports"] }
        #expect(try annotation() == "\(any)->80/tcp, 127.0.0.1:\(local)->53/udp, [::]:\(local6)->81/tcp")
        _ = try await life.revoke(plugin)
        #expect(try annotation() == nil)
    }

    @Test func `SCTP is published where the kernel has it, and refused in words elsewhere`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let reply = try await life.program(plugin, ports: #"[{"Proto":132,"Port":90,"HostPort":19090}]"#)
        let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 132)
        if probe >= 0 {
            close(probe)
            #expect(try ports(life, plugin) == [19090])
        } else {
            #expect(reply.refusal == "cannot publish port 19090/sctp on this host: Protocol not supported", "\(reply)")
        }
    }
}
