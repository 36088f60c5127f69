// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Glibc

/// One `-p` of a container, as the engine hands it over.
struct PortBinding: Hashable {
    let protocolNumber: UInt8
    let port: UInt16
    /// Empty means every address of the host.
    let hostIP: String
    /// 0 for any free port; else the first and last of the range to choose from.
    let hostPorts: ClosedRange<UInt16>
    /// The container's, never empty. In a family it lacks nothing is published, and nothing may listen: a client that
    /// tries `[::1]` first would hang there instead of going on to `127.0.0.1`.
    let families: [IPAddress.Family]
    /// Whether another endpoint of the container serves IPv6.
    var leavesIPv6 = false

    /// True where a container's gateways for IPv4 and IPv6 are different endpoints and this request is for the first
    /// (from engine 29 on; moby `daemon/libnetwork/drivers/remote`). The request for the second says nothing.
    static func isForIPv4Only(_ options: [String: JSONValue]) -> Bool {
        options["com.docker.network.driver.private.no_proxy_6to4"]?.bool == true
    }

    /// The bindings in `com.docker.network.portmap`; malformed entries are refused.
    static func bindings(
        in options: [String: JSONValue], families: [IPAddress.Family]
    ) throws -> [PortBinding] {
        let leavesIPv6 = isForIPv4Only(options)
        return try (options["com.docker.network.portmap"]?.array ?? []).map { entry in
            guard let proto = entry.byte("Proto"), let port = entry.port("Port") else {
                throw PluginError("the engine sent a port mapping without protocol or port")
            }
            guard [6, 17, 132].contains(proto) else {
                throw PluginError("protocol \(proto) has no ports to publish; tcp, udp and sctp have")
            }
            let first = entry.port("HostPort") ?? 0
            let last = max(first, entry.port("HostPortEnd") ?? first)
            let binding = PortBinding(
                protocolNumber: proto, port: port, hostIP: entry["HostIP"]?.string ?? "", hostPorts: first...last,
                families: families, leavesIPv6: leavesIPv6)
            try binding.checkHostAddress()
            return binding
        }
    }

    private func checkHostAddress() throws {
        guard !hostIP.isEmpty else { return }
        guard let hostAddress else {
            throw PluginError("\"\(hostIP)\" is not an address of this host to publish a port on")
        }
        if hostAddress.family == .v6, hostAddress.isLoopback {
            throw PluginError(
                "cannot publish \(words): Linux takes no answers for ::1 from containers; name 127.0.0.1 or another "
                    + "address of this host")
        }
    }

    /// The one that it is to be published on, where not on all.
    var hostAddress: IPAddress? { IPAddress(hostIP) }
    /// Whether the container has an address of the same family as the host's.
    var isServable: Bool { hostAddress.map { families.contains($0.family) } ?? true }
    /// Those in which this endpoint serves it, as far as no other of its container does.
    var servedFamilies: [IPAddress.Family] {
        (hostAddress.map { [$0.family] } ?? families).filter { !leavesIPv6 || $0 == .v4 }
    }
    /// For bindings to one address: the container's port, and that address.
    var words: String {
        let place = hostAddress?.family == .v6 ? "[\(hostIP)]" : hostIP
        return "the container's port \(port)/\(transport.text) on \(place)"
    }

    var transport: ProtocolMatch { protocolNumber == 6 ? .tcp : protocolNumber == 17 ? .udp : .sctp }
}

extension JSONValue {
    fileprivate func port(_ name: String) -> UInt16? {
        if case .integer(let number)? = self[name] { UInt16(exactly: number) } else { nil }
    }
    fileprivate func byte(_ name: String) -> UInt8? {
        if case .integer(let number)? = self[name] { UInt8(exactly: number) } else { nil }
    }
}

