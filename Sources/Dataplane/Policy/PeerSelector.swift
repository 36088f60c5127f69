// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel

// Calico's rules of which endpoints a rule's selectors mean, libcalico-go `lib/backend/syncersv1/updateprocessors`.

extension EntityRule {
    /// Whether a line of nft for this side must name a family.
    var dependsOnFamily: Bool {
        !nets.isEmpty || !notNets.isEmpty || peers(namespace: nil) != nil || excludedPeers != nil
            || !ports.names.isEmpty || !notPorts.names.isEmpty
    }

    /// All conditions on the peer in one; `nil` where there is none.
    /// - Parameter namespace: of the policy the rule stands in.
    func peers(namespace: String?) -> Selector? {
        var parts: [Selector] = []
        if let namespaceSelector {
            parts.append(.reading(namespaceSelector).inNamespaces)
        } else if let namespace, selector != nil || notSelector != nil || serviceAccounts != nil {
            parts.append(.label(Labels.namespace, equals: namespace))
        }
        if let names = serviceAccounts?.names, !names.isEmpty {
            parts.append(.label(Labels.serviceAccount, isIn: names))
        }
        if let text = serviceAccounts?.selector, !text.isEmpty {
            parts.append(.reading(text).prefixingLabels(with: Labels.serviceAccountPrefix))
        }
        if let selector { parts.append(.reading(selector)) }
        return parts.isEmpty ? nil : parts.reduce(.all) { $0.and($1) }
    }

    var excludedPeers: Selector? { notSelector.map(Selector.reading) }
}

/// Labels with a meaning of their own.
enum Labels {
    static let namespace = "projectcalico.org/namespace"
    static let serviceAccount = "projectcalico.org/serviceaccount"
    static let namespacePrefix = "pcns."
    static let serviceAccountPrefix = "pcsa."
}

extension Selector {
    /// What cannot be read selects nothing; ``ClusterChange`` has refused such a value already.
    static func reading(_ text: String) -> Selector { (try? Selector(text)) ?? .none }

    /// A selector of namespaces as one of the endpoints in them.
    var inNamespaces: Selector {
        if isAll { return .has(Labels.namespace) }
        if isGlobal { return .reading("!has(\(Labels.namespace))") }
        return prefixingLabels(with: Labels.namespacePrefix)
    }
}
