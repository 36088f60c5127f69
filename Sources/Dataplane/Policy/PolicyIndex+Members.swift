// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import LinuxNetwork

// The sets of addresses that selectors stand for.
//
// While a selector finds single addresses only, its set is a hash; with the first wider network it becomes one of
// intervals, under another name, and the chains that use it are written anew.

extension PolicyIndex {
    mutating func setMember(_ key: Key, _ member: Member?) {
        let old = members[key]
        guard old != member else { return }
        members[key] = member
        // Found first and changed then: changing while iterating would copy.
        for set in artefacts.keys.compactMap({ MemberChange(of: $0, from: old, to: member) }) {
            change(set.artefact, from: set.old, to: set.new)
            changePorts(set.artefact, from: set.oldPorts, to: set.newPorts)
        }
    }

    /// What a member's change means for one set.
    private struct MemberChange {
        let artefact: Artefact
        let old: [CIDR]
        let new: [CIDR]
        let oldPorts: [String]
        let newPorts: [String]

        /// `nil` where it means nothing.
        init?(of artefact: Artefact, from old: Member?, to new: Member?) {
            self.artefact = artefact
            self.old = old?.elements(of: artefact) ?? []
            self.new = new?.elements(of: artefact) ?? []
            oldPorts = old?.portElements(of: artefact) ?? []
            newPorts = new?.portElements(of: artefact) ?? []
            guard self.old != self.new || oldPorts != newPorts else { return nil }
        }
    }

    /// The name of a set of members; it tells which kind of set it is.
    func setName(_ artefact: Artefact) -> String {
        guard case .members = artefact else { return artefact.name }
        return setName(artefact, ofIntervals: artefacts[artefact]?.wideNetworks ?? 0 > 0)
    }

    private func setName(_ artefact: Artefact, ofIntervals: Bool) -> String {
        ofIntervals ? "networks-\(artefact.name)" : artefact.name
    }

    // MARK: Filling a new set

    mutating func fillMembers(_ artefact: Artefact) {
        var state = ArtefactState()
        for member in members.values {
            for network in member.elements(of: artefact) { state.count(network, by: 1) }
        }
        artefacts[artefact] = state
        addMemberSet(artefact)
    }

    mutating func fillPorts(_ artefact: Artefact) {
        guard case .ports(let name, _, let family) = artefact else { return }
        let comment = NftText.quoted("port \(name)").map { " comment \($0);" } ?? ""
        rules.addSet(artefact.name, .init("type \(family.name)_addr . inet_proto . inet_service;\(comment)"))
        for member in members.values { changePorts(artefact, from: [], to: member.portElements(of: artefact)) }
    }

    private mutating func addMemberSet(_ artefact: Artefact) {
        guard case .members(let selector, let family) = artefact, let state = artefacts[artefact] else { return }
        let name = setName(artefact)
        let text = selector.text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "'")
        let comment = NftText.quoted(text).map { " comment \($0);" } ?? ""
        let flags = state.wideNetworks > 0 ? " flags interval;" : ""
        rules.addSet(name, .init("type \(family.name)_addr;\(flags)\(comment)"))
        let networks = state.wideNetworks > 0 ? state.networks.keys.withoutOverlaps : Array(state.networks.keys)
        for network in networks { rules.setElement(network.element, in: name, to: "") }
    }

    // MARK: Changing a set

    private mutating func change(_ artefact: Artefact, from old: [CIDR], to new: [CIDR]) {
        guard old != new, var state = artefacts[artefact] else { return }
        let wasWide = state.wideNetworks > 0
        artefacts[artefact] = nil  // or the copy would be of all its networks
        for network in old { state.count(network, by: -1) }
        for network in new { state.count(network, by: 1) }
        let isWide = state.wideNetworks > 0
        artefacts[artefact] = state
        if wasWide == isWide, !isWide {
            for network in Set(old).union(new) {
                rules.setElement(network.element, in: artefact.name, to: state.networks[network] == nil ? nil : "")
            }
        } else if wasWide == isWide {
            updateIntervals(artefact)
        } else {
            addMemberSet(artefact)
            artefacts.keys.filter { artefacts[$0]?.dependencies.contains(artefact) == true }.forEach { render($0) }
            rules.removeSet(setName(artefact, ofIntervals: wasWide))
        }
    }

    private mutating func updateIntervals(_ artefact: Artefact) {
        let name = setName(artefact)
        let wanted = Set((artefacts[artefact]?.networks ?? [:]).keys.withoutOverlaps.map(\.element))
        let present = Set((ruleset.sets[name]?.elements ?? [:]).keys)
        for element in present.symmetricDifference(wanted) {
            rules.setElement(element, in: name, to: wanted.contains(element) ? "" : nil)
        }
    }

    private mutating func changePorts(_ artefact: Artefact, from old: [String], to new: [String]) {
        for (elements, difference) in [(old, -1), (new, 1)] {
            for element in elements { artefacts[artefact]?.ports[element, default: 0] += difference }
        }
        for element in Set(old).union(new) {
            let isThere = artefacts[artefact]?.ports[element] ?? 0 > 0
            if !isThere { artefacts[artefact]?.ports[element] = nil }
            rules.setElement(element, in: artefact.name, to: isThere ? "" : nil)
        }
    }
}

extension ArtefactState {
    fileprivate mutating func count(_ network: CIDR, by difference: Int) {
        let old = networks[network] ?? 0
        let new = old + difference
        networks[network] = new > 0 ? new : nil
        guard !network.isSingleAddress else { return }
        wideNetworks += (new > 0 ? 1 : 0) - (old > 0 ? 1 : 0)
    }
}
