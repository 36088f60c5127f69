// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

public typealias NetworkSet = Resource<NetworkSetSpec>
public typealias GlobalNetworkSet = Resource<GlobalNetworkSetSpec>

/// Networks under labels, which selectors in the rules of one namespace find.
public struct NetworkSetSpec: ResourceSpec {
    public static let kind = "NetworkSet"
    public static let plural = "networksets"
    public static let isNamespaced = true

    public var nets: [CIDR]
    public var unknown: [String: JSONValue] = [:]

    public init(nets: [CIDR] = []) { self.nets = nets }

    enum CodingKeys: String, CodingKey, CaseIterable { case nets }

    public init(from decoder: any Decoder) throws {
        nets = try decoder.container(keyedBy: CodingKeys.self).value(.nets, default: [])
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeUnlessEmpty(nets, forKey: .nets)
        try encoder.encodeUnknown(unknown)
    }
}

/// Networks under labels, which selectors in all rules find.
public struct GlobalNetworkSetSpec: ResourceSpec {
    public static let kind = "GlobalNetworkSet"
    public static let plural = "globalnetworksets"

    public var nets: [CIDR]
    public var unknown: [String: JSONValue] = [:]

    public init(nets: [CIDR] = []) { self.nets = nets }

    enum CodingKeys: String, CodingKey, CaseIterable { case nets }

    public init(from decoder: any Decoder) throws {
        nets = try decoder.container(keyedBy: CodingKeys.self).value(.nets, default: [])
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeUnlessEmpty(nets, forKey: .nets)
        try encoder.encodeUnknown(unknown)
    }
}
