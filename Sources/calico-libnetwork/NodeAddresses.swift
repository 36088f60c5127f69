// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import FoundationEssentials
import IPAM
import LinuxNetwork
import Logging

/// This node's addresses in the underlay: given, found at the default route, or none.
struct NodeAddresses {
    private enum Choice {
        case found, none
        case given(String)
    }

    private let v4: Choice
    private let v6: Choice

    init(_ reader: inout SettingReader) throws {
        v4 = try Self.choice("IP", .v4, default: "autodetect", &reader)
        v6 = try Self.choice("IP6", .v6, default: "none", &reader)
    }

    private static func choice(
        _ name: String, _ family: IPAddress.Family, default fallback: String, _ reader: inout SettingReader
    ) throws -> Choice {
        try reader.parsed(
            name, default: fallback,
            { text in
                switch text {
                case "autodetect": .found
                case "none": Choice.none
                default: IPAddress(lenient: text)?.family == family ? .given(text) : nil
                }
            }, wants: "an \(family.name) address with prefix length, autodetect, or none")
    }

    /// The node's entry, created where there is none. An existing one belongs to whoever made it; but one that has no
    /// address, perhaps because the host had no route when it was made, gets ours.
    ///
    /// - Returns: whether anything was written.
    @discardableResult
    func ensureNode(
        _ name: String, in replica: Replica<ClusterState>, _ host: HostAddresses
    ) async throws -> Bool {
        let bgp = NodeSpec.BGP(ipv4Address: address(v4, .v4, host), ipv6Address: address(v6, .v6, host))
        let node = Node(metadata: ResourceMetadata(name: name).asCreated(), spec: NodeSpec(bgp: bgp))
        try node.validate()
        return try await replica.commit { state in
            guard let seen = state.nodes[name] else { return state.creating(node, isThere: false) }
            guard let completed = seen.value.completed(with: bgp) else { return nil }
            return Transaction(if: [.unchanged(node.key, since: seen.revision)], writes: [.put(node.key, completed)])
        }
    }

    /// The datastore's own entry, created where there is none; what an existing one leaves open is decided. An explicit
    /// `datastoreReady: false` stays.
    ///
    /// - Returns: whether anything was written.
    @discardableResult
    func ensureClusterInformation(in replica: Replica<ClusterState>) async throws -> Bool {
        let guid = UUID().uuidString.lowercased().filter { $0 != "-" }
        let new = ClusterInformation(
            metadata: ResourceMetadata(name: "default").asCreated(), spec: ClusterInformationSpec())
        return try await replica.commit { state in
            let seen = state.clusterInformation
            var information = seen?.value ?? new
            if information.spec.clusterGUID?.isEmpty ?? true { information.spec.clusterGUID = guid }
            if information.spec.datastoreReady == nil { information.spec.datastoreReady = true }
            guard information != seen?.value else { return nil }
            return Transaction(
                if: [.asSeen(information.key, seen?.revision)], writes: [.put(information.key, information)])
        }
    }

    /// The tier of policies that name none, created where there is none: from v3.29 on Calico's clients refuse to make a
    /// policy whose tier is not stored.
    func ensureDefaultTier(in replica: Replica<ClusterState>) async throws {
        let tier = Tier(metadata: ResourceMetadata(name: "default").asCreated(), spec: .builtIn)
        try await replica.commit { $0.creating(tier, isThere: $0.tiers[tier.name] != nil) }
    }

    private func address(_ choice: Choice, _ family: IPAddress.Family, _ host: HostAddresses) -> String? {
        switch choice {
        case .none: nil
        case .given(let text): IPAddress(text).flatMap { host.withPrefix($0)?.description } ?? text
        case .found: host.uplink(family)?.description
        }
    }
}

extension Node {
    /// With these addresses; `nil` where it has one, or they are none.
    fileprivate func completed(with addresses: NodeSpec.BGP) -> Node? {
        let present = [spec.bgp?.ipv4Address, spec.bgp?.ipv6Address]
        guard present.allSatisfy({ ($0 ?? "").isEmpty }), addresses != NodeSpec.BGP() else { return nil }
        var node = self
        var bgp = spec.bgp ?? NodeSpec.BGP()
        bgp.ipv4Address = addresses.ipv4Address
        bgp.ipv6Address = addresses.ipv6Address
        node.spec.bgp = bgp
        return node
    }
}

extension ClusterState {
    /// What creates `resource`; `nil` where it is there, be it as a value that nobody can read.
    func creating(_ resource: Resource<some ResourceSpec>, isThere: Bool) -> Transaction? {
        guard !isThere, unreadable[resource.key] == nil else { return nil }
        return Transaction(if: [.absent(resource.key)], writes: [.put(resource.key, resource)])
    }
}

/// What the kernel says of this host's addresses.
struct HostAddresses {
    private let addresses: [InterfaceAddress]
    private let routes: [Route]

    /// - Throws: `NetlinkError`.
    init() throws {
        let socket = try RouteSocket()
        addresses = try socket.addresses()
        routes = try socket.routes(.v4) + socket.routes(.v6)
    }

    /// The networks of its interfaces, loopback excepted.
    var networks: [CIDR] {
        addresses.filter { !$0.address.isLoopback && !$0.address.isLinkLocal }.compactMap {
            CIDR($0.address, prefixLength: $0.prefixLength)
        }
    }

    /// The first address of the device with the default route, host bits kept.
    func uplink(_ family: IPAddress.Family) -> AddressWithPrefix? {
        let device = routes.first { $0.destination.family == family && $0.destination.prefixLength == 0 }?.outputIndex
        return addresses.first { $0.index == device && $0.address.family == family && !$0.address.isLinkLocal }
            .flatMap(\.withPrefix)
    }

    /// The address with its interface's prefix length: without one, a node counts as alone in its subnet. `nil` where no
    /// interface has it.
    func withPrefix(_ address: IPAddress) -> AddressWithPrefix? {
        addresses.first { $0.address == address }?.withPrefix
    }

    /// False where IPv6 is compiled out or switched off at boot.
    static var kernelHasIPv6: Bool { FileManager.default.fileExists(atPath: "/proc/net/if_inet6") }
}

extension InterfaceAddress {
    fileprivate var withPrefix: AddressWithPrefix? { AddressWithPrefix("\(address)/\(prefixLength)") }
}