/// Host ports that are taken for containers: a bound socket each, so that no other program can have the port and the
/// next container that wants it is refused.
actor PortReservations {
    private struct Reservation {
        var port: EndpointPort
        /// By the family in which the port is served.
        var sockets: [IPAddress.Family: Int32]
    }

    private var held: [String: [Reservation]] = [:]

    /// Takes the ports of `bindings` for an endpoint, or none of them. The same bindings again give the same ports.
    ///
    /// - Parameter siblings: other endpoints of the container. In the families in which they serve a binding already,
    ///   it is left to them; in another it gets the same port of the host.
    func take(
        _ bindings: [PortBinding], for endpoint: String, beside siblings: Set<String> = []
    ) throws -> [EndpointPort] {
        let before = held[endpoint] ?? []
        var earlier = before
        var others = siblings.map { held[$0] ?? [] }
        var taken: [Reservation] = []
        do {
            for binding in bindings {
                let own = earlier.take { binding.isMet(by: $0.port) }
                var theirs: [Reservation] = []
                for index in others.indices {
                    if let match = others[index].take(where: { binding.isMet(by: $0.port) }) { theirs.append(match) }
                }
                if let reservation = try reserve(binding, own, beside: theirs) { taken.append(reservation) }
            }
        } catch {
            close(taken, except: before)
            throw error
        }
        close(before, except: earlier + taken)
        held[endpoint] = earlier + taken
        return taken.map(\.port)
    }

    /// Makes endpoints leave IPv4 to another one of their container.
    ///
    /// - Returns: the ports that remain, of each that had some.
    func leaveIPv4(_ endpoints: Set<String>) -> [String: [EndpointPort]] {
        var remaining: [String: [EndpointPort]] = [:]
        for endpoint in endpoints {
            let before = held[endpoint] ?? []
            guard before.contains(where: { $0.sockets[.v4] != nil }) else { continue }
            let after = before.compactMap { reservation -> Reservation? in
                var rest = reservation
                rest.sockets[.v4] = nil
                if (rest.port.hostIP ?? "").isEmpty { rest.port.hostIP = "::" }
                return rest.sockets.isEmpty ? nil : rest
            }
            close(before, except: after)
            held[endpoint] = after
            remaining[endpoint] = after.map(\.port)
        }
        return remaining
    }

    /// Takes ports again that were published before this process started.
    ///
    /// - Returns: why some could not be had, each with its port.
    func restore(_ ports: [EndpointPort], for endpoint: String, families: [IPAddress.Family]) -> [PortUnavailable] {
        var failures: [PortUnavailable] = []
        for port in ports {
            guard let host = port.hostPort, let number = port.protocol.number else { continue }
            let binding = PortBinding(
                protocolNumber: number, port: port.port, hostIP: port.hostIP ?? "", hostPorts: host...host,
                families: families)
            do throws(PortUnavailable) {
                let sockets = try bind(binding, binding.servedFamilies, to: host)
                held[endpoint, default: []].append(Reservation(port: port, sockets: sockets))
            } catch {
                failures.append(error)
            }
        }
        return failures
    }

    /// Gives the ports of endpoints back that are no more.
    func release(where isGone: (String) -> Bool) {
        for endpoint in held.keys.filter(isGone) { release(endpoint) }
    }

    func release(_ endpoint: String) { close(held.removeValue(forKey: endpoint) ?? []) }

    /// Closes sockets that none of `others` has too.
    private func close(_ reservations: [Reservation], except others: [Reservation] = []) {
        let kept = Set(others.flatMap { Array($0.sockets.values) })
        for socket in reservations.flatMap({ Array($0.sockets.values) }) where !kept.contains(socket) {
            Glibc.close(socket)
        }
    }

    /// - Parameters:
    ///   - own: what the endpoint has of the binding already.
    ///   - others: what its container's other endpoints have of it.
    /// - Returns: what the endpoint has of it from now on; `nil` where the others serve all of it.
    private func reserve(
        _ binding: PortBinding, _ own: Reservation?, beside others: [Reservation]
    ) throws -> Reservation? {
        let families = binding.servedFamilies.filter { family in
            own?.sockets[family] != nil || !others.contains { $0.sockets[family] != nil }
        }
        let kept = (own?.sockets ?? [:]).filter { families.contains($0.key) }
        let agreed = (own ?? others.first)?.port.hostPort
        var lastError: any Error = PluginError("no port to publish")
        for candidate in agreed.map({ $0...$0 }) ?? binding.hostPorts {
            do {
                let sockets = try bind(
                    binding, families, to: candidate, having: kept, isServedElsewhere: !others.isEmpty)
                guard let socket = sockets.values.first else { return nil }
                let port = EndpointPort(
                    protocol: binding.transport, port: binding.port, hostPort: Self.port(of: socket) ?? candidate,
                    hostIP: binding.recordedHostIP(families))
                return Reservation(port: port, sockets: sockets)
            } catch {
                lastError = error
            }
        }
        throw lastError
    }

    /// One socket for each of the families. One that the host lacks is left out where the port is served in another.
    ///
    /// - Parameter own: those that are there already, to which others are added.
    private func bind(
        _ binding: PortBinding, _ families: [IPAddress.Family], to port: UInt16,
        having own: [IPAddress.Family: Int32] = [:], isServedElsewhere: Bool = false
    ) throws(PortUnavailable) -> [IPAddress.Family: Int32] {
        var sockets = own
        for family in families where own[family] == nil {
            let address = binding.hostAddress ?? IPAddress(family: family, value: 0)
            let number = sockets.values.first.flatMap { Self.port(of: $0) } ?? port
            do throws(PortUnavailable) {
                sockets[family] = try open(binding, address, number)
            } catch {
                if error.isFamilyMissing, isServedElsewhere || !sockets.isEmpty { continue }
                for (family, socket) in sockets where own[family] == nil { Glibc.close(socket) }
                throw error
            }
        }
        return sockets
    }

    private func open(
        _ binding: PortBinding, _ address: IPAddress, _ port: UInt16
    ) throws(PortUnavailable) -> Int32 {
        let kind = Int32(binding.protocolNumber == 17 ? SOCK_DGRAM.rawValue : SOCK_STREAM.rawValue)
        let descriptor = socket(
            address.family == .v4 ? AF_INET : AF_INET6, kind | Int32(SOCK_CLOEXEC.rawValue),
            Int32(binding.protocolNumber))
        guard descriptor >= 0 else { throw PortUnavailable(binding, address, port, code: errno) }
        var on: Int32 = 1
        if address.family == .v6 { setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &on, 4) }
        // Connections that ended a moment ago must not keep a TCP port from its next user. With this option set, only a
        // listener excludes others.
        let isTCP = binding.protocolNumber == 6
        if isTCP { setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, 4) }
        let isBound = withSocketAddress(address, port) { Glibc.bind(descriptor, $0, $1) } == 0
        guard isBound, !isTCP || listen(descriptor, 1) == 0 else {
            let code = errno
            Glibc.close(descriptor)
            throw PortUnavailable(binding, address, port, code: code)
        }
        return descriptor
    }

    private static func port(of descriptor: Int32) -> UInt16? {
        var storage = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        // The port stands at the same place in both families' addresses.
        return result == 0 ? UInt16(bigEndian: storage.sin6_port) : nil
    }
}

