// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel

/// A policy of either kind, as far as endpoints are concerned.
struct Policy: Hashable, Sendable {
    let name: String
    /// `nil`: a global one.
    let namespace: String?
    let tier: String
    let order: Double?
    let endpoints: Selector
    let types: Set<PolicyType>
    let ingress: [Rule]
    let egress: [Rule]

    init(_ policy: NetworkPolicy) {
        let spec = policy.spec
        name = policy.metadata.policyName(tier: spec.tier)
        namespace = policy.metadata.namespace
        tier = spec.tier ?? "default"
        order = spec.order
        endpoints = Self.selector(spec.selector, serviceAccounts: spec.serviceAccountSelector)
            .and(.label(Labels.namespace, equals: policy.metadata.namespace ?? ""))
        types = Set(spec.types.isEmpty ? PolicyType.allCases : spec.types)
        ingress = spec.ingress
        egress = spec.egress
    }

    init(_ policy: GlobalNetworkPolicy) {
        let spec = policy.spec
        name = policy.metadata.policyName(tier: spec.tier)
        namespace = nil
        tier = spec.tier ?? "default"
        order = spec.order
        let namespaces = spec.namespaceSelector.map { Selector.reading($0).inNamespaces } ?? .all
        let selector = Self.selector(spec.selector, serviceAccounts: spec.serviceAccountSelector).and(namespaces)
        // These two are for host endpoints only.
        endpoints = spec.doNotTrack || spec.preDNAT ? .none : selector
        types = Set(spec.types.isEmpty ? PolicyType.allCases : spec.types)
        ingress = spec.ingress
        egress = spec.egress
    }

    private static func selector(_ text: String?, serviceAccounts: String?) -> Selector {
        let selector = text.map(Selector.reading) ?? .all
        guard let serviceAccounts else { return selector }
        return selector.and(.reading(serviceAccounts).prefixingLabels(with: Labels.serviceAccountPrefix))
    }

    func rules(_ direction: Direction) -> [Rule] { direction == .ingress ? ingress : egress }
    func concerns(_ direction: Direction) -> Bool { types.contains(direction == .ingress ? .ingress : .egress) }
    func passes(_ direction: Direction) -> Bool { rules(direction).contains { $0.action == .pass } }

    /// By order, those without one last; then by name, namespace and kind.
    static func precedes(_ a: Policy, _ b: Policy) -> Bool {
        let (first, second) = (a.order ?? .infinity, b.order ?? .infinity)
        if first != second { return first < second }
        return (a.name, a.namespace ?? "", a.namespace == nil ? 0 : 1) < (
            b.name, b.namespace ?? "", b.namespace == nil ? 0 : 1
        )
    }
}

extension Policy {
    /// What tells it from others, whichever release stored it.
    struct Identity: Hashable {
        /// `nil`: of a global one.
        let namespace: String?
        let tier: String
        let name: String
    }

    var identity: Identity { Identity(namespace: namespace, tier: tier, name: name) }
}

/// A tier with its policies in order.
struct OrderedTier: Sendable {
    let name: String
    let passesByDefault: Bool
    let policies: [(key: Key, policy: Policy)]
}

extension PolicyIndex {
    mutating func setPolicy(_ key: Key, _ policy: Policy?) {
        guard policies[key] != policy else { return }
        policies[key] = policy
        reorderTiers()
        for direction in Direction.allCases { render(.policy(key, direction)) }
        for interface in Array(installed.keys) { reinstall(interface) }
    }

    mutating func setTier(_ name: String, _ tier: TierSpec?) {
        guard tiers[name] != tier else { return }
        tiers[name] = tier
        reorderTiers()
        for interface in Array(installed.keys) { reinstall(interface) }
    }

    /// Tiers by order, those without one after them, those that do not exist themselves last; then by name.
    private mutating func reorderTiers() {
        let byTier = Dictionary(grouping: policiesInForce, by: \.policy.tier)
        let rank = { [tiers] (name: String) -> (Int, Double, String) in
            guard let tier = tiers[name] ?? Self.builtIn(name) else { return (1, .infinity, name) }
            return (0, tier.order ?? .infinity, name)
        }
        orderedTiers = byTier.keys.sorted { rank($0) < rank($1) }.map { name in
            OrderedTier(
                name: name, passesByDefault: (tiers[name] ?? Self.builtIn(name))?.defaultAction == .pass,
                policies: (byTier[name] ?? []).sorted { Policy.precedes($0.policy, $1.policy) })
        }
    }

    /// Each policy once: one that two releases stored, as `default.allow` (up to v3.31) and as `allow`, is the latter.
    private var policiesInForce: [(key: Key, policy: Policy)] {
        let forms = Dictionary(grouping: policies.map { (key: $0.key, policy: $0.value) }, by: \.policy.identity)
        let rank = { (form: (key: Key, policy: Policy)) -> (Int, Key) in
            (form.key.lastSegment == form.policy.name ? 0 : 1, form.key)
        }
        return forms.values.compactMap { $0.min { rank($0) < rank($1) } }
    }

    /// Releases up to v3.28 store no tiers and have this one.
    private static func builtIn(_ name: String) -> TierSpec? {
        name == "default" ? TierSpec.builtIn : nil
    }

    /// The tiers that have a policy for something with these labels.
    func tiers(_ labels: [String: String], _ direction: Direction) -> [TierReference] {
        orderedTiers.compactMap { tier in
            let policies = tier.policies.filter { $0.policy.concerns(direction) && $0.policy.endpoints.matches(labels) }
            guard !policies.isEmpty else { return nil }
            return TierReference(
                name: tier.name, passesByDefault: tier.passesByDefault,
                policies: policies.map { .init(key: $0.key, passes: $0.policy.passes(direction)) })
        }
    }
}
