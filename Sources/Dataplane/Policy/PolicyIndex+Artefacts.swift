// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import LinuxNetwork

// Chains and sets come with their first user and go with their last one.

extension PolicyIndex {
    mutating func acquire(_ artefact: Artefact) {
        if artefacts[artefact] != nil {
            artefacts[artefact]?.users += 1
            return
        }
        artefacts[artefact] = ArtefactState()
        switch artefact {
        case .members: fillMembers(artefact)
        case .ports: fillPorts(artefact)
        default: render(artefact)
        }
    }

    mutating func release(_ artefact: Artefact) {
        guard let state = artefacts[artefact] else { return }
        guard state.users == 1 else {
            artefacts[artefact]?.users -= 1
            return
        }
        switch artefact {
        case .members: rules.removeSet(setName(artefact))
        case .ports: rules.removeSet(artefact.name)
        default: rules.setChain(artefact.name, nil)
        }
        artefacts[artefact] = nil
        state.dependencies.forEach { release($0) }
    }

    /// Writes a chain that is in use anew, with all it refers to.
    mutating func render(_ artefact: Artefact) {
        guard let old = artefacts[artefact] else { return }
        // In use before their names are asked for: a set's kind is known once it is filled.
        let dependencies = dependencies(of: artefact)
        dependencies.forEach { acquire($0) }
        rules.setChain(artefact.name, Ruleset.Chain(rules: lines(of: artefact)))
        artefacts[artefact]?.dependencies = dependencies
        old.dependencies.forEach { release($0) }
    }

    private func dependencies(of artefact: Artefact) -> [Artefact] {
        switch artefact {
        case .endpoint(let tiers, let profiles, let direction):
            return tiers.map { .tier($0, direction) } + profiles.map { .profile($0, direction) }
        case .tier(let tier, let direction): return tier.policies.map { .policy($0.key, direction) }
        case .policy(let key, let direction):
            return sets(policies[key]?.rules(direction) ?? [], policies[key]?.namespace)
        case .profile(let name, let direction): return sets(profiles[name]?.rules(direction) ?? [], nil)
        case .members, .ports: return []
        }
    }

    /// The sets that rules refer to, found by writing them.
    private func sets(_ rules: [Rule], _ namespace: String?) -> [Artefact] {
        let found = Collector()
        let renderer = RuleRenderer(namespace: namespace, passMark: options.passMark) { set, family in
            found.artefacts.insert(set.artefact(family))
            return ""
        }
        for rule in rules { _ = renderer.lines(rule) }
        return found.artefacts.sorted { $0.name < $1.name }
    }

    private final class Collector { var artefacts: Set<Artefact> = [] }

    private func lines(of artefact: Artefact) -> [String] {
        switch artefact {
        case .endpoint(let tiers, let profiles, let direction): endpointLines(tiers, profiles, direction)
        case .tier(let tier, let direction): tierLines(tier, direction)
        case .policy(let key, let direction): ruleLines(policies[key]?.rules(direction) ?? [], policies[key]?.namespace)
        case .profile(let name, let direction): profileLines(name, direction)
        case .members, .ports: []
        }
    }

    private func endpointLines(_ tiers: [TierReference], _ profiles: [String], _ direction: Direction) -> [String] {
        tiers.flatMap { tier in
            let jump = "jump \(Artefact.tier(tier, direction).name)"
            return tier.passes ? ["meta mark set meta mark & \((~options.passMark).mark)", jump] : [jump]
        } + profiles.map { "jump \(Artefact.profile($0, direction).name)" } + ["counter drop"]
    }

    private func tierLines(_ tier: TierReference, _ direction: Direction) -> [String] {
        let lines = tier.policies.flatMap { policy in
            ["jump \(Artefact.policy(policy.key, direction).name)"]
                + (policy.passes ? ["meta mark & \(options.passMark.mark) != 0 return"] : [])
        }
        return lines + (tier.passesByDefault ? [] : ["counter drop"])
    }

    /// A profile that does not exist lets nothing through; one that Calico builds in lets everything.
    private func profileLines(_ name: String, _ direction: Direction) -> [String] {
        if let profile = profiles[name] { return ruleLines(profile.rules(direction), nil) }
        return name == Profile.builtInName ? ["accept"] : ["counter drop"]
    }

    private func ruleLines(_ rules: [Rule], _ namespace: String?) -> [String] {
        let renderer = RuleRenderer(namespace: namespace, passMark: options.passMark) { setName($0.artefact($1)) }
        return rules.flatMap { renderer.lines($0) }
    }
}

extension RuleRenderer.RuleSet {
    fileprivate func artefact(_ family: IPAddress.Family) -> Artefact {
        switch self {
        case .members(let selector): .members(selector, family)
        case .port(let name, let number): .ports(name: name, protocolNumber: number, family)
        }
    }
}

extension ProfileSpec {
    func rules(_ direction: Direction) -> [Rule] { direction == .ingress ? ingress : egress }
}
