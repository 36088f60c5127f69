// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

extension Rule {
    /// Throws the first rule of Calico's validator that this rule breaks.
    /// - Parameters:
    ///   - kind: of the resource it stands in.
    ///   - name: of the resource it stands in.
    ///   - field: its place there, e.g. `spec.ingress[0]`.
    public func validate(kind: String, name: String, field: String) throws(ValidationError) {
        try RuleContext(kind: kind, name: name).rule(self, field: field)
    }
}

/// Where a rule stands, for the words of its errors.
struct RuleContext {
    let kind: String
    let name: String

    func rules(_ rules: [Rule], field: String) throws(ValidationError) {
        for (index, rule) in rules.enumerated() { try self.rule(rule, field: "\(field)[\(index)]") }
    }

    func rule(_ rule: Rule, field: String) throws(ValidationError) {
        if let version = rule.ipVersion, version != 4, version != 6 {
            throw error("\(field).ipVersion", "\(version) is neither 4 nor 6")
        }
        try protocols(of: rule, field: field)
        try icmp(of: rule, field: field)
        try families(of: rule, field: field)
        for (side, entity) in [("source", rule.source), ("destination", rule.destination)] {
            try self.entity(entity, of: rule, field: "\(field).\(side)")
        }
    }

    func selector(_ text: String?, field: String) throws(ValidationError) {
        guard let text else { return }
        do { _ = try Selector(text) } catch { throw self.error(field, "\(error)") }
    }

    private func protocols(of rule: Rule, field: String) throws(ValidationError) {
        for (member, match) in [("protocol", rule.protocol), ("notProtocol", rule.notProtocol)] {
            if let match, match.number ?? 0 == 0 {
                throw error(
                    "\(field).\(member)", "\(match) is no protocol: a name such as TCP, or a number from 1 to 255")
            }
        }
        for (number, version, word) in [(UInt8(1), 4, "ICMP"), (58, 6, "ICMPv6")] {
            if rule.protocol?.number == number, let given = rule.ipVersion, given != version {
                throw error("\(field).protocol", "\(word) is for ipVersion \(version) only")
            }
        }
    }

    private func icmp(of rule: Rule, field: String) throws(ValidationError) {
        for (member, match) in [("icmp", rule.icmp), ("notICMP", rule.notICMP)] {
            guard let match else { continue }
            guard let number = rule.protocol?.number, number == 1 || number == 58 else {
                throw error("\(field).\(member)", "needs protocol ICMP or ICMPv6")
            }
            guard (0...254).contains(match.type ?? 0), (0...255).contains(match.code ?? 0) else {
                throw error("\(field).\(member)", "a type is 0...254, a code 0...255")
            }
            guard match.code == nil || match.type != nil else {
                throw error("\(field).\(member)", "a code needs a type")
            }
        }
    }

    private func families(of rule: Rule, field: String) throws(ValidationError) {
        let nets = rule.source.nets + rule.source.notNets + rule.destination.nets + rule.destination.notNets
        guard Set(nets.map(\.family)).count <= 1 else { throw error(field, "IPv4 and IPv6 networks in one rule") }
        if let version = rule.ipVersion, let net = nets.first, net.family.number != version {
            throw error(field, "\(net) in a rule for ipVersion \(version)")
        }
    }

    private func entity(_ entity: EntityRule, of rule: Rule, field: String) throws(ValidationError) {
        for (member, text) in [
            ("selector", entity.selector), ("notSelector", entity.notSelector),
            ("namespaceSelector", entity.namespaceSelector),
            ("serviceAccounts.selector", entity.serviceAccounts?.selector),
        ] { try selector(text, field: "\(field).\(member)") }
        if let net = entity.notNets.first(where: { $0.prefixLength == 0 }) {
            throw error("\(field).notNets", "\(net) would exclude everything")
        }
        for (member, ports) in [("ports", entity.ports), ("notPorts", entity.notPorts)] {
            try self.ports(ports, of: rule, field: "\(field).\(member)")
        }
    }

    private func ports(_ ports: [PortMatch], of rule: Rule, field: String) throws(ValidationError) {
        for port in ports {
            let lowest: UInt16
            switch port {
            case .number(let number): lowest = number
            case .range(let range): lowest = range.lowerBound
            case .named: continue
            }
            guard lowest > 0 else { throw error(field, "a port is 1...65535") }
            guard rule.protocol?.hasPorts == true else { throw error(field, "needs protocol TCP, UDP or SCTP") }
        }
    }

    private func error(_ field: String, _ reason: String) -> ValidationError {
        ValidationError(kind: kind, name: name, field: field, reason: reason)
    }
}

extension ProtocolMatch: CustomStringConvertible {
    public var description: String {
        switch self {
        case .name(let name): name
        case .number(let number): "\(number)"
        }
    }
}
