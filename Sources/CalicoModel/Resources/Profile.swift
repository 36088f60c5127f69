// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public typealias Profile = Resource<ProfileSpec>

extension Profile {
    /// The profile that lets everything pass (Calico 3.14). It is in no datastore: each of Calico's parts knows it, and
    /// none makes one of this name.
    public static let builtInName = "projectcalico-default-allow"
}

/// Rules for endpoints that no policy selects, and labels for those that list the profile.
public struct ProfileSpec: ResourceSpec {
    public static let kind = "Profile"
    public static let plural = "profiles"

    public var ingress: [Rule]
    public var egress: [Rule]
    /// Labels every endpoint inherits that lists this profile; its own win.
    public var labelsToApply: [String: String]
    public var unknown: [String: JSONValue] = [:]

    public init(ingress: [Rule] = [], egress: [Rule] = [], labelsToApply: [String: String] = [:]) {
        self.ingress = ingress
        self.egress = egress
        self.labelsToApply = labelsToApply
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case ingress, egress, labelsToApply }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        ingress = try container.value(.ingress, default: [])
        egress = try container.value(.egress, default: [])
        labelsToApply = try container.value(.labelsToApply, default: [:])
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeUnlessEmpty(ingress, forKey: .ingress)
        try container.encodeUnlessEmpty(egress, forKey: .egress)
        try container.encodeUnlessEmpty(labelsToApply, forKey: .labelsToApply)
        try encoder.encodeUnknown(unknown)
    }

    public func validate(_ metadata: ResourceMetadata) throws(ValidationError) {
        for (key, value) in labelsToApply {
            guard Validation.isLabelKey(key), Validation.isLabelValue(value) else {
                throw ValidationError(
                    kind: Self.kind, name: metadata.name, field: "spec.labelsToApply",
                    reason: "\"\(key)=\(value)\" is not a label")
            }
        }
        let context = RuleContext(kind: Self.kind, name: metadata.name)
        try context.rules(ingress, field: "spec.ingress")
        try context.rules(egress, field: "spec.egress")
    }
}
