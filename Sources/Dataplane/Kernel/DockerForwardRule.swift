// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import BlockingExecutor
import CalicoModel
import FoundationEssentials
import LinuxNetwork
import Logging

/// Our one rule outside our own table: iptables' FORWARD chain lets pass what our chains have marked.
///
/// Docker gives FORWARD the policy DROP, and no accept elsewhere undoes that. The rule stands last, so that what users
/// and Docker say comes first, but before a rule that ends the chain for every packet. It opens nothing by itself:
/// without our table no packet carries the mark.
actor DockerForwardRule {
    private let executor = BlockingExecutor(label: "forward-rule")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    static let comment = "calico-libnetwork"
    private let mark: UInt32
    private let namespace: NetworkNamespace
    private let logger: Logger
    private var nftables: Nftables?

    init(mark: UInt32, namespace: NetworkNamespace, logger: Logger) {
        self.mark = mark
        self.namespace = namespace
        self.logger = logger
    }

    /// Puts the rule where it is missing or stands in the wrong place, in each variant of iptables that is in use.
    func ensure() {
        for family in IPAddress.Family.allCases {
            attempt("nftables", family) { try ensureNative(family) }
            attempt("legacy", family) { try ensureLegacy(family) }
        }
    }

    /// Takes the rule away: where Felix is the master, its own let containers' packets pass.
    func remove() {
        for family in IPAddress.Family.allCases {
            attempt("nftables", family, Self.removed) { try ensureNative(family, isWanted: false) }
            attempt("legacy", family, Self.removed) { try ensureLegacy(family, isWanted: false) }
        }
    }

    private static let ensured = "the FORWARD chain of iptables lets our packets pass again"
    private static let removed = "our rule in the FORWARD chain of iptables is gone"

    private func attempt(
        _ variant: String, _ family: IPAddress.Family, _ outcome: String = ensured, _ body: () throws -> Bool
    ) {
        do {
            guard try namespace.run(body) else { return }
            logger.notice("\(outcome)", metadata: ["variant": "\(variant)", "family": "\(family.name)"])
        } catch {
            logger.error(
                "the FORWARD chain of iptables may stop containers' packets",
                metadata: ["variant": "\(variant)", "family": "\(family.name)", "error": "\(error)"])
        }
    }

    // MARK: iptables over nftables

    /// - Returns: whether something was changed.
    private func ensureNative(_ family: IPAddress.Family, isWanted: Bool = true) throws -> Bool {
        let nftables = try nftables ?? Nftables()
        self.nftables = nftables
        let chain = "\(family.keyword) filter FORWARD"
        let listing: String
        do {
            listing = try nftables.query("list chain \(chain)", elements: false)
        } catch let error as NftablesError where error.isAbsent {
            return false  // no iptables here; FORWARD is not ours to make
        }
        let forward = try ForwardChain(listing)
        let commands =
            isWanted ? forward.commands(chain: chain, mark: mark) : forward.removal(chain: chain, mark: mark)
        guard !commands.isEmpty else { return false }
        try nftables.run(commands)
        return true
    }

    // MARK: iptables of old

    /// - Returns: whether something was changed.
    private func ensureLegacy(_ family: IPAddress.Family, isWanted: Bool = true) throws -> Bool {
        guard let program = LegacyTables.program(family) else { return false }
        let forward = LegacyForwardChain(try program.output(of: LegacyTables.waiting + ["-S", "FORWARD"]))
        let commands = isWanted ? forward.commands(mark: mark) : forward.removal(mark: mark)
        // Each is tried: what another program has removed meanwhile must not keep our rule from its place.
        let results = commands.map { command in
            Result { _ = try program.output(of: LegacyTables.waiting + command) }
        }
        for result in results { try result.get() }
        return !commands.isEmpty
    }
}

/// iptables' FORWARD chain as nft lists it.
struct ForwardChain {
    /// In order.
    private let rules: [(handle: Int64, json: JSONValue)]
    private let isHooked: Bool

    /// - Parameter listing: JSON of `list chain`.
    init(_ listing: String) throws {
        let objects = try JSONDecoder().decode(JSONValue.self, from: Data(listing.utf8))["nftables"]?.array ?? []
        isHooked = objects.contains { $0["chain"]?["hook"] != nil }
        rules = objects.compactMap { object in
            guard let rule = object["rule"], case .integer(let handle)? = rule["handle"] else { return nil }
            return (handle, rule)
        }
    }

