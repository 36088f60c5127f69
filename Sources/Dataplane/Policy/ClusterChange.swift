// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import FoundationEssentials

/// A value of the datastore that bears on what this host's dataplane should be.
public enum ClusterValue: Hashable, Sendable {
    case endpoint(WorkloadEndpoint)
    case pool(IPPool)
    case profile(Profile)
    case networkPolicy(NetworkPolicy)
    case globalNetworkPolicy(GlobalNetworkPolicy)
    case tier(Tier)
    case networkSet(NetworkSet)
    case globalNetworkSet(GlobalNetworkSet)
}

/// A key's new value, or that it has none any more.
public struct ClusterChange: Hashable, Sendable {
    public let key: Key
    /// `nil`: removed.
    public let value: ClusterValue?

    public init(key: Key, value: ClusterValue?) {
        self.key = key
        self.value = value
    }

    public init(_ endpoint: WorkloadEndpoint) { self.init(key: endpoint.key, value: .endpoint(endpoint)) }
    public init(_ pool: IPPool) { self.init(key: pool.key, value: .pool(pool)) }
    public init(_ profile: Profile) { self.init(key: profile.key, value: .profile(profile)) }
    public init(_ policy: NetworkPolicy) { self.init(key: policy.key, value: .networkPolicy(policy)) }
    public init(_ policy: GlobalNetworkPolicy) { self.init(key: policy.key, value: .globalNetworkPolicy(policy)) }
    public init(_ tier: Tier) { self.init(key: tier.key, value: .tier(tier)) }
    public init(_ set: NetworkSet) { self.init(key: set.key, value: .networkSet(set)) }
    public init(_ set: GlobalNetworkSet) { self.init(key: set.key, value: .globalNetworkSet(set)) }

    /// Reads what the datastore holds under `key`; `nil` for kinds that do not bear on the dataplane.
    /// - Parameter json: `nil` where the key was removed.
    /// - Throws: `DecodingError`, or `ValidationError` for a selector that cannot be read. Such a value counts as
    ///   removed: a profile that is not there lets nothing through.
    public init?(key: Key, json: Data?) throws {
        guard let kind = Kind.all.first(where: { $0.prefix.isPrefix(of: key) }) else { return nil }
        self.init(key: key, value: try json.map(kind.decode))
    }

    private struct Kind: Sendable {
        let prefix: Key
        let decode: @Sendable (Data) throws -> ClusterValue

        init<Spec: ResourceSpec>(_ spec: Spec.Type, _ wrap: @escaping @Sendable (Resource<Spec>) -> ClusterValue) {
            prefix = .resources(spec)
            decode = {
                let value = wrap(try JSONDecoder().decode(Resource<Spec>.self, from: $0))
                try value.checkRules()
                return value
            }
        }

        static let all: [Kind] = [
            Kind(WorkloadEndpointSpec.self, ClusterValue.endpoint), Kind(IPPoolSpec.self, ClusterValue.pool),
            Kind(ProfileSpec.self, ClusterValue.profile),
            Kind(NetworkPolicySpec.self, ClusterValue.networkPolicy),
            Kind(GlobalNetworkPolicySpec.self, ClusterValue.globalNetworkPolicy),
            Kind(TierSpec.self, ClusterValue.tier), Kind(NetworkSetSpec.self, ClusterValue.networkSet),
            Kind(GlobalNetworkSetSpec.self, ClusterValue.globalNetworkSet),
        ]
    }
}

extension ClusterValue {
    /// A rule or selector that cannot be read would make the kernel refuse all rules.
    fileprivate func checkRules() throws {
        switch self {
        case .profile(let profile):
            for (field, rules) in [("spec.ingress", profile.spec.ingress), ("spec.egress", profile.spec.egress)] {
                for rule in rules { try rule.validate(kind: ProfileSpec.kind, name: profile.name, field: field) }
            }
        case .networkPolicy(let policy): try policy.spec.validate(policy.metadata)
        case .globalNetworkPolicy(let policy): try policy.spec.validate(policy.metadata)
        case .endpoint, .pool, .tier, .networkSet, .globalNetworkSet: break
        }
    }
}
