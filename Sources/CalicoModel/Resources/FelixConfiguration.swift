// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public typealias FelixConfiguration = Resource<FelixConfigurationSpec>

/// What Felix, Calico's own dataplane, is told: for all hosts under the name `default`, for one under `node.NAME`.
public struct FelixConfigurationSpec: ResourceSpec {
    public static let kind = "FelixConfiguration"
    public static let plural = "felixconfigurations"

    /// `Any`: endpoints may name further addresses to send from. `Disabled`, the default: Felix ignores one that does.
    public var workloadSourceSpoofing: String?
    /// Which interfaces are endpoints', with commas between; the default is `cali`.
    public var interfacePrefix: String?
    public var unknown: [String: JSONValue] = [:]

    public init(workloadSourceSpoofing: String? = nil, interfacePrefix: String? = nil) {
        self.workloadSourceSpoofing = workloadSourceSpoofing
        self.interfacePrefix = interfacePrefix
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case workloadSourceSpoofing, interfacePrefix }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        workloadSourceSpoofing = try container.decodeIfPresent(String.self, forKey: .workloadSourceSpoofing)
        interfacePrefix = try container.decodeIfPresent(String.self, forKey: .interfacePrefix)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(workloadSourceSpoofing, forKey: .workloadSourceSpoofing)
        try container.encodeIfPresent(interfacePrefix, forKey: .interfacePrefix)
        try encoder.encodeUnknown(unknown)
    }
}
