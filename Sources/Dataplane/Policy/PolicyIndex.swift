// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import LinuxNetwork

/// The other interfaces of a container, with their addresses.
public typealias Siblings = [InterfaceName: Set<IPAddress>]

/// What the cluster's endpoints, pools, profiles and policies make of one host's rules.
///
/// It is kept current change by change: a change of an endpoint touches that endpoint's elements and those of the sets
/// it enters or leaves, and nothing else. The result is always what the same values give in any other order.
public struct PolicyIndex: Sendable {
    /// Calico's name of this host.
    public let node: String
    public let options: RulesetOptions
    /// What should be in the kernel.
    public var ruleset: Ruleset { rules.current }

    var rules: TrackedRuleset
    /// Whatever has labels and addresses: all nodes' endpoints, and network sets.
    var members: [Key: Member] = [:]
    var endpoints: [Key: WorkloadEndpoint] = [:]
    var profiles: [String: ProfileSpec] = [:]
    /// Endpoints by the profiles they list.
    var profileUsers: [String: Set<Key>] = [:]
    var pools: [Key: IPPoolSpec] = [:]
    var policies: [Key: Policy] = [:]
    var tiers: [String: TierSpec] = [:]
    /// Of ``policies`` and ``tiers``, in order of evaluation.
    var orderedTiers: [OrderedTier] = []
    /// This node's endpoints by interface; where there are several for one, the first key has it.
    var claims: [InterfaceName: Set<Key>] = [:]
    var installed: [InterfaceName: InstalledEndpoint] = [:]
    /// What each installed endpoint wants an element to be, by interface.
    var contributions: [ElementKey: [String: String]] = [:]
    var siblings: [InterfaceName: Siblings] = [:]
    /// Chains and sets in use.
    var artefacts: [Artefact: ArtefactState] = [:]

    public init(node: String, options: RulesetOptions = .init(), state: [ClusterChange] = []) {
        self.node = node
        self.options = options
        rules = TrackedRuleset(HostRules.ruleset(options))
        // Policies first, or each of them would be weighed against each endpoint.
        for change in state where !change.isEndpoint { apply(change) }
        for change in state where change.isEndpoint { apply(change) }
    }

    /// Brings the rules in line with a value's change.
    public mutating func apply(_ change: ClusterChange) {
        switch change.value {
        case .endpoint(let endpoint): setEndpoint(change.key, endpoint)
        case .pool(let pool): setPool(change.key, pool.spec)
        case .profile(let profile): setProfile(profile.name, profile.spec)
        case .networkPolicy(let policy): setPolicy(change.key, Policy(policy))
        case .globalNetworkPolicy(let policy): setPolicy(change.key, Policy(policy))
        case .tier(let tier): setTier(tier.name, tier.spec)
        case .networkSet(let set): setMember(change.key, Member(set))
        case .globalNetworkSet(let set): setMember(change.key, Member(set))
        case nil: remove(change.key)
        }
    }

    private mutating func remove(_ key: Key) {
        if endpoints[key] != nil { setEndpoint(key, nil) }
        if members[key] != nil { setMember(key, nil) }
        if pools[key] != nil { setPool(key, nil) }
        if policies[key] != nil { setPolicy(key, nil) }
        if Key.resources(ProfileSpec.self).isPrefix(of: key) { setProfile(key.lastSegment, nil) }
        if Key.resources(TierSpec.self).isPrefix(of: key) { setTier(key.lastSegment, nil) }
    }

    /// What has changed in ``ruleset`` since the last call.
    public mutating func takeChanges() -> RulesetChanges { rules.takeChanges() }

    /// The endpoints that have an interface on this host.
    public var localEndpoints: [WorkloadEndpoint] { installed.values.compactMap { endpoints[$0.key] } }

    /// Treats the addresses of these, its container's other interfaces, as the interface's own: it may send from them,
    /// and they count as a member of whatever its endpoint is a member of. A container answers through one default
    /// route, whatever the network it was asked on.
    public mutating func setSiblings(_ others: Siblings, of interface: InterfaceName) {
        guard siblings[interface] ?? [:] != others else { return }
        siblings[interface] = others.isEmpty ? nil : others
        if let endpoint = endpoint(on: interface) { setMember(endpoint.key, member(endpoint)) }
        reinstall(interface)
    }

    /// Interfaces of Docker's own networks: packets to them are left to Docker's rules.
    public mutating func setDockerInterfaces(_ names: Set<InterfaceName>) {
        let wanted = Set(names.map { NftText.quoted($0) })
        let present = Set(ruleset.sets[HostRules.dockerInterfaces]?.elements.keys ?? [:].keys)
        for name in present.symmetricDifference(wanted) {
            rules.setElement(name, in: HostRules.dockerInterfaces, to: wanted.contains(name) ? "" : nil)
        }
    }

    // MARK: Pools

    private mutating func setPool(_ key: Key, _ pool: IPPoolSpec?) {
        pools[key] = pool
        for family in IPAddress.Family.allCases {
            let pools = pools.values.filter { $0.family == family }
            setNetworks(HostRules.pools(family), pools.map(\.cidr))
            setNetworks(HostRules.masqueraded(family), pools.filter(\.natOutgoing).map(\.cidr))
        }
    }

    private mutating func setNetworks(_ set: String, _ networks: [CIDR]) {
        let wanted = Set(networks.withoutOverlaps.map(\.element))
        let present = Set(ruleset.sets[set]?.elements.keys ?? [:].keys)
        for network in present.symmetricDifference(wanted) {
            rules.setElement(network, in: set, to: wanted.contains(network) ? "" : nil)
        }
    }
}

extension ClusterChange {
    fileprivate var isEndpoint: Bool { if case .endpoint = value { true } else { false } }
}
