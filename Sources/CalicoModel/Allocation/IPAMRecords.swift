// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing

/// A host's claim to a block. The block's own `affinity` is the truth; a claim that disagrees is stale.
public struct BlockAffinity: Hashable, Sendable {
    public enum State: String, Codable, Sendable {
        /// Announced; the block may not exist yet.
        case pending
        /// The block is this host's.
        case confirmed
        /// About to be given up.
        case pendingDeletion
    }

    public var state: State
    public var unknown: [String: JSONValue] = [:]

    public init(_ state: State) { self.state = state }
}

extension BlockAffinity: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable { case state, deleted }

    /// Very old data has no state, or an empty one: confirmed.
    public init(from decoder: any Decoder) throws {
        let text = try decoder.container(keyedBy: CodingKeys.self).value(.state, default: "")
        guard let state = text.isEmpty ? .confirmed : State(rawValue: text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is not an affinity's state"))
        }
        self.state = state
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(state, forKey: .state)
        try container.encode(false, forKey: .deleted)
        try encoder.encodeUnknown(unknown)
    }
}

/// How many addresses of which blocks one owner holds. May over-count after a crash of a Go client, never under-count.
public struct IPAMHandle: Hashable, Sendable {
    /// Block CIDR as text -> count above 0.
    public private(set) var blocks: [String: Int] = [:]
    public var unknown: [String: JSONValue] = [:]

    public init() {}

    public var isEmpty: Bool { blocks.isEmpty }

    public mutating func increment(_ block: CIDR) { blocks[block.description, default: 0] += 1 }

    /// A count never falls below 0; an unknown block is ignored: the handle of a crashed Go client may lack it.
    public mutating func decrement(_ block: CIDR) {
        guard let count = blocks[block.description] else { return }
        blocks[block.description] = count > 1 ? count - 1 : nil
    }
}

extension IPAMHandle: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable { case blocks = "block", deleted }

    public init(from decoder: any Decoder) throws {
        blocks = try decoder.container(keyedBy: CodingKeys.self).value(.blocks, default: [:])
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(blocks, forKey: .blocks)
        try container.encode(false, forKey: .deleted)
        try encoder.encodeUnknown(unknown)
    }
}

/// IPAM's own settings. In etcd mode Calico reads them from this legacy key only, never from a resource.
public struct IPAMConfiguration: Hashable, Sendable {
    /// Addresses come from own blocks only; nothing is borrowed.
    public var strictAffinity: Bool
    /// New blocks may be claimed when the own ones are full.
    public var autoAllocateBlocks: Bool
    /// 0 means Calico's default of 20 (v3.20).
    public var maxBlocksPerHost: Int
    /// How long a released address rests, in seconds (Calico after v3.32).
    public var cooldownSeconds: Int
    public var unknown: [String: JSONValue] = [:]

    /// What holds where the key is missing. An existing value with members missing means false and 0 instead.
    public init(
        strictAffinity: Bool = false, autoAllocateBlocks: Bool = true, maxBlocksPerHost: Int = 0,
        cooldownSeconds: Int = 0
    ) {
        self.strictAffinity = strictAffinity
        self.autoAllocateBlocks = autoAllocateBlocks
        self.maxBlocksPerHost = maxBlocksPerHost
        self.cooldownSeconds = cooldownSeconds
    }

    /// libcalico-go `lib/ipam`, since v3.20.
    public static let defaultMaxBlocksPerHost = 20
    public var blockLimit: Int { maxBlocksPerHost == 0 ? Self.defaultMaxBlocksPerHost : maxBlocksPerHost }
}

extension IPAMConfiguration: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable {
        case strictAffinity = "strict_affinity", autoAllocateBlocks = "auto_allocate_blocks", maxBlocksPerHost
        case cooldownSeconds = "ipCooldownSeconds"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        strictAffinity = try container.value(.strictAffinity, default: false)
        autoAllocateBlocks = try container.value(.autoAllocateBlocks, default: false)
        maxBlocksPerHost = try container.value(.maxBlocksPerHost, default: 0)
        cooldownSeconds = try container.value(.cooldownSeconds, default: 0)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfTrue(strictAffinity, forKey: .strictAffinity)
        try container.encodeIfTrue(autoAllocateBlocks, forKey: .autoAllocateBlocks)
        if maxBlocksPerHost != 0 { try container.encode(maxBlocksPerHost, forKey: .maxBlocksPerHost) }
        if cooldownSeconds != 0 { try container.encode(cooldownSeconds, forKey: .cooldownSeconds) }
        try encoder.encodeUnknown(unknown)
    }
}
