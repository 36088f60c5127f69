// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// The content of our nftables table, as a value: what should be there.
public struct Ruleset: Hashable, Sendable {
    /// `inet`: one table for both families.
    public static let table = "inet calico-libnetwork"

    public struct Chain: Hashable, Sendable {
        /// For base chains, e.g. `type filter hook forward priority -12; policy accept;`
        public var hook: String?
        public var rules: [String]

        public init(hook: String? = nil, rules: [String] = []) {
            self.hook = hook
            self.rules = rules
        }
    }

    /// A set or a map.
    public struct ElementSet: Hashable, Sendable {
        public let isMap: Bool
        /// Type, flags and comment, e.g. `type ipv4_addr; flags interval;`
        public let declaration: String
        /// What a map's key leads to; empty in sets.
        public var elements: [String: String] = [:]

        public init(isMap: Bool = false, _ declaration: String, elements: [String: String] = [:]) {
            self.isMap = isMap
            self.declaration = declaration
            self.elements = elements
        }
    }

    public internal(set) var sets: [String: ElementSet] = [:]
    public internal(set) var chains: [String: Chain] = [:]

    public init(sets: [String: ElementSet] = [:], chains: [String: Chain] = [:]) {
        self.sets = sets
        self.chains = chains
    }
}

extension Ruleset {
    /// Only the chains and sets of these names.
    func restricted(to names: Set<String>) -> Ruleset {
        Ruleset(sets: sets.filter { names.contains($0.key) }, chains: chains.filter { names.contains($0.key) })
    }
}

/// What was different before: for all that was touched, its earlier state.
///
/// What has come back to that state in the meantime costs nothing when the commands are written, so changes may gather.
public struct RulesetChanges: Sendable {
    /// `nil`: there was no such chain.
    var chains: [String: Ruleset.Chain?] = [:]
    /// Sets that came or went, and whether they were there.
    var sets: [String: Ruleset.ElementSet?] = [:]
    /// By set and key; `nil`: there was no such element.
    var elements: [String: [String: String?]] = [:]

    public var isEmpty: Bool { chains.isEmpty && sets.isEmpty && elements.isEmpty }

    init() {}

    /// Only those of chains and sets of these names.
    func restricted(to names: Set<String>) -> RulesetChanges {
        var changes = self
        changes.chains = chains.filter { names.contains($0.key) }
        changes.sets = sets.filter { names.contains($0.key) }
        changes.elements = elements.filter { names.contains($0.key) }
        return changes
    }

    /// Everything in which `new` differs from `old`.
    public init(from old: Ruleset, to new: Ruleset) {
        for name in Set(old.chains.keys).union(new.chains.keys) where old.chains[name] != new.chains[name] {
            chains.updateValue(old.chains[name], forKey: name)
        }
        for name in Set(old.sets.keys).union(new.sets.keys) where old.sets[name] != new.sets[name] {
            if old.sets[name]?.declaration != new.sets[name]?.declaration {
                sets.updateValue(old.sets[name], forKey: name)
            }
            let (before, after) = (old.sets[name]?.elements ?? [:], new.sets[name]?.elements ?? [:])
            for key in Set(before.keys).union(after.keys) where before[key] != after[key] {
                elements[name, default: [:]].updateValue(before[key], forKey: key)
            }
        }
    }
}

/// A ruleset that remembers what was done to it.
struct TrackedRuleset: Sendable {
    private(set) var current: Ruleset
    private var changes = RulesetChanges()

    init(_ ruleset: Ruleset) { current = ruleset }

    mutating func takeChanges() -> RulesetChanges {
        defer { changes = RulesetChanges() }
        return changes
    }

    /// - Parameter chain: `nil` removes it.
    mutating func setChain(_ name: String, _ chain: Ruleset.Chain?) {
        let old = current.chains[name]
        guard old != chain else { return }
        if changes.chains[name] == nil { changes.chains.updateValue(old, forKey: name) }
        current.chains[name] = chain
    }

    /// A set's name must imply its declaration.
    mutating func addSet(_ name: String, _ set: Ruleset.ElementSet) {
        guard current.sets[name] == nil else { return }
        if changes.sets[name] == nil { changes.sets.updateValue(nil, forKey: name) }
        current.sets[name] = set
    }

    mutating func removeSet(_ name: String) {
        guard let old = current.sets[name] else { return }
        for key in old.elements.keys { setElement(key, in: name, to: nil) }
        if changes.sets[name] == nil { changes.sets.updateValue(old, forKey: name) }
        current.sets[name] = nil
    }

    /// - Parameter value: empty for sets; `nil` removes the element.
    mutating func setElement(_ key: String, in set: String, to value: String?) {
        let old = current.sets[set]?.elements[key]
        guard old != value else { return }
        if changes.elements[set]?[key] == nil { changes.elements[set, default: [:]].updateValue(old, forKey: key) }
        current.sets[set]?.elements[key] = value
    }
}
