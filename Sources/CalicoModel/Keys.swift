// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

/// A datastore path. Every path of Calico's etcd v3 layout that we use is made here.
public struct Key: Hashable, Sendable, Comparable, CustomStringConvertible {
    public let path: String

    public init(_ path: String) { self.path = path }

    public var description: String { path }
    public static func < (a: Key, b: Key) -> Bool { a.path.utf8.lexicographicallyPrecedes(b.path.utf8) }

    /// True where this key, taken as a folder with a closing `/`, holds `other`.
    public func isPrefix(of other: Key) -> Bool { other.path.utf8.starts(with: path.utf8) }
    /// The last segment.
    public var lastSegment: String { String(path[(lastSlash.map { path.index(after: $0) } ?? path.startIndex)...]) }

    // Bytes, not characters: every change of the datastore has its key taken apart.
    private var lastSlash: String.Index? { path.utf8.lastIndex(of: UInt8(ascii: "/")) }
}

// MARK: - Resources

extension Key {
    /// Everything of kind `Spec`.
    public static func resources<Spec: ResourceSpec>(_ spec: Spec.Type) -> Key {
        Key("/calico/resources/v3/projectcalico.org/\(Spec.plural)/")
    }

    public static func resource<Spec: ResourceSpec>(_ spec: Spec.Type, name: String, namespace: String? = nil) -> Key {
        let folder = resources(spec).path
        return Key(Spec.isNamespaced ? "\(folder)\(namespace ?? "")/\(name)" : folder + name)
    }

    /// The datastore's own entry.
    public static let clusterInformation = resource(ClusterInformationSpec.self, name: "default")

    /// All resources of all kinds.
    public static let allResources = Key("/calico/resources/v3/projectcalico.org/")
}

// MARK: - IPAM

extension Key {
    public static let ipamConfiguration = Key("/calico/ipam/v2/config")
    /// Configuration, blocks, affinities and handles.
    public static let ipam = Key("/calico/ipam/v2/")
    public static let blocks = Key("/calico/ipam/v2/assignment/")
    public static let handles = Key("/calico/ipam/v2/handle/")
    public static let affinities = Key("/calico/ipam/v2/host/")

    public static func block(_ cidr: CIDR) -> Key {
        Key("/calico/ipam/v2/assignment/\(cidr.family.name)/block/\(segment(cidr))")
    }

    /// The claim of `host` to a block.
    public static func affinity(host: String, block: CIDR) -> Key {
        Key(affinities(host: host, family: block.family).path + segment(block))
    }

    public static func affinities(host: String, family: IPAddress.Family) -> Key {
        Key("/calico/ipam/v2/host/\(host)/\(family.name)/block/")
    }

    public static func handle(_ id: String) -> Key { Key(handles.path + id) }

    /// The CIDR in a block's or an affinity's key; `nil` where the key is neither.
    public var blockCIDR: CIDR? {
        guard isOfBlock else { return nil }
        return AddressWithPrefix(lastSegment, separator: "-")?.network
    }

    /// The host in an affinity's key.
    public var affinityHost: String? {
        guard isOfBlock, Key.affinities.isPrefix(of: self) else { return nil }
        return path.dropFirst(Key.affinities.path.count).split(separator: "/").first.map(String.init)
    }

    private var isOfBlock: Bool {
        lastSlash.map { path.utf8[..<$0].reversed().starts(with: "/block".utf8.reversed()) } ?? false
    }

    private static func segment(_ cidr: CIDR) -> String { "\(cidr.address)-\(cidr.prefixLength)" }
}

// MARK: - Felix's reports

extension Key {
    /// What Felix tells of itself and of endpoints.
    public static let felix = Key("/calico/felix/v2/")

    /// The host in a key under which its Felix says that it lives: `/calico/felix/v2/REGION/host/HOST/status`. Felix
    /// writes it with a lease, where its `reportingInterval` is not 0.
    public var livingFelixHost: String? {
        let parts = path.split(separator: "/")
        guard Key.felix.isPrefix(of: self), parts.count == 7, parts[4] == "host", parts[6] == "status" else {
            return nil
        }
        return String(parts[5])
    }
}

// MARK: - Our own

extension Key {
    /// Records of Docker's networks; the one thing outside Calico's own tree.
    public static let networks = Key("/calico/libnetwork/v1/networks/")
    public static func network(_ id: String) -> Key { Key(networks.path + id) }
}
