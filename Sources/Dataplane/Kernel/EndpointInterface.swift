// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import LinuxNetwork

/// What the host's end of an endpoint's link pair should look like.
struct EndpointInterface: Sendable {
    /// RTPROT of Calico's routes, as BIRD and Felix use it.
    static let routeProtocol: UInt8 = 80
    /// RTPROT_STATIC, of the next hops' route: a newer Felix takes every route with Calico's number for its own, on any
    /// interface, and removes those that it does not know (`MainTableOwnershipPolicy`).
    static let nextHopRouteProtocol: UInt8 = 4
    /// Every host end has it, so that a container moved between hosts keeps its neighbour's address.
    static let hostMAC = MACAddress(bytes: [0xee, 0xee, 0xee, 0xee, 0xee, 0xee])!

    let name: InterfaceName
    let peerName: InterfaceName
    let mac: MACAddress?
    let addresses: [IPAddress]
    /// What the alias keeps across restarts of the plugin.
    let memory: LinkMemory

    /// - Throws: ``DataplaneError`` where the interface's name is unfit.
    init(_ endpoint: WorkloadEndpoint, memory: LinkMemory = .init()) throws {
        let text = endpoint.spec.interfaceName
        guard text.hasPrefix("cali"), let name = InterfaceName(text),
            let peerName = InterfaceName(EndpointLink.peerName(of: text))
        else {
            throw DataplaneError.unusable(
                endpoint: endpoint.name,
                reason: "\"\(text)\" is no interface name of 5 to 15 bytes that begins with \"cali\"")
        }
        self.name = name
        self.peerName = peerName
        self.memory = memory
        mac = endpoint.spec.mac.flatMap { MACAddress($0) }
        addresses = endpoint.spec.addresses
    }

    var hasIPv6: Bool { addresses.contains { $0.family == .v6 } }

    func pair(peerMAC: MACAddress, mtu: UInt32) -> VethPair {
        VethPair(
            hostName: name, hostMAC: Self.hostMAC, peerName: peerName, peerMAC: peerMAC, mtu: mtu,
            hostGroup: LinkGroup.endpoints, hostAlias: memory.alias)
    }

    // MARK: Settings

    /// An absent setting (IPv6 off in the kernel) matters only where there are IPv6 addresses.
    typealias Setting = (key: Sysctl.Key, value: String, isNeeded: Bool)

    /// What must hold before a packet comes through, as far as it is our part.
    func settings(_ master: Master) -> [Setting] {
        // Without these the link does not take the IPv6 next hop, which is ours to give.
        let forNextHop: [Setting] =
            hasIPv6 ? [(.ipv6(name, "disable_ipv6"), "0", true), (.ipv6(name, "accept_dad"), "0", true)] : []
        guard master == .builtin else { return forNextHop }
        return [
            (.ipv4(name, "proxy_arp"), "1", true), (.ipv4Neighbour(name, "proxy_delay"), "0", true),
            (.ipv4(name, "forwarding"), "1", true), (.ipv4(name, "rp_filter"), "0", true),
            (.ipv4(name, "route_localnet"), "1", true), (.ipv6(name, "accept_ra"), "0", hasIPv6),
        ] + forNextHop
    }

    // MARK: Requests

    /// Addresses, routes and neighbours, as far as they are our part; each replaces what is there.
    func requests(index: Int32, _ master: Master) -> [NetlinkRequest] {
        var requests: [NetlinkRequest] = []
        if hasIPv6, let nextHop6 = memory.nextHop6, let address = AddressWithPrefix("\(nextHop6)/64") {
            requests.append(.addAddress(address, index: index, scope: .link, nodad: true))
        }
        guard master == .builtin else { return requests }
        for address in addresses {
            requests.append(.replaceRoute(Self.route(to: address, index: index)))
            if let mac { requests.append(.replaceNeighbour(address, mac: mac, index: index)) }
        }
        return requests
    }

    static func route(to address: IPAddress, index: Int32) -> Route {
        Route(
            destination: CIDR(host: address), outputIndex: index, scope: address.family == .v4 ? .link : .global,
            protocolNumber: routeProtocol)
    }

    /// Stops all traffic and marks the link for removal, without waiting for it. Felix's routes are left to it, and go
    /// with the link.
    static func retirement(index: Int32, addresses: [IPAddress], _ master: Master) -> [NetlinkRequest] {
        let ours = master == .builtin ? addresses : []
        return ours.flatMap {
            [.deleteRoute(route(to: $0, index: index)), .deleteNeighbour($0, index: index)] as [NetlinkRequest]
        } + [.setLink(index: index, group: LinkGroup.retired)]
    }
}

/// What is known of a link only when it is made. Its alias keeps it (`ip link show` prints it), so that a plugin that
/// starts anew finds it in the kernel.
struct LinkMemory: Hashable, Sendable {
    var nextHop6: IPAddress?
    /// Which container the link leads to; equal for the links of one container.
    var sandbox: String?

    private static let mark = "calico-libnetwork"
    private static let sandboxMark = "sandbox="

    init(nextHop6: IPAddress? = nil, sandbox: String? = nil) {
        self.nextHop6 = nextHop6
        self.sandbox = sandbox
    }

    /// Reads an alias; nothing is known where it is not ours.
    init(alias: String?) {
        let words = alias?.split(separator: " ") ?? []
        guard words.first == Self.mark[...] else { return }
        for word in words.dropFirst() {
            if word.hasPrefix(Self.sandboxMark) {
                sandbox = String(word.dropFirst(Self.sandboxMark.count))
            } else {
                nextHop6 = IPAddress(word)
            }
        }
    }

    var alias: String {
        ([Self.mark] + [nextHop6?.description, sandbox.map { Self.sandboxMark + $0 }].compactMap(\.self))
            .joined(separator: " ")
    }
}
