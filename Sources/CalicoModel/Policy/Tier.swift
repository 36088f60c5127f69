// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public typealias Tier = Resource<TierSpec>

/// A group of policies that is evaluated as a whole before the next one.
public struct TierSpec: ResourceSpec {
    public static let kind = "Tier"
    public static let plural = "tiers"

    /// What becomes of traffic that no policy of the tier decides.
    public enum DefaultAction: String, Codable, Sendable, CaseIterable {
        case deny = "Deny"
        case pass = "Pass"
    }

    /// Lower first; `nil` comes last.
    public var order: Double?
    /// `nil` means deny.
    public var defaultAction: DefaultAction?
    public var unknown: [String: JSONValue] = [:]

    /// What the tier `default` is, stored (Calico v3.29) or not.
    public static let builtIn = TierSpec(order: 1_000_000, defaultAction: .deny)

    public init(order: Double? = nil, defaultAction: DefaultAction? = nil) {
        self.order = order
        self.defaultAction = defaultAction
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case order, defaultAction }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        order = try container.decodeIfPresent(Double.self, forKey: .order)
        defaultAction = try container.decodeIfPresent(DefaultAction.self, forKey: .defaultAction)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(order, forKey: .order)
        try container.encodeIfPresent(defaultAction, forKey: .defaultAction)
        try encoder.encodeUnknown(unknown)
    }
}
