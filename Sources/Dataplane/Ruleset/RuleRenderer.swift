// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel

/// Writes Calico's rules in nft's language.
struct RuleRenderer {
    /// Of a namespaced policy: its peers are those of the namespace unless a rule says otherwise.
    var namespace: String?
    var passMark: UInt32
    /// Names the set of a selector's addresses, and of a named port's; the caller sees from it what the rules need.
    var setName: (RuleSet, IPAddress.Family) -> String

    /// Sets a rule can refer to.
    enum RuleSet: Hashable, Sendable {
        case members(Selector)
        case port(name: String, protocolNumber: UInt8)
    }

    /// As many lines as it takes; none for a rule that can match nothing here.
    func lines(_ rule: Rule) -> [String] {
        // Both need a component that we do not have; Calico's own dataplane leaves them to it.
        guard rule.http == nil, rule.source.services == nil, rule.destination.services == nil else { return [] }
        // An unknown protocol is no packet's.
        guard rule.protocol == nil || rule.protocol?.number != nil else { return [] }
        return families(of: rule).flatMap { family in
            matches(rule, family).map { ($0 + [verdict(rule.action)]).joined(separator: " ") }
        }
    }

    private func verdict(_ action: Rule.Action) -> String {
        switch action {
        case .allow: "accept"
        case .deny: "counter drop"
        case .log: #"log prefix "calico-packet: " level notice"#
        case .pass: "meta mark set meta mark | \(passMark.mark) return"
        }
    }

    /// `[nil]` where one line does for both families.
    private func families(of rule: Rule) -> [IPAddress.Family?] {
        var families = Set(IPAddress.Family.allCases)
        if let version = rule.ipVersion { families.formIntersection(version == 4 ? [.v4] : [.v6]) }
        if rule.protocol?.number == 1 { families.formIntersection([.v4]) }
        if rule.protocol?.number == 58 { families.formIntersection([.v6]) }
        for side in [rule.source, rule.destination] {
            for nets in [side.nets, side.notNets] where !nets.isEmpty { families.formIntersection(nets.map(\.family)) }
        }
        let isSpecific = families.count < 2 || rule.source.dependsOnFamily || rule.destination.dependsOnFamily
        return isSpecific ? families.sorted { $0.number < $1.number } : [nil]
    }

    /// Alternatives, each a list of criteria that must all hold.
    private func matches(_ rule: Rule, _ family: IPAddress.Family?) -> [[String]] {
        var common: [String] = []
        // A match on an address or on ICMP implies the family; nft leaves out what is said twice.
        if let family { common.append("meta nfproto \(family.name)") }
        if let number = rule.protocol?.number { common.append("meta l4proto \(number)") }
        if let number = rule.notProtocol?.number { common.append("meta l4proto != \(number)") }
        if let family {
            if rule.protocol?.number == family.icmpNumber {
                common += icmp(rule.icmp, family) + notICMP(rule.notICMP, family)
            }
            common += addresses(rule.source, "saddr", family) + addresses(rule.destination, "daddr", family)
        }
        let sourcePorts = ports(rule.source, "saddr", "sport", rule, family)
        let destinationPorts = ports(rule.destination, "daddr", "dport", rule, family)
        return sourcePorts.flatMap { source in destinationPorts.map { common + source + $0 } }
    }

    private func addresses(_ side: EntityRule, _ field: String, _ family: IPAddress.Family) -> [String] {
        let word = "\(family.keyword) \(field)"
        var criteria: [String] = []
        if !side.nets.isEmpty { criteria.append("\(word) \(literal(side.nets, family))") }
        if let peers = side.peers(namespace: namespace) {
            criteria.append("\(word) @\(setName(.members(peers), family))")
        }
        if !side.notNets.isEmpty { criteria.append("\(word) != \(literal(side.notNets, family))") }
        if let peers = side.excludedPeers { criteria.append("\(word) != @\(setName(.members(peers), family))") }
        return criteria
    }

    private func literal(_ nets: [CIDR], _ family: IPAddress.Family) -> String {
        braces(nets.filter { $0.family == family }.withoutOverlaps.map(\.description))
    }

    private func icmp(_ match: ICMPMatch?, _ family: IPAddress.Family) -> [String] {
        guard let type = match?.type else { return [] }
        let word = family == .v4 ? "icmp" : "icmpv6"
        return ["\(word) type \(type)"] + (match?.code.map { ["\(word) code \($0)"] } ?? [])
    }

    private func notICMP(_ match: ICMPMatch?, _ family: IPAddress.Family) -> [String] {
        guard let type = match?.type else { return [] }
        let word = family == .v4 ? "icmp" : "icmpv6"
        guard let code = match?.code else { return ["\(word) type != \(type)"] }
        return ["\(word) type . \(word) code != { \(type) . \(code) }"]
    }

    // MARK: Ports

    /// Alternatives: numbers in one, each name in one of its own. One empty alternative where any port will do.
    private func ports(
        _ side: EntityRule, _ address: String, _ port: String, _ rule: Rule, _ family: IPAddress.Family?
    ) -> [[String]] {
        let named = { (name: String, operation: String) -> [String] in
            guard let family else { return [] }
            // Calico: a named port without a protocol is a TCP port.
            let set = RuleSet.port(name: name, protocolNumber: rule.protocol?.number ?? 6)
            return ["\(family.keyword) \(address) . meta l4proto . th \(port) \(operation)@\(setName(set, family))"]
        }
        var excluded: [String] = []
        let numbers = side.notPorts.numbers
        if !numbers.isEmpty { excluded += carriers(rule) + ["th \(port) != \(braces(numbers))"] }
        excluded += side.notPorts.names.flatMap { named($0, "!= ") }
        var alternatives: [[String]] = []
        if !side.ports.numbers.isEmpty {
            alternatives.append(carriers(rule) + ["th \(port) \(braces(side.ports.numbers))"])
        }
        alternatives += side.ports.names.map { named($0, "") }
        if side.ports.isEmpty { alternatives = [[]] }
        return alternatives.map { $0 + excluded }
    }

    /// Numbers at a port's place mean something in these protocols only.
    private func carriers(_ rule: Rule) -> [String] {
        rule.protocol?.hasPorts == true ? [] : ["meta l4proto { 6, 17, 132 }"]
    }

    private func braces(_ elements: [String]) -> String { "{ \(elements.joined(separator: ", ")) }" }
}

extension IPAddress.Family {
    /// The protocol number of ICMP in this family.
    var icmpNumber: UInt8 { self == .v4 ? 1 : 58 }
    /// `ip` or `ip6`
    var keyword: String { self == .v4 ? "ip" : "ip6" }
}

extension [PortMatch] {
    /// In order and without overlaps.
    var numbers: [String] {
        let ranges = compactMap { port -> ClosedRange<UInt16>? in
            switch port {
            case .number(let number): number...number
            case .range(let range): range
            case .named: nil
            }
        }
        let merged = ranges.sorted { $0.lowerBound < $1.lowerBound }.reduce(into: [ClosedRange<UInt16>]()) {
            kept, range in
            guard let last = kept.last, last.upperBound >= range.lowerBound else { return kept.append(range) }
            kept[kept.count - 1] = last.lowerBound...Swift.max(last.upperBound, range.upperBound)
        }
        return merged.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
    }

    var names: [String] {
        compactMap { if case .named(let name) = $0 { name } else { nil } }
    }
}