    /// What puts our rule in its place; empty where it is there. A chain without hook sees no packets and gets no rule.
    func commands(chain: String, mark: UInt32) -> String {
        guard isHooked else { return "" }
        let ours = rules.filter { isOurs($0.json, mark) }
        let others = rules.filter { !isOurs($0.json, mark) }
        let end = others.first { isEndOfChain($0.json) }
        let wanted = (others.firstIndex { $0.handle == end?.handle } ?? others.count)
        if ours.count == 1, rules.indices.contains(wanted), rules[wanted].handle == ours[0].handle { return "" }
        let rule =
            "meta mark & \(mark.mark) == \(mark.mark) counter accept comment \"\(DockerForwardRule.comment)\""
        let addition =
            end.map { "insert rule \(chain) position \($0.handle) \(rule)\n" } ?? "add rule \(chain) \(rule)\n"
        return addition + removal(chain: chain, mark: mark)
    }

    /// What takes our rule away; empty where it is not there.
    func removal(chain: String, mark: UInt32) -> String {
        rules.filter { isOurs($0.json, mark) }.map { "delete rule \(chain) handle \($0.handle)\n" }.joined()
    }

    /// By its effect, since others' tools drop comments: accepts what has our mark, and asks nothing else.
    private func isOurs(_ rule: JSONValue, _ mark: UInt32) -> Bool {
        let bit = JSONValue.integer(Int64(mark))
        let match: JSONValue = [
            "match": ["op": "==", "left": ["&": [["meta": ["key": "mark"]], bit]], "right": bit]
        ]
        let expressions = conditions(of: rule)
        return expressions == [match]
            && (rule["expr"]?.array ?? []).contains { $0.object?.keys.contains("accept") == true }
    }

    /// Drops or rejects every packet that comes this far.
    private func isEndOfChain(_ rule: JSONValue) -> Bool {
        guard conditions(of: rule).isEmpty else { return false }
        return (rule["expr"]?.array ?? []).contains { expression in
            let target = expression["xt"]?["type"] == "target" ? expression["xt"]?["name"]?.string : nil
            return ["drop", "reject"].contains { expression.object?.keys.contains($0) == true } || target == "REJECT"
        }
    }

    private func conditions(of rule: JSONValue) -> [JSONValue] {
        (rule["expr"]?.array ?? []).filter { expression in
            if let extra = expression["xt"] { return extra["type"] == "match" && extra["name"] != "comment" }
            let passive = ["counter", "accept", "drop", "reject", "jump", "goto", "return", "queue", "log"]
            return !passive.contains { expression.object?.keys.contains($0) == true }
        }
    }
}

/// The FORWARD chain as `iptables-legacy -S` lists it.
struct LegacyForwardChain {
    private let rules: [[String]]

    init(_ listing: String) {
        rules = listing.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            .filter { $0.starts(with: ["-A", "FORWARD"]) }.map { Array($0.dropFirst(2)) }
    }

    /// Arguments of each call that puts our rule in its place.
    func commands(mark: UInt32) -> [[String]] {
        let rule = Self.rule(mark)
        let ours = rules.indices.filter { rules[$0] == rule }
        let others = rules.filter { $0 != rule }
        let wanted = others.firstIndex(where: isEndOfChain) ?? others.count
        if ours == [wanted] { return [] }
        let addition =
            wanted == others.count ? ["-A", "FORWARD"] + rule : ["-I", "FORWARD", "\(wanted + 1)"] + rule
        return removal(mark: mark) + [addition]
    }

    /// Arguments of each call that takes our rule away. Not by its number: others change the chain, too.
    func removal(mark: UInt32) -> [[String]] {
        rules.filter { $0 == Self.rule(mark) }.map { ["-D", "FORWARD"] + $0 }
    }

    private static func rule(_ mark: UInt32) -> [String] {
        let bits = "0x" + String(mark, radix: 16)
        return [
            "-m", "mark", "--mark", "\(bits)/\(bits)", "-m", "comment", "--comment", DockerForwardRule.comment, "-j",
            "ACCEPT",
        ]
    }

    /// Drops or rejects every packet that comes this far; a comment is no condition.
    private func isEndOfChain(_ rule: [String]) -> Bool {
        guard let target = rule.firstIndex(of: "-j"), rule.indices.contains(target + 1) else { return false }
        let conditions = rule[..<target]
        return ["DROP", "REJECT"].contains(rule[target + 1])
            && (conditions.isEmpty || conditions.starts(with: ["-m", "comment", "--comment"]))
    }
}
