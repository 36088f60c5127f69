// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Foundation
import Testing

@testable import LibnetworkPlugin

/// One line of the checklist of what a plugin pair must do: requests in order, and what each is answered.
struct ConformanceCase: Sendable, CustomTestStringConvertible {
    enum Expectation: Sendable {
        /// Status 200, whatever the body says.
        case answered
        /// Status 200 and just this JSON.
        case exactly(String)
        /// Status 200 and these members, among others.
        case including(String)
        /// Status 500 and a text that contains this.
        case refused(String)
        case status(Int)
        case meets(@Sendable (Reply) throws -> Bool)
    }

    enum Step: Sendable {
        case call(String, String, Expectation)
        /// What the store holds of containers and networks then.
        case leaves(Contents)
        case holds(@Sendable (Plugin) async throws -> Bool)
        case check(@Sendable (Plugin) async throws -> Void)
    }

    let number: Int
    let title: String
    /// Why ours differs from what the checklist suggests, where it does.
    var decision: String?
    var pools = ["p4": "192.168.0.0/16", "p6": "fd00:1::/64"]
    var limit = Duration.seconds(60)
    let steps: [Step]

    init(
        _ number: Int, _ title: String, decision: String? = nil, pools: [String: String]? = nil,
        limit: Duration? = nil, _ steps: Step...
    ) {
        self.number = number
        self.title = title
        self.decision = decision
        self.pools = pools ?? self.pools
        self.limit = limit ?? self.limit
        self.steps = steps
    }

    var testDescription: String { "\(number) \(title)" }

    func run() async throws {
        let plugin = try await Plugin.fresh(pools: pools, limit: limit)
        for step in steps {
            switch step {
            case .call(let method, let body, let expectation):
                let reply = try await plugin.call(method, body)
                expectation.check(reply, "\(number) \(title): \(method) \(body.prefix(300))")
            case .leaves(let expected): #expect(try await plugin.contents() == expected, "\(number) \(title)")
            case .holds(let condition): #expect(try await condition(plugin), "\(number) \(title)")
            case .check(let body): try await body(plugin)
            }
        }
    }
}

extension ConformanceCase.Expectation {
    func check(_ reply: Reply, _ context: String) {
        let comment = Comment(rawValue: "\(context) -> \(reply)")
        switch self {
        case .answered: #expect(reply.status == 200, comment)
        case .exactly(let json):
            #expect(reply.status == 200, comment)
            #expect(reply.json == JSONValue(text: json), comment)
        case .including(let json):
            #expect(reply.status == 200, comment)
            for (name, value) in JSONValue(text: json).object ?? [:] { #expect(reply[name] == value, comment) }
        case .refused(let text):
            #expect(reply.status == 500, comment)
            #expect(reply["Err"]?.string?.contains(text) == true, comment)
            #expect(reply["Err"] == reply["Error"], comment)
        case .status(let status): #expect(reply.status == status, comment)
        case .meets(let condition):
            #expect(reply.status == 200, comment)
            #expect(throws: Never.self, comment) { try #require(try condition(reply), comment) }
        }
    }
}

extension JSONValue {
    /// Test data; anything unreadable is null.
    init(text: String) { self = (try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))) ?? .null }
}

/// Ids and bodies that many cases use.
enum Sample {
    static let network = String(repeating: "a1", count: 32)
    static let endpoint = String(repeating: "b2", count: 32)
    static let other = String(repeating: "c3", count: 32)
    static let anyPool4 = pool("")
    static let networkID = #"{"NetworkID":"\#(network)"}"#
    static let ids = #"{"NetworkID":"\#(network)","EndpointID":"\#(endpoint)"}"#

    static func pool(_ pool: String, sub: String = "", options: String = "null", v6: Bool = false) -> String {
        #"{"AddressSpace":"A","Pool":"\#(pool)","SubPool":"\#(sub)","Options":\#(options),"V6":\#(v6)}"#
    }

    static func address(_ pool: String, _ address: String = "", options: String = "null") -> String {
        #"{"PoolID":"\#(pool)","Address":"\#(address)","Options":\#(options)}"#
    }

    static func release(_ address: String, pool: String = "CalicoPoolIPv4") -> String {
        #"{"PoolID":"\#(pool)","Address":"\#(address)"}"#
    }

    static let subnet4 = #"{"AddressSpace":"CalicoAddressSpace","Gateway":"0.0.0.0/0","Pool":"0.0.0.0/0"}"#
    static let subnet6 = #"{"AddressSpace":"CalicoAddressSpace","Gateway":"::/0","Pool":"::/0"}"#

    static func create(
        _ id: String = network, options: String = "", generic: String = "{}", v4: String = subnet4, v6: String = ""
    ) -> String {
        #"{"NetworkID":"\#(id)","Options":{"com.docker.network.enable_ipv6":\#(!v6.isEmpty)\#(options),"#
            + #""com.docker.network.generic":\#(generic)},"IPv4Data":[\#(v4)],"IPv6Data":[\#(v6)]}"#
    }

    static func endpoint(
        _ id: String = endpoint, v4: String = "192.168.5.5/32", v6: String = "", mac: String = "",
        options: String = "{}",
        network: String = network
    ) -> String {
        #"{"NetworkID":"\#(network)","EndpointID":"\#(id)","Interface":"#
            + #"{"Address":"\#(v4)","AddressIPv6":"\#(v6)","MacAddress":"\#(mac)"},"Options":\#(options)}"#
    }

    static let join =
        #"{"NetworkID":"\#(network)","EndpointID":"\#(endpoint)","SandboxKey":"/nowhere/netns/0123456789ab","Options":{}}"#

    static func program(_ ports: String) -> String {
        #"{"NetworkID":"\#(network)","EndpointID":"\#(endpoint)","Options":{"com.docker.network.portmap":\#(ports)}}"#
    }
}
