// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Foundation
import LinuxNetwork
import TestSupport
import Testing

@Suite struct `The policy index` {
    @Test(arguments: 0..<12)
    func `ends with the same rules whichever way it got there`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        var index = PolicyIndex(node: Cluster.node)
        var state: [Key: ClusterChange] = [:]
        var previous = index.ruleset
        _ = index.takeChanges()
        for step in 0..<150 {
            let change = randomChange(&random, state)
            state[change.key] = change.value == nil ? nil : change
            index.apply(change)
            let fresh = PolicyIndex(node: Cluster.node, state: state.values.sorted { $0.key < $1.key })
            try #require(index.ruleset == fresh.ruleset, "seed \(seed), step \(step): \(change)")
            let changes = index.takeChanges()
            let complete = RulesetChanges(from: previous, to: index.ruleset)
            try #require(index.ruleset.commands(after: changes) == index.ruleset.commands(after: complete))
            previous = index.ruleset
        }
    }

    @Test(arguments: 100..<103)
    func `leads the kernel from each state to the next`(seed: UInt64) async throws {
        try await inNewNetworkNamespace {
            var random = SplitMix(state: seed)
            var index = PolicyIndex(node: Cluster.node)
            var state: [Key: ClusterChange] = [:]
            let nftables = try Nftables()
            try nftables.run(index.ruleset.loadCommands())
            _ = index.takeChanges()
            for _ in 0..<100 {
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let change = randomChange(&random, state)
                    state[change.key] = change.value == nil ? nil : change
                    index.apply(change)
                }
                let commands = index.ruleset.commands(after: index.takeChanges())
                if !commands.isEmpty { try nftables.run(commands) }
            }
            let grown = try contents(nftables)
            try nftables.run(index.ruleset.loadCommands())
            #expect(try contents(nftables) == grown)
        }
    }

    @Test func `does nothing for a change that changes nothing, or is undone before it is written`() {
        var index = PolicyIndex(node: Cluster.node, state: `The ruleset of`.Situation.twoNetworks)
        _ = index.takeChanges()
        `The ruleset of`.Situation.twoNetworks.forEach { index.apply($0) }
        let extra = ClusterChange(Cluster.endpoint("c1aaaaaaaaaa", ["10.65.0.7"], profiles: ["green"]))
        index.apply(extra)
        index.apply(.init(key: extra.key, value: nil))
        #expect(index.ruleset.commands(after: index.takeChanges()) == "")
    }

    @Test func `one more endpoint is elements only`() {
        var index = PolicyIndex(node: Cluster.node, state: `The ruleset of`.Situation.twoNetworks)
        _ = index.takeChanges()
        index.apply(.init(Cluster.endpoint("c1aaaaaaaaaa", ["10.65.0.7"], profiles: ["blue"])))
        let commands = index.ruleset.commands(after: index.takeChanges())
        #expect(commands.split(separator: "\n").count == 5)
        #expect(commands.split(separator: "\n").allSatisfy { $0.hasPrefix("add element") }, "\(commands)")
    }

    @Test func `one of 10,000 endpoints changes in far less than a millisecond`() {
        var state = (0..<50).map { ClusterChange(Cluster.network("net\($0)")) }
        state += (0..<10_000).map { endpoint($0) }
        var index = PolicyIndex(node: Cluster.node, state: state)
        _ = index.takeChanges()
        let clock = ContinuousClock()
        let count = 200
        let time = clock.measure {
            for number in 10_000..<(10_000 + count) {
                index.apply(endpoint(number - number % 10))
                _ = index.ruleset.commands(after: index.takeChanges())
            }
        }
        print("index: \(time / count) for one change")
        #expect(time / count < .milliseconds(5))  // a debug build; a release build takes a tenth
    }

    /// One in ten on this node.
    private func endpoint(_ number: Int) -> ClusterChange {
        let id = String(number, radix: 16)
        return .init(
            Cluster.endpoint(
                String(repeating: "0", count: 11 - id.count) + id,
                ["10.\(number / 65536).\(number / 256 % 256).\(number % 256)"],
                profiles: ["net\(number % 50)"], node: number % 10 == 0 ? Cluster.node : "other"))
    }

    @Test func `the default tier is the same, stored or not`() {
        let rule = Rule(action: .pass, source: .init(nets: [CIDR("10.9.0.0/16")!]))
        let last = Tier(metadata: .init(name: "last"), spec: .init(order: 1_000_001, defaultAction: .pass))
        var state = `The ruleset of`.Situation.twoNetworks
        state.append(ClusterChange(Cluster.policy("p", ingress: [rule])))
        state.append(ClusterChange(Cluster.policy("last.p", tier: "last", ingress: [rule])))
        state.append(ClusterChange(last))
        let imagined = PolicyIndex(node: Cluster.node, state: state).ruleset
        var stored = Tier(metadata: .init(name: "default"), spec: .builtIn)
        #expect(PolicyIndex(node: Cluster.node, state: state + [ClusterChange(stored)]).ruleset == imagined)
        stored.spec.order = 1_000_002
        state.append(ClusterChange(stored))
        #expect(PolicyIndex(node: Cluster.node, state: state).ruleset != imagined)
    }

    @Test func `a policy under its names of two releases is one, the plain one`() {
        let rules = ["10.9.0.0/16", "10.8.0.0/16", "10.7.0.0/16"].map {
            Rule(action: .allow, source: .init(nets: [CIDR($0)!]))
        }
        let old = ClusterChange(Cluster.policy("default.allow", ingress: [rules[0]]))
        let plain = ClusterChange(Cluster.policy("allow", tier: "default", ingress: [rules[1]]))
        // Of the same name, and others.
        let namespaced = ClusterChange(
            NetworkPolicy(metadata: .init(name: "allow", namespace: "libnetwork"), spec: .init(ingress: [rules[2]])))
        let inTier = ClusterChange(Cluster.policy("one.allow", tier: "one", ingress: [rules[2]]))
        let ruleset = { (changes: [ClusterChange]) in
            PolicyIndex(node: Cluster.node, state: `The ruleset of`.Situation.twoNetworks + changes).ruleset
        }
        let expected = ruleset([plain, namespaced, inTier])
        #expect(ruleset([plain, namespaced, inTier, old]) == expected)
        #expect(ruleset([old, plain, namespaced, inTier]) == expected)
        #expect(ruleset([plain, namespaced]) != expected && ruleset([plain, inTier]) != expected)
        var index = PolicyIndex(node: Cluster.node, state: `The ruleset of`.Situation.twoNetworks + [old, plain])
        index.apply(.init(key: plain.key, value: nil))
        #expect(index.ruleset == ruleset([old]) && ruleset([old]) != ruleset([plain]))
    }

    @Test func `siblings give an interface more addresses to send from`() throws {
        var index = PolicyIndex(node: Cluster.node, state: `The ruleset of`.Situation.twoNetworks)
        let name = try #require(InterfaceName("calib1aaaaaaaaa"))
        index.setSiblings([InterfaceName("calir1aaaaaaaaa")!: [IPAddress("10.65.0.4")!]], of: name)
        #expect(index.ruleset.sets["own4"]?.elements.keys.filter { $0.contains(name.text) }.count == 2)
        index.setSiblings([:], of: name)
        #expect(index.ruleset.sets["own4"]?.elements.keys.filter { $0.contains(name.text) }.count == 1)
    }

    @Test func `another host's container on two networks is a member of both`() throws {
        var index = PolicyIndex(node: Cluster.node, state: `The ruleset of`.Situation.twoNetworks)
        let before = index.ruleset.sets.filter { $0.value.elements.keys.contains("10.65.77.77") }
        let remote = Cluster.endpoint("c1aaaaaaaaaa", ["10.65.77.77"], profiles: ["blue", "red"], node: "host-2")
        index.apply(ClusterChange(remote))
        let sets = index.ruleset.sets.filter { $0.value.elements.keys.contains("10.65.77.77") }
        #expect(before.isEmpty)
        #expect(
            sets.values.map(\.declaration).sorted().map { $0.contains("has(blue)") || $0.contains("has(red)") } == [
                true, true,
            ])
    }

    @Test func `reads the values it needs and leaves the others`() throws {
        let endpoint = Cluster.endpoint("b1aaaaaaaaaa", ["10.65.0.2"], profiles: ["blue"])
        let json = try JSONEncoder().encode(endpoint)
        #expect(try ClusterChange(key: endpoint.key, json: json) == ClusterChange(endpoint))
        #expect(try ClusterChange(key: endpoint.key, json: nil)?.value == nil)
        #expect(try ClusterChange(key: .block(CIDR("10.0.0.0/26")!), json: json) == nil)
        let broken = Profile(
            metadata: .init(name: "p"), spec: .init(ingress: [Rule(action: .allow, source: .init(selector: "a = b"))]))
        #expect(throws: ValidationError.self) { try ClusterChange(key: broken.key, json: JSONEncoder().encode(broken)) }
    }
}

