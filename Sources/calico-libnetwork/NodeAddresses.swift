// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import FoundationEssentials
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
                default:
                    AddressWithPrefix(text).map { $0.address.family == family } ?? (IPAddress(text)?.family == family)
                        ? .given(text) : nil
                }
            }, wants: "an \(family.name) address with prefix length, autodetect, or none")
    }

    /// The node's entry, created where there is none; an existing one belongs to whoever made it.
    func ensureNode(
        _ name: String, in replica: Replica<ClusterState>, _ host: HostAddresses
    ) async throws {
        guard replica.read({ $0.nodes[name] == nil }) else { return }
        let bgp = NodeSpec.BGP(ipv4Address: address(v4, .v4, host), ipv6Address: address(v6, .v6, host))
        let node = Node(metadata: ResourceMetadata(name: name).asCreated(), spec: NodeSpec(bgp: bgp))
        try node.validate()
        try await replica.commit(Transaction(if: [.absent(node.key)], writes: [.put(node.key, node)]))
    }

    /// The datastore's own entry, created where there is none. An explicit `datastoreReady: false` stays.
    func ensureClusterInformation(in replica: Replica<ClusterState>) async throws {
        guard replica.read({ $0.clusterInformation == nil }) else { return }
        let guid = UUID().uuidString.lowercased().filter { $0 != "-" }
        let information = ClusterInformation(
            metadata: ResourceMetadata(name: "default").asCreated(),
            spec: ClusterInformationSpec(clusterGUID: guid, datastoreReady: true))
        let transaction = Transaction(
            if: [.absent(information.key)], writes: [.put(information.key, information)])
        try await replica.commit(transaction)
    }

    private func address(_ choice: Choice, _ family: IPAddress.Family, _ host: HostAddresses) -> String? {
        switch choice {
        case .none: nil
        case .given(let text): text
        case .found: host.uplink(family)?.description
        }
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
            .flatMap { AddressWithPrefix("\($0.address)/\($0.prefixLength)") }
    }

    /// False where IPv6 is compiled out or switched off at boot.
    static var kernelHasIPv6: Bool { FileManager.default.fileExists(atPath: "/proc/net/if_inet6") }
}
