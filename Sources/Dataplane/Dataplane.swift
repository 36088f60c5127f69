// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel

/// Makes one host's kernel do what the cluster's values say.
///
/// ``start(_:)`` once with all values, ``apply(_:)`` with each later change, ``connect(_:)`` and
/// ``disconnect(interfaceName:)`` as containers come and go. Each of them may be repeated.
public protocol Dataplane: Sendable {
    /// Prepares the host, puts the rules for `state` in force in place of what was there, restores what the kernel has
    /// lost of the endpoints on this host, and removes links that no endpoint claims. Containers that run lose no
    /// packet.
    func start(_ state: [ClusterChange]) async throws
    /// Brings the rules in line; returns once they are in force. Changes that come together share a transaction.
    func apply(_ changes: [ClusterChange]) async
    /// Makes the endpoint's link pair, with its routes, and puts its rules in force; the latter two are Felix's where
    /// it is the host's master. Undone if it fails.
    @discardableResult
    func connect(_ link: EndpointLink) async throws -> Connection
    /// Takes the endpoint's routes away at once and its links soon after; an unknown interface is success.
    func disconnect(interfaceName: String) async throws
    /// True where the interface is gone or its other end no longer answers: nobody runs behind it.
    func isIdle(interfaceName: String) async -> Bool
    /// Bytes: what fits through the interface that leads out of this host.
    func uplinkMTU() async -> Int
    /// Finishes the removal of links. Links of containers, routes and rules stay as they are.
    func stop() async
}

/// An endpoint that is about to get its link.
public struct EndpointLink: Sendable {
    public let endpoint: WorkloadEndpoint
    /// Bytes; `nil`: the uplink's, less ``overhead``.
    public let mtu: Int?
    /// Bytes that the pools' encapsulation adds to a packet on the uplink.
    public let overhead: Int
    /// The link-local address that the container's IPv6 packets go to first. (The IPv4 one needs none: a proxy answers
    /// for all of 169.254.1.0/24.)
    public let nextHop6: IPAddress?
    /// Equal for the links of one container; letters and digits.
    public let sandbox: String?

    public init(
        endpoint: WorkloadEndpoint, mtu: Int? = nil, overhead: Int = 0, nextHop6: IPAddress? = nil,
        sandbox: String? = nil
    ) {
        self.endpoint = endpoint
        self.mtu = mtu
        self.overhead = overhead
        self.nextHop6 = nextHop6
        self.sandbox = sandbox
    }

    /// Bytes: what its link carries where the uplink carries `uplink`. It is not less than the endpoint's families need;
    /// a packet that fits the link and not the way is answered with "packet too big" then.
    /// - Throws: ``DataplaneError`` where an MTU was asked for with which the kernel has no IPv6; what `uplink` throws.
    public func mtu(onUplink uplink: @autoclosure () throws -> Int) throws -> Int {
        let hasIPv6 = endpoint.spec.addresses.contains { $0.family == .v6 }
        let minimum = hasIPv6 ? Self.minimumMTU6 : Self.minimumMTU
        guard let mtu else { return max(try uplink() - overhead, minimum) }
        guard mtu >= minimum else {
            throw DataplaneError.unusable(
                endpoint: endpoint.name, reason: "an MTU of \(mtu) is too small, it needs \(minimum)")
        }
        return mtu
    }

    /// Bytes: the least that a veth pair takes (`ETH_MIN_MTU`).
    public static let minimumMTU = 68
    /// Bytes: what can be asked for, where no family needs more.
    public static let mtus = minimumMTU...65_535
    /// Bytes: the least with which the kernel gives an interface IPv6 (`IPV6_MIN_MTU`, RFC 8200).
    public static let minimumMTU6 = 1280

    /// The end that goes to the container, as it is called on the host.
    public static func peerName(of interfaceName: String) -> String { "temp" + interfaceName.dropFirst("cali".count) }
}

/// Who sets routes, settings and rules of containers' interfaces on a host.
public enum Master: String, Hashable, Sendable {
    /// This program.
    case builtin
    /// Calico's own agent.
    case felix
}

/// An endpoint whose link is there.
public struct Connection: Sendable {
    /// The host's interfaces that lead to the same container.
    public let siblings: Set<String>
    public let master: Master

    public init(siblings: Set<String>, master: Master) {
        self.siblings = siblings
        self.master = master
    }
}

/// What the dataplane could not do.
public enum DataplaneError: Error, CustomStringConvertible {
    /// The endpoint's values allow no link to be made.
    case unusable(endpoint: String, reason: String)
    /// The cluster's values are not known yet.
    case notStarted

    public var description: String {
        switch self {
        case .notStarted: "this host's network is still being prepared; try again in a moment"
        case .unusable(let endpoint, let reason): "endpoint \(endpoint) cannot have a link: \(reason)"
        }
    }
}
