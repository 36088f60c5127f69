// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials

/// Who holds an address: a handle, and facts about the owner.
public struct AllocationAttributes: Hashable, Sendable {
    /// Groups the allocations of one owner; key of an ``IPAMHandle``.
    public var handleID: String?
    /// The owner. Felix needs `node`: without it a borrowed address gets no route (Felix calc graph, `l3_route_resolver`).
    public var secondary: [String: String]
    /// Set while a released address waits before it is used again (Calico after v3.32).
    public var releasedAt: String?
    public var unknown: [String: JSONValue] = [:]

    public init(handleID: String?, secondary: [String: String]) {
        self.handleID = handleID
        self.secondary = secondary
    }

    public var node: String? { secondary["node"] }
    /// Docker's name of the container, from engines that tell it (29.0 and later).
    public var container: String? { secondary["container"] }
    public var isCoolingDown: Bool { releasedAt != nil }
}

extension AllocationAttributes: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable { case handleID = "handle_id", secondary, releasedAt }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        handleID = try container.decodeIfPresent(String.self, forKey: .handleID)
        secondary = try container.value(.secondary, default: [:])
        releasedAt = try container.decodeIfPresent(String.self, forKey: .releasedAt)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(handleID, forKey: .handleID)
        try container.encodeUnlessEmpty(secondary, forKey: .secondary)
        try container.encodeIfPresent(releasedAt, forKey: .releasedAt)
        try encoder.encodeUnknown(unknown)
    }
}
