// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import BlockingExecutor
import CalicoModel
import Glibc
import LinuxNetwork
import Logging

/// The host's ends of containers' links, with their settings, routes and neighbours.
actor InterfaceTable {
    private let executor = BlockingExecutor(label: "netlink")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let namespace: NetworkNamespace
    private let logger: Logger
    private let sysctl: Sysctl
    private var socket: RouteSocket?
    private var interfaces: [InterfaceName: Known] = [:]
    private var uplinkMTU: Int?
    private var forwardsIPv6 = false
    private var master = Master.builtin

    /// An endpoint's interface that exists.
    private struct Known {
        let interface: EndpointInterface
        let index: Int32
    }

    init(namespace: NetworkNamespace, sysctl: Sysctl, logger: Logger) {
        self.namespace = namespace
        self.sysctl = sysctl
        self.logger = logger
    }

    // MARK: Start

    /// Makes the host ready to forward, and gives next hops a route: the kernel answers ARP by proxy only for addresses
    /// it could route elsewhere, which without a default route would be none.
    /// - Returns: Docker's bridges.
    func prepareHost() throws -> Set<InterfaceName> {
        try withSocket { socket in
            let links = try socket.links()
            let bridges = Set(links.compactMap(\.dockerInterface))
            hostSettings.checkIPv4(bridges: bridges)
            guard let loopback = links.first(where: { $0.name == "lo" }) else {
                throw NetlinkError.system(call: "find interface lo", errno: ENODEV)
            }
            if !loopback.isUp { try socket.perform(.setLink(index: loopback.index, up: true)) }
            try socket.perform(
                .replaceRoute(
                    Route(
                        destination: CIDR("169.254.1.0/24")!, outputIndex: loopback.index, scope: .link,
                        protocolNumber: EndpointInterface.nextHopRouteProtocol)))
            return bridges
        }
    }

    /// Restores the interfaces of `endpoints` and retires those of ours that no endpoint claims.
    /// - Returns: the addresses of interfaces that go, or went while nobody looked; `nil` where none did.
    func restore(_ endpoints: [WorkloadEndpoint]) throws -> Set<IPAddress>? {
        try withSocket { socket in
            let links = Dictionary(try socket.links().map { ($0.name, $0) }) { first, _ in first }
            var claimed: Set<String> = []
            var (inUse, gone): (Set<IPAddress>, Set<IPAddress>) = ([], [])
            for endpoint in endpoints {
                guard let link = links[endpoint.spec.interfaceName], link.group != LinkGroup.retired else {
                    gone.formUnion(endpoint.spec.addresses)
                    continue
                }
                claimed.insert(link.name)
                inUse.formUnion(endpoint.spec.addresses)
                do {
                    try restore(endpoint, link, socket)
                } catch {
                    logger.error(
                        "an endpoint's interface could not be restored",
                        metadata: ["interface": "\(link.name)", "error": "\(error)"])
                }
            }
            claimed.formUnion(interfaces.keys.map(\.text))
            let orphans = links.values.filter { $0.group == LinkGroup.endpoints && !claimed.contains($0.name) }
            gone.formUnion(try retire(orphans, socket))
            gone.subtract(inUse)
            let areLeft = links.values.contains { $0.group == LinkGroup.retired } || !orphans.isEmpty
            return areLeft || !gone.isEmpty ? gone : nil
        }
    }

    private func restore(_ endpoint: WorkloadEndpoint, _ link: Link, _ socket: RouteSocket) throws {
        let interface = try EndpointInterface(endpoint, memory: LinkMemory(alias: link.alias))
        if master == .builtin { try hostSettings.forwardIPv4() }
        try configure(interface, index: link.index, socket)
        interfaces[interface.name] = Known(interface: interface, index: link.index)
    }

    /// - Returns: the addresses that were routed to them.
    private func retire(_ links: [Link], _ socket: RouteSocket) throws -> Set<IPAddress> {
        guard !links.isEmpty else { return [] }
        logger.notice("links without endpoint go", metadata: ["links": "\(links.map(\.name).sorted())"])
        let indices = Set(links.map(\.index))
        let routes = try IPAddress.Family.allCases
            .flatMap { try socket.routes($0, protocolNumber: EndpointInterface.routeProtocol) }
            .filter { indices.contains($0.outputIndex ?? 0) }
        try socket.perform(
            routes.map { .deleteRoute($0) } + links.map { .setLink(index: $0.index, group: LinkGroup.retired) })
        return routes.containerAddresses
    }

    // MARK: Connect

    /// Makes the endpoint's link pair; one that waits for its container already is as good.
    /// - Returns: what has changed for interfaces that share a container with it, see ``siblings(in:)``.
    func connect(_ link: EndpointLink) throws -> [InterfaceName: Siblings] {
        let memory = LinkMemory(nextHop6: link.nextHop6, sandbox: link.sandbox)
        let interface = try EndpointInterface(link.endpoint, memory: memory)
        try withSocket { socket in
            try forward(interface, socket)
            let index = try createPair(interface, mtu: try link.mtu(onUplink: currentMTU(socket)), socket)
            do {
                try configure(interface, index: index, socket)
            } catch {
                try? socket.perform(.deleteLink(index: index))
                interfaces[interface.name] = nil
                throw error
            }
            interfaces[interface.name] = Known(interface: interface, index: index)
        }
        let group = siblings(in: link.sandbox)
        return group.count > 1 ? group : [:]
    }

    /// Has the host forward what `interface` needs, which is Felix's business where it is the master.
    private func forward(_ interface: EndpointInterface, _ socket: RouteSocket) throws {
        guard master == .builtin else { return }
        try hostSettings.forwardIPv4()
        guard interface.hasIPv6, !forwardsIPv6 else { return }
        try hostSettings.prepareIPv6(socket.links())
        forwardsIPv6 = true
    }

    private func createPair(_ interface: EndpointInterface, mtu: Int, _ socket: RouteSocket) throws -> Int32 {
        let pair = interface.pair(peerMAC: interface.mac ?? .random(), mtu: UInt32(clamping: mtu))
        do {
            return try socket.createVethPair(pair).index
        } catch let error as NetlinkError where error.errno == EEXIST {
            return try reuseOrReplace(pair, socket)
        }
    }

    /// A repeated Join finds its pair complete; anything else under these names is a remainder.
    private func reuseOrReplace(_ pair: VethPair, _ socket: RouteSocket) throws -> Int32 {
        let host = try socket.link(named: pair.hostName)
        let peer = try socket.link(named: pair.peerName)
        if let host, let peer, host.group == LinkGroup.endpoints, host.linkedIndex == peer.index, host.mtu == pair.mtu,
            host.alias == pair.hostAlias, peer.mac == pair.peerMAC || interfaces[pair.hostName]?.interface.mac == nil
        {
            return host.index
        }
        if let host { try socket.perform(.deleteLink(index: host.index)) }
        if let peer { try socket.perform(.deleteLink(index: peer.index)) }
        return try socket.createVethPair(pair).index
    }

    private func configure(_ interface: EndpointInterface, index: Int32, _ socket: RouteSocket) throws {
        for setting in interface.settings(master) {
            do {
                try sysctl.write(setting.value, to: setting.key)
            } catch  where !setting.isNeeded {
                continue
            }
        }
        try socket.perform(interface.requests(index: index, master))
    }

    // MARK: Disconnect

    /// For every interface of a container: the other ones.
    private func siblings(in sandbox: String?) -> [InterfaceName: Siblings] {
        guard let sandbox else { return [:] }
        let members = interfaces.filter { $0.value.interface.memory.sandbox == sandbox }
            .mapValues { Set($0.interface.addresses) }
        return members.reduce(into: [:]) { siblings, own in
            siblings[own.key] = members.filter { $0.key != own.key }
        }
    }

    /// The same for all containers.
    func siblings() -> [InterfaceName: Siblings] {
        Set(interfaces.values.compactMap(\.interface.memory.sandbox)).reduce(into: [:]) {
            $0.merge(siblings(in: $1)) { first, _ in first }
        }
    }

    /// What is left to do once an interface is disconnected.
    struct Remainder {
        /// Those the interface had.
        let addresses: Set<IPAddress>
        /// What has changed for interfaces that shared a container with it.
        let siblings: [InterfaceName: Siblings]
    }

    /// A link may have gone with its container's namespace before; what else there was of the interface has not.
    /// - Returns: `nil` where there is nothing to remove.
    func disconnect(_ name: InterfaceName) throws -> Remainder? {
        try withSocket { socket in
            let known = interfaces[name]
            let link = try socket.link(named: name).flatMap { $0.group == LinkGroup.retired ? nil : $0 }
            guard known != nil || link != nil else { return nil }
            var addresses = Set(known?.interface.addresses ?? [])
            if let link {
                let routed = known?.index == link.index ? addresses : try routedAddresses(link, socket)
                try socket.perform(
                    EndpointInterface.retirement(index: link.index, addresses: Array(routed), master))
                addresses.formUnion(routed)
            }
            interfaces[name] = nil
            var siblings = siblings(in: known?.interface.memory.sandbox)
            if !siblings.isEmpty { siblings[name] = [:] }
            return Remainder(addresses: addresses, siblings: siblings)
        }
    }

    private func routedAddresses(_ link: Link, _ socket: RouteSocket) throws -> Set<IPAddress> {
        try IPAddress.Family.allCases.flatMap { try socket.routes($0) }
            .filter { $0.outputIndex == link.index }.containerAddresses
    }

    // MARK: Felix

    /// Interfaces of endpoints that are there.
    var names: [InterfaceName] { interfaces.keys.sorted { $0.text < $1.text } }

    /// From now on the routes and settings of interfaces are `master`'s. All are set where that is us. Where it is
    /// Felix, those that are there stay: it makes them its own.
    func setMaster(_ master: Master) {
        self.master = master
        guard master == .builtin else { return }
        for known in interfaces.values {
            attempt("an interface could not be taken over from Felix", known.interface) {
                try withSocket { socket in
                    try forward(known.interface, socket)
                    try configure(known.interface, index: known.index, socket)
                }
            }
        }
    }

    // MARK: State

    /// The link is gone, goes, or has no carrier: its other end is down, or was never taken by a container.
    func isIdle(_ name: InterfaceName) throws -> Bool {
        try withSocket { socket in
            guard let link = try socket.link(named: name), link.group != LinkGroup.retired else { return true }
            return !link.hasCarrier
        }
    }

    // MARK: Events

    func currentMTU() throws -> Int { try withSocket { try currentMTU($0) } }

    private func currentMTU(_ socket: RouteSocket) throws -> Int {
        if let uplinkMTU { return uplinkMTU }
        let mtu = try Uplink.mtu(socket)
        uplinkMTU = mtu
        return mtu
    }

    func forgetUplink() { uplinkMTU = nil }

    /// Gives an interface back what it has lost while it was down: routes, neighbours and IPv6 addresses.
    func restore(_ link: Link) throws {
        guard let name = InterfaceName(link.name), let known = interfaces[name], known.index == link.index else {
            return
        }
        try withSocket { try configure(known.interface, index: known.index, $0) }
        guard master == .builtin else { return }
        logger.notice("an interface came up again and has its routes back", metadata: ["interface": "\(name)"])
    }

    /// After events were lost: gives the interfaces that lack routes what they should have. One that cannot have it
    /// keeps no other from it.
    /// - Returns: Docker's bridges.
    func resynchronize() throws -> Set<InterfaceName> {
        try withSocket { socket in
            let links = try socket.links()
            let up = Set(links.filter(\.isUp).map(\.index))
            let routes = try IPAddress.Family.allCases.flatMap {
                try socket.routes($0, protocolNumber: EndpointInterface.routeProtocol)
            }
            let present = Dictionary(grouping: routes, by: \.outputIndex)
            // What Felix has set it restores.
            for known in interfaces.values where master == .builtin && up.contains(known.index) {
                let destinations = Set(present[known.index]?.map(\.destination.address) ?? [])
                guard !destinations.isSuperset(of: known.interface.addresses) else { continue }
                attempt("an interface could not be given its routes back", known.interface) {
                    try configure(known.interface, index: known.index, socket)
                }
            }
            uplinkMTU = nil
            return Set(links.compactMap(\.dockerInterface))
        }
    }

    private func attempt(_ failure: String, _ interface: EndpointInterface, _ body: () throws -> Void) {
        do { try body() } catch {
            logger.error("\(failure)", metadata: ["interface": "\(interface.name)", "error": "\(error)"])
        }
    }

    private var hostSettings: HostSettings { HostSettings(sysctl: sysctl, logger: logger) }

    private func withSocket<Result>(_ body: (RouteSocket) throws -> Result) throws -> Result {
        try namespace.run {
            let socket = try socket ?? RouteSocket()
            self.socket = socket
            return try body(socket)
        }
    }
}

extension [Route] {
    fileprivate var containerAddresses: Set<IPAddress> {
        Set(lazy.map(\.destination).filter(\.isSingleAddress).map(\.address))
    }
}

extension Link {
    /// Its name, if it is a bridge of Docker's own network drivers: `docker0`, `docker_gwbridge`, `br-` and 12 hex
    /// digits.
    var dockerInterface: InterfaceName? {
        let isNetwork = name.hasPrefix("br-") && name.utf8.count == 15 && name.dropFirst(3).allSatisfy(\.isHexDigit)
        return isNetwork || name == "docker0" || name == "docker_gwbridge" ? InterfaceName(name) : nil
    }
}
