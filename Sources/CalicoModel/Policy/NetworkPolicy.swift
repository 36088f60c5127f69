// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public typealias NetworkPolicy = Resource<NetworkPolicySpec>
public typealias GlobalNetworkPolicy = Resource<GlobalNetworkPolicySpec>

/// The directions a policy takes part in.
public enum PolicyType: String, Codable, Sendable, CaseIterable {
    case ingress = "Ingress"
    case egress = "Egress"

    /// What Calico writes where nothing was given: the directions there are rules for, or else ingress.
    public static func implied(ingress: [Rule], egress: [Rule]) -> [PolicyType] {
        if egress.isEmpty { return [.ingress] }
        return ingress.isEmpty ? [.egress] : [.ingress, .egress]
    }
}

/// Rules for the endpoints of one namespace.
public struct NetworkPolicySpec: ResourceSpec {
    public static let kind = "NetworkPolicy"
    public static let plural = "networkpolicies"
    public static let isNamespaced = true

    /// `nil` means `default`.
    public var tier: String?
    /// Lower first; `nil` comes last.
    public var order: Double?
    public var ingress: [Rule]
    public var egress: [Rule]
    /// The endpoints it is for; `nil` means all.
    public var selector: String?
    /// Empty in old data, which means both.
    public var types: [PolicyType]
    public var serviceAccountSelector: String?
    public var unknown: [String: JSONValue] = [:]

    public init(
        tier: String? = nil, order: Double? = nil, selector: String? = nil, ingress: [Rule] = [], egress: [Rule] = [],
        types: [PolicyType]? = nil
    ) {
        self.tier = tier
        self.order = order
        self.selector = selector
        self.ingress = ingress
        self.egress = egress
        self.types = types ?? PolicyType.implied(ingress: ingress, egress: egress)
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case tier, order, ingress, egress, selector, types, serviceAccountSelector
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        tier = try container.text(.tier)
        order = try container.decodeIfPresent(Double.self, forKey: .order)
        ingress = try container.value(.ingress, default: [])
        egress = try container.value(.egress, default: [])
        selector = try container.text(.selector)
        types = try container.value(.types, default: [])
        serviceAccountSelector = try container.text(.serviceAccountSelector)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(tier, forKey: .tier)
        try container.encodeIfPresent(order, forKey: .order)
        try container.encodeUnlessEmpty(ingress, forKey: .ingress)
        try container.encodeUnlessEmpty(egress, forKey: .egress)
        try container.encodeIfPresent(selector, forKey: .selector)
        try container.encodeUnlessEmpty(types, forKey: .types)
        try container.encodeIfPresent(serviceAccountSelector, forKey: .serviceAccountSelector)
        try encoder.encodeUnknown(unknown)
    }

    public func validate(_ metadata: ResourceMetadata) throws(ValidationError) {
        let context = RuleContext(kind: Self.kind, name: metadata.name)
        try context.selector(selector, field: "spec.selector")
        try context.selector(serviceAccountSelector, field: "spec.serviceAccountSelector")
        try context.rules(ingress, field: "spec.ingress")
        try context.rules(egress, field: "spec.egress")
    }
}

/// Rules for endpoints of every namespace, and for hosts.
public struct GlobalNetworkPolicySpec: ResourceSpec {
    public static let kind = "GlobalNetworkPolicy"
    public static let plural = "globalnetworkpolicies"

    /// `nil` means `default`.
    public var tier: String?
    /// Lower first; `nil` comes last.
    public var order: Double?
    public var ingress: [Rule]
    public var egress: [Rule]
    /// The endpoints it is for; `nil` means all.
    public var selector: String?
    /// Empty in old data, which means both.
    public var types: [PolicyType]
    public var namespaceSelector: String?
    public var serviceAccountSelector: String?
    /// For host endpoints, before connection tracking.
    public var doNotTrack: Bool
    /// For host endpoints, before DNAT.
    public var preDNAT: Bool
    /// For host endpoints, also for traffic passing through.
    public var applyOnForward: Bool
    public var unknown: [String: JSONValue] = [:]

    public init(
        tier: String? = nil, order: Double? = nil, selector: String? = nil, ingress: [Rule] = [], egress: [Rule] = [],
        types: [PolicyType]? = nil
    ) {
        self.tier = tier
        self.order = order
        self.selector = selector
        self.ingress = ingress
        self.egress = egress
        self.types = types ?? PolicyType.implied(ingress: ingress, egress: egress)
        doNotTrack = false
        preDNAT = false
        applyOnForward = false
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case tier, order, ingress, egress, selector, types, namespaceSelector, serviceAccountSelector
        case doNotTrack, preDNAT, applyOnForward
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        tier = try container.text(.tier)
        order = try container.decodeIfPresent(Double.self, forKey: .order)
        ingress = try container.value(.ingress, default: [])
        egress = try container.value(.egress, default: [])
        selector = try container.text(.selector)
        types = try container.value(.types, default: [])
        namespaceSelector = try container.text(.namespaceSelector)
        serviceAccountSelector = try container.text(.serviceAccountSelector)
        doNotTrack = try container.value(.doNotTrack, default: false)
        preDNAT = try container.value(.preDNAT, default: false)
        applyOnForward = try container.value(.applyOnForward, default: false)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(tier, forKey: .tier)
        try container.encodeIfPresent(order, forKey: .order)
        try container.encodeUnlessEmpty(ingress, forKey: .ingress)
        try container.encodeUnlessEmpty(egress, forKey: .egress)
        try container.encodeIfPresent(selector, forKey: .selector)
        try container.encodeUnlessEmpty(types, forKey: .types)
        try container.encodeIfPresent(namespaceSelector, forKey: .namespaceSelector)
        try container.encodeIfPresent(serviceAccountSelector, forKey: .serviceAccountSelector)
        try container.encodeIfTrue(doNotTrack, forKey: .doNotTrack)
        try container.encodeIfTrue(preDNAT, forKey: .preDNAT)
        try container.encodeIfTrue(applyOnForward, forKey: .applyOnForward)
        try encoder.encodeUnknown(unknown)
    }

    public func validate(_ metadata: ResourceMetadata) throws(ValidationError) {
        let context = RuleContext(kind: Self.kind, name: metadata.name)
        try context.selector(selector, field: "spec.selector")
        try context.selector(namespaceSelector, field: "spec.namespaceSelector")
        try context.selector(serviceAccountSelector, field: "spec.serviceAccountSelector")
        try context.rules(ingress, field: "spec.ingress")
        try context.rules(egress, field: "spec.egress")
    }
}

extension ResourceMetadata {
    /// A policy's name as its user gave it, whichever release stored it.
    ///
    /// Up to v3.31 the stored name carries the tier in front; from v3.30 an annotation holds the given name.
    public func policyName(tier: String?) -> String {
        let annotation = annotations["projectcalico.org/metadata"]
        if let given = annotation.flatMap(Self.nameMember) { return given }
        let isDefault = tier == nil || tier == "default"
        return isDefault && name.hasPrefix("default.") ? String(name.dropFirst("default.".count)) : name
    }
}