/// A host port that cannot be had.
struct PortUnavailable: Error, CustomStringConvertible {
    private let transport: ProtocolMatch
    private let address: IPAddress
    private let port: UInt16
    /// The kernel's, `errno`.
    private let code: Int32
    /// Who has the port, in words.
    var holder: String?

    fileprivate init(_ binding: PortBinding, _ address: IPAddress, _ port: UInt16, code: Int32) {
        transport = binding.transport
        self.address = address
        self.port = port
        self.code = code
    }

    /// IPv6, or the protocol over it, is not there: nobody can use the port that way.
    var isFamilyMissing: Bool { [EAFNOSUPPORT, EADDRNOTAVAIL, EPROTONOSUPPORT].contains(code) }

    /// Whether who publishes `other` has this port.
    func isDue(to other: EndpointPort) -> Bool {
        guard code == EADDRINUSE, other.hostPort == port, other.protocol == transport else { return false }
        guard let place = IPAddress(other.hostIP ?? "") else { return true }
        return place.family == address.family && (place.isUnspecified || address.isUnspecified || place == address)
    }

    var description: String {
        let place = address.isUnspecified ? "this host" : address.description
        return "cannot publish port \(port)/\(transport.text) on \(place): \(String(cString: strerror(code)))"
            + (code == EADDRINUSE ? "; \(use)" : "")
    }

    private var use: String {
        if let holder { return "\(holder) uses it" }
        return "another program or container uses it; to find out which: ss -lntup 'sport = :\(port)'"
    }
}

extension PortBinding {
    /// Whether somebody who holds `port` keeps it from this binding, on whatever address.
    func mayMeet(_ port: EndpointPort) -> Bool {
        guard let host = port.hostPort, port.protocol == transport else { return false }
        return hostPorts.contains(host)
    }

    fileprivate func isMet(by port: EndpointPort) -> Bool {
        guard port.port == self.port, port.protocol == transport, let host = port.hostPort else { return false }
        let place = port.hostIP ?? ""
        // One of two families may be another endpoint's.
        guard place == hostIP || hostIP.isEmpty && IPAddress(place)?.isUnspecified == true else { return false }
        return hostPorts == 0...0 || hostPorts.contains(host)
    }

    /// The host's address as the endpoint's record has it, where only `families` are served.
    fileprivate func recordedHostIP(_ families: [IPAddress.Family]) -> String? {
        guard hostIP.isEmpty else { return hostIP }
        guard families.count == 1, families != self.families else { return nil }
        return IPAddress(family: families[0], value: 0).description
    }
}

extension Array {
    /// The first element of this kind, which is removed.
    fileprivate mutating func take(where isWanted: (Element) -> Bool) -> Element? {
        firstIndex(where: isWanted).map { remove(at: $0) }
    }
}

extension ProtocolMatch {
    var text: String {
        switch self {
        case .name(let name): name.lowercased()
        case .number(let number): String(number)
        }
    }
}

private func withSocketAddress<Result>(
    _ address: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    if address.family == .v4 {
        var v4 = sockaddr_in()
        v4.sin_family = sa_family_t(AF_INET)
        v4.sin_port = port.bigEndian
        v4.sin_addr.s_addr = UInt32(address.value).bigEndian
        return withUnsafePointer(to: &v4) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }
    var v6 = sockaddr_in6()
    v6.sin6_family = sa_family_t(AF_INET6)
    v6.sin6_port = port.bigEndian
    withUnsafeMutableBytes(of: &v6.sin6_addr) { $0.copyBytes(from: address.bytes) }
    return withUnsafePointer(to: &v6) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in6>.size)) }
    }
}
