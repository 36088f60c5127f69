// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing

/// What we remember of one Docker network, under its Docker id: engines never repeat CreateNetwork.
public struct NetworkRecord: Hashable, Sendable {
    /// Docker's id: 64 hex digits, or 25 of base 36 for a Swarm network.
    public var id: String
    /// Docker's name; CreateNetwork does not tell it, the engine's API does soon after.
    public var name: String?
    /// The nodes whose engines know this network, several where a Swarm or a cluster store spans it; with each the next
    /// hop of its endpoints there, 1...254: 169.254.1.N and fe80::N. It differs between a node's networks, because one
    /// container cannot have the same route on two interfaces.
    public var nextHops: [String: Int]
    /// The subnets as Docker knows them; 0.0.0.0/0 and ::/0 stand for any pool of the family.
    public var subnets: [CIDR]
    /// Names of the pools that hold `subnets`; empty for any pool.
    public var pools: [String]
    /// The profile of its endpoints; `nil` until the first endpoint needs it, or where none is wanted.
    public var profile: String?
    /// False where the user asked for no profile.
    public var wantsProfile: Bool
    /// No way out of the pools (`docker network create --internal`).
    public var isInternal: Bool
    /// Docker's `-o` options, as given.
    public var options: [String: String]
    /// Labels of every endpoint on this network.
    public var labels: [String: String]
    /// RFC 3339.
    public var created: String
    /// A guess: an endpoint came before anybody had told of the network, and the engine gave no answer. It counts as
    /// internal until something shows that it is not.
    public var isProvisional: Bool
    public var unknown: [String: JSONValue] = [:]

    public init(
        id: String, name: String? = nil, nextHops: [String: Int] = [:], subnets: [CIDR], pools: [String],
        profile: String? = nil, wantsProfile: Bool = true, isInternal: Bool = false, options: [String: String] = [:],
        labels: [String: String] = [:], created: String, isProvisional: Bool = false
    ) {
        self.id = id
        self.name = name
        self.nextHops = nextHops
        self.subnets = subnets
        self.pools = pools
        self.profile = profile
        self.wantsProfile = wantsProfile
        self.isInternal = isInternal
        self.options = options
        self.labels = labels
        self.created = created
        self.isProvisional = isProvisional
    }

    public var key: Key { Key.network(id) }

    /// Told by the form of its id.
    public var isOfSwarm: Bool { id.utf8.count < 64 }
}

extension NetworkRecord: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable {
        case id, name, nextHops, subnets, pools, profile, wantsProfile, isInternal = "internal", options, labels
        case created, isProvisional = "provisional"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decode(String.self, forKey: .id)
        name = try container.decodeIfPresent(String.self, forKey: .name)
        nextHops = try container.value(.nextHops, default: [:])
        subnets = try container.value(.subnets, default: [])
        pools = try container.value(.pools, default: [])
        profile = try container.decodeIfPresent(String.self, forKey: .profile)
        wantsProfile = try container.value(.wantsProfile, default: true)
        isInternal = try container.value(.isInternal, default: false)
        options = try container.value(.options, default: [:])
        labels = try container.value(.labels, default: [:])
        created = try container.value(.created, default: "")
        isProvisional = try container.value(.isProvisional, default: false)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encodeIfPresent(name, forKey: .name)
        try container.encode(nextHops, forKey: .nextHops)
        try container.encode(subnets, forKey: .subnets)
        try container.encode(pools, forKey: .pools)
        try container.encodeIfPresent(profile, forKey: .profile)
        try container.encode(wantsProfile, forKey: .wantsProfile)
        try container.encodeIfTrue(isInternal, forKey: .isInternal)
        try container.encodeUnlessEmpty(options, forKey: .options)
        try container.encodeUnlessEmpty(labels, forKey: .labels)
        try container.encode(created, forKey: .created)
        try container.encodeIfTrue(isProvisional, forKey: .isProvisional)
        try encoder.encodeUnknown(unknown)
    }
}