/// Our table as nft lists it, without handles and in an order of its own.
private func contents(_ nftables: Nftables) throws -> Set<String> {
    let listing = try JSONDecoder().decode(
        JSONValue.self, from: Data(nftables.query("list table \(Ruleset.table)").utf8))
    return Set((listing["nftables"]?.array ?? []).map { normal($0) })
}

private func normal(_ value: JSONValue) -> String {
    switch value {
    case .object(let members):
        let kept = members.filter { !["handle", "index", "packets", "bytes"].contains($0.key) }
        return kept.sorted { $0.key < $1.key }.map {
            "\($0.key)=\($0.key == "elem" ? sorted($0.value) : normal($0.value))"
        }
        .joined(separator: ",")
    case .array(let values): return "[" + values.map(normal).joined(separator: ",") + "]"
    default: return "\(value)"
    }
}

private func sorted(_ value: JSONValue) -> String { (value.array ?? []).map(normal).sorted().joined(separator: ",") }

/// Values that meet each other often.
private func randomChange(_ random: inout SplitMix, _ state: [Key: ClusterChange]) -> ClusterChange {
    if Int.random(in: 0..<4, using: &random) == 0, let key = state.keys.sorted().randomElement(using: &random) {
        return ClusterChange(key: key, value: nil)
    }
    let names = ["blue", "red", "green"]
    let name = names.randomElement(using: &random)!
    let selector = ["has(blue)", "has(red)", "role == 'a'", "all()", "!has(green)"].randomElement(using: &random)!
    let number = Int.random(in: 0..<12, using: &random)
    let rule = Rule(
        action: Rule.Action.allCases.randomElement(using: &random)!,
        protocol: .tcp, source: Bool.random(using: &random) ? .init(selector: selector) : .init(notSelector: selector),
        destination: .init(ports: Bool.random(using: &random) ? [.named("sql")] : [.number(UInt16(number + 1))]))
    switch Int.random(in: 0..<10, using: &random) {
    case 0:
        var profile = Cluster.network(name)
        if Bool.random(using: &random) { profile.spec.ingress.append(rule) }
        if Bool.random(using: &random) { profile.spec.labelsToApply = ["role": "a"] }
        return .init(profile)
    case 1: return .init(Cluster.pool("p\(number)", "10.65.\(number % 4).0/\(22 + number % 3)", nat: number % 2 == 0))
    case 2:
        let tier = ["default", "one", "two"].randomElement(using: &random)!
        return .init(
            Cluster.policy(
                "\(tier).\(number % 4)", tier: tier, order: Double(number % 3), selector: selector, ingress: [rule]))
    case 3:
        return .init(
            Tier(metadata: .init(name: "one"), spec: .init(order: 1, defaultAction: number % 2 == 0 ? .pass : .deny)))
    case 4:
        return .init(
            Cluster.networkSet(
                "s\(number % 2)", ["10.65.0.0/\(24 + number % 3)", "10.65.0.\(number)"], labels: [name: ""]))
    case 5:
        return .init(
            NetworkPolicy(
                metadata: .init(name: "default.p\(number % 2)", namespace: "libnetwork"),
                spec: .init(selector: selector, egress: [rule])))
    default:
        let published = EndpointPort(protocol: .tcp, port: 80, hostPort: UInt16(8080 + number % 3), hostIP: "")
        let ports = [EndpointPort(name: "sql", protocol: .tcp, port: 5432), published]
        return .init(
            Cluster.endpoint(
                "e\(number)aaaaaaaaaa", ["10.65.0.\(Int.random(in: 0..<12, using: &random))", "fd00:65::\(number)"],
                profiles: names.filter { _ in Bool.random(using: &random) }, node: number < 8 ? Cluster.node : "other",
                labels: Bool.random(using: &random) ? ["role": "a"] : [:], ports: number % 3 == 0 ? ports : [],
                isInternal: Bool.random(using: &random)))
    }
}

/// Numbers that a seed repeats (Steele, Lea and Flood 2014).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = (state ^ state >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}
