// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

public typealias Node = Resource<NodeSpec>
public typealias ClusterInformation = Resource<ClusterInformationSpec>
public typealias IPReservation = Resource<IPReservationSpec>

/// A host: its underlay address and what other components keep there.
public struct NodeSpec: ResourceSpec {
    public static let kind = "Node"
    public static let plural = "nodes"

    /// Addresses in the underlay, with the length of the local subnet.
    public struct BGP: Codable, Hashable, Sendable {
        /// `10.0.0.5/24`: host bits kept.
        public var ipv4Address: String?
        public var ipv6Address: String?
        public var unknown: [String: JSONValue] = [:]

        public init(ipv4Address: String? = nil, ipv6Address: String? = nil) {
            self.ipv4Address = ipv4Address
            self.ipv6Address = ipv6Address
        }

        enum CodingKeys: String, CodingKey, CaseIterable { case ipv4Address, ipv6Address }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            ipv4Address = try container.decodeIfPresent(String.self, forKey: .ipv4Address)
            ipv6Address = try container.decodeIfPresent(String.self, forKey: .ipv6Address)
            unknown = try decoder.unknownMembers(besides: CodingKeys.self)
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encodeIfPresent(ipv4Address, forKey: .ipv4Address)
            try container.encodeIfPresent(ipv6Address, forKey: .ipv6Address)
            try encoder.encodeUnknown(unknown)
        }

        var isEmpty: Bool { self == BGP() }
    }

    public var bgp: BGP?
    public var unknown: [String: JSONValue] = [:]

    public init(bgp: BGP? = nil) { self.bgp = bgp }

    enum CodingKeys: String, CodingKey, CaseIterable { case bgp }

    public init(from decoder: any Decoder) throws {
        bgp = try decoder.container(keyedBy: CodingKeys.self).decodeIfPresent(BGP.self, forKey: .bgp)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    /// An empty `bgp` is left out: Calico's validator refuses it.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        if let bgp, !bgp.isEmpty { try container.encode(bgp, forKey: .bgp) }
        try encoder.encodeUnknown(unknown)
    }

    public func validate(_ metadata: ResourceMetadata) throws(ValidationError) {
        for (field, family, text) in [
            ("ipv4Address", IPAddress.Family.v4, bgp?.ipv4Address), ("ipv6Address", .v6, bgp?.ipv6Address),
        ] {
            guard let text, IPAddress(lenient: text)?.family != family else { continue }
            throw ValidationError(
                kind: Self.kind, name: metadata.name, field: "spec.bgp.\(field)",
                reason: "\"\(text)\" is not an \(family.name) address, with or without a prefix length")
        }
    }
}

/// Facts of the whole datastore. Its only name is `default`.
public struct ClusterInformationSpec: ResourceSpec {
    public static let kind = "ClusterInformation"
    public static let plural = "clusterinformations"

    /// 32 hex digits.
    public var clusterGUID: String?
    /// `false` locks the datastore, e.g. during a migration; `nil` is not yet decided.
    public var datastoreReady: Bool?
    public var unknown: [String: JSONValue] = [:]

    public init(clusterGUID: String? = nil, datastoreReady: Bool? = nil) {
        self.clusterGUID = clusterGUID
        self.datastoreReady = datastoreReady
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case clusterGUID, datastoreReady }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        clusterGUID = try container.decodeIfPresent(String.self, forKey: .clusterGUID)
        datastoreReady = try container.decodeIfPresent(Bool.self, forKey: .datastoreReady)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(clusterGUID, forKey: .clusterGUID)
        try container.encodeIfPresent(datastoreReady, forKey: .datastoreReady)
        try encoder.encodeUnknown(unknown)
    }
}

/// Addresses that are never assigned by themselves, only on request (Calico v3.22).
public struct IPReservationSpec: ResourceSpec {
    public static let kind = "IPReservation"
    public static let plural = "ipreservations"

    /// CIDRs or bare addresses, both families; malformed entries mean nothing, as in Calico.
    public var reservedCIDRs: [String]
    public var unknown: [String: JSONValue] = [:]

    public init(reservedCIDRs: [String]) { self.reservedCIDRs = reservedCIDRs }

    enum CodingKeys: String, CodingKey, CaseIterable { case reservedCIDRs }

    public init(from decoder: any Decoder) throws {
        reservedCIDRs = try decoder.container(keyedBy: CodingKeys.self).value(.reservedCIDRs, default: [])
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeUnlessEmpty(reservedCIDRs, forKey: .reservedCIDRs)
        try encoder.encodeUnknown(unknown)
    }
}
