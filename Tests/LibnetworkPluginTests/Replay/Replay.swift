// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Foundation
import Testing

@testable import LibnetworkPlugin

/// Sends a recording's requests to a plugin, with the pools and addresses that this plugin gave in place of those that
/// the recorded one gave, and keeps what must be left after each command.
final class Replay {
    let plugin: Plugin
    /// Recorded -> ours.
    private var pools: [String: String] = [:]
    private var addresses: [String: String] = [:]
    /// What runs, as far as the recording tells.
    private(set) var expected = Contents()
    private var links: Set<String> = []
    private var addressesOfEndpoint: [String: Set<String>] = [:]

    init(_ plugin: Plugin) { self.plugin = plugin }

    /// One exchange; `nil` where it went as recorded, else our refusal.
    func send(_ exchange: Recording.Exchange, _ comment: Comment) async throws -> Reply? {
        let request = translated(exchange)
        let body = request.map { String(decoding: (try? JSONEncoder().encode($0)) ?? Data(), as: UTF8.self) } ?? ""
        let isIPAM = exchange.response["Implements"] == .array([.string("IpamDriver")])
        let reply = try await plugin.call(exchange.method, body, on: isIPAM ? .ipam : nil)
        guard reply.status == 200 else { return reply }
        expectSameShape(reply, exchange, comment)
        learn(exchange, request ?? .null, reply)
        return nil
    }

    /// What is left is what still runs, no more and no less.
    func expectNoLeftovers(_ comment: Comment) async throws {
        var contents = try await plugin.contents()
        // Profiles come and go with networks in their own tests.
        contents.profiles = []
        expected.handled = expected.addresses.count
        #expect(contents == expected, comment)
        #expect(plugin.dataplane.interfaces == links, comment)
    }

    // MARK: Requests

    private func translated(_ exchange: Recording.Exchange) -> JSONValue? {
        guard case .object(var members)? = exchange.request else { return nil }
        if let pool = members["PoolID"]?.string { members["PoolID"] = .string(pools[pool] ?? pool) }
        if let address = members["Address"]?.string, exchange.method == "IpamDriver.ReleaseAddress" {
            members["Address"] = .string(addresses[address] ?? address)
        }
        if case .object(var interface)? = members["Interface"] {
            for (member, length) in [("Address", 32), ("AddressIPv6", 128)] {
                guard let address = interface[member]?.string?.split(separator: "/").first else { continue }
                interface[member] = .string("\(addresses[String(address)] ?? String(address))/\(length)")
            }
            members["Interface"] = .object(interface)
        }
        if let options = members["Options"] { members["Options"] = anyHostPort(options) }
        return .object(members)
    }

    /// The recorded host ports may be in use on this machine: any others do.
    private func anyHostPort(_ options: JSONValue) -> JSONValue {
        guard var members = options.object, let map = members["com.docker.network.portmap"]?.array else {
            return options
        }
        members["com.docker.network.portmap"] = .array(
            map.map { entry in
                var entry = entry.object ?? [:]
                entry["HostPort"] = .integer(0)
                entry["HostPortEnd"] = .integer(0)
                return .object(entry)
            })
        return .object(members)
    }

    // MARK: Answers

    /// Members that ours adds or leaves out on purpose.
    private static let differences: [String: Set<String>] = [
        // Keeps engines from attaching docker_gwbridge to IPv6-only endpoints; the recorded plugin did not send it.
        "NetworkDriver.Join": ["DisableGatewayService"]
    ]

    /// Commands in which the recorded plugin answered for an internal network without the gateway that ours has.
    private static let withoutGateway: Set = ["f-internal-nogw", "f-internal-nogw-publish"]

    private func expectSameShape(_ reply: Reply, _ exchange: Recording.Exchange, _ comment: Comment) {
        var accepted = Self.differences[exchange.method] ?? []
        if Self.withoutGateway.contains(exchange.case) { accepted.insert("Gateway") }
        let ours = Set((reply.json.object ?? [:]).keys).subtracting(accepted)
        let recorded = Set((exchange.response.object ?? [:]).keys).subtracting(accepted)
        #expect(ours == recorded, comment)
        for name in ours {
            guard let own = reply[name], let theirs = exchange.response[name] else { continue }
            #expect(own.kind == theirs.kind || theirs == .null, comment)
        }
    }

    private func learn(_ exchange: Recording.Exchange, _ request: JSONValue, _ reply: Reply) {
        switch exchange.method {
        case "IpamDriver.RequestPool":
            // The recorded plugin named pools without their ip-range.
            if exchange.request?["SubPool"]?.string == "", let pool = exchange.response["PoolID"]?.string {
                pools[pool] = reply["PoolID"]?.string
            }
        case "IpamDriver.RequestAddress":
            guard let ours = reply.address, ours != "0.0.0.0", ours != "::" else { return }
            let theirs = exchange.response["Address"]?.string?.split(separator: "/").first.map(String.init)
            if let theirs { addresses[theirs] = ours }
            expected.addresses.insert(ours)
        case "IpamDriver.ReleaseAddress": released(request["Address"]?.string ?? "")
        case "NetworkDriver.CreateNetwork": expected.networks.insert(request["NetworkID"]?.string ?? "")
        case "NetworkDriver.DeleteNetwork": expected.networks.remove(request["NetworkID"]?.string ?? "")
        default: learnEndpoint(exchange.method, request)
        }
    }

    private func learnEndpoint(_ method: String, _ request: JSONValue) {
        guard let id = request["EndpointID"]?.string else { return }
        switch method {
        case "NetworkDriver.CreateEndpoint":
            expected.endpoints.insert(id)
            // One that we refused to make, or that was made before the recording began.
            expected.networks.insert(request["NetworkID"]?.string ?? "")
            addressesOfEndpoint[id] = Set(
                ["Address", "AddressIPv6"].compactMap { request["Interface"]?[$0]?.string }.filter { $0.first != "/" }
                    .compactMap { $0.split(separator: "/").first.map(String.init) })
        case "NetworkDriver.DeleteEndpoint":
            expected.endpoints.remove(id)
            links.remove(EndpointIdentity.interfaceName(id))
        case "NetworkDriver.Join": links.insert(EndpointIdentity.interfaceName(id))
        case "NetworkDriver.Leave": links.remove(EndpointIdentity.interfaceName(id))
        default: break
        }
    }

    /// An engine that was killed releases addresses and says nothing of endpoints: they go with their last address.
    private func released(_ address: String) {
        expected.addresses.remove(address)
        for (id, held) in addressesOfEndpoint where held.contains(address) {
            addressesOfEndpoint[id]?.remove(address)
            guard held.count == 1, expected.endpoints.remove(id) != nil else { continue }
            links.remove(EndpointIdentity.interfaceName(id))
        }
    }
}

extension JSONValue {
    fileprivate var kind: Int {
        switch self {
        case .null: 0
        case .bool: 1
        case .integer, .unsigned, .number: 2
        case .string: 3
        case .array: 4
        case .object: 5
        }
    }
}
