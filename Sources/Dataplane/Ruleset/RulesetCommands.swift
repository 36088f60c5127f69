// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

extension Ruleset {
    /// Commands that make our table hold just this, whatever it held, in one transaction.
    /// - Parameter table: family and name.
    public func loadCommands(into table: String = Ruleset.table) -> String {
        var writer = CommandWriter(table: table)
        // Adding first makes the deletion succeed where there is no table.
        writer.lines = ["add table \(table)", "delete table \(table)", "add table \(table)"]
        writer.write(RulesetChanges(from: Ruleset(), to: self), to: self)
        return writer.text
    }

    /// The least commands that lead from what was before `changes` to this, in one transaction; empty if there are
    /// none.
    public func commands(after changes: RulesetChanges) -> String {
        var writer = CommandWriter(table: Self.table)
        writer.write(changes, to: self)
        return writer.text
    }
}

/// Writes commands in an order in which each finds what it refers to.
private struct CommandWriter {
    /// Elements to a line; longer lines only make errors unreadable.
    private static let elementsPerLine = 256
    let table: String
    var lines: [String] = []

    var text: String { lines.map { $0 + "\n" }.joined() }

    mutating func write(_ changes: RulesetChanges, to ruleset: Ruleset) {
        let chains = changes.chains.filter { ruleset.chains[$0.key] != $0.value }.sorted { $0.key < $1.key }
        let sets = changes.sets.sorted { $0.key < $1.key }
        for (name, old) in sets where old == nil { addSet(name, ruleset.sets[name]) }
        for (name, old) in chains where old == nil { addChain(name, ruleset.chains[name]) }
        for (name, old) in chains where old != nil { lines.append("flush chain \(table) \(name)") }
        for (name, _) in chains { addRules(name, ruleset.chains[name]) }
        for (name, keys) in changes.elements.sorted(by: { $0.key < $1.key }) {
            writeElements(of: name, ruleset.sets[name], keys, isNew: changes.sets[name].map { $0 == nil } ?? false)
        }
        for (name, old) in sets where old == nil {
            addElements(of: name, ruleset.sets[name], Array((ruleset.sets[name]?.elements ?? [:]).keys))
        }
        for (name, old) in chains where old != nil && ruleset.chains[name] == nil {
            lines.append("delete chain \(table) \(name)")
        }
        for (name, old) in sets where old != nil && ruleset.sets[name] == nil {
            lines.append("delete \(old?.isMap == true ? "map" : "set") \(table) \(name)")
        }
    }

    private mutating func addSet(_ name: String, _ set: Ruleset.ElementSet?) {
        guard let set else { return }
        lines.append("add \(set.isMap ? "map" : "set") \(table) \(name) { \(set.declaration) }")
    }

    private mutating func addChain(_ name: String, _ chain: Ruleset.Chain?) {
        guard let chain else { return }
        lines.append("add chain \(table) \(name)" + (chain.hook.map { " { \($0) }" } ?? ""))
    }

    private mutating func addRules(_ name: String, _ chain: Ruleset.Chain?) {
        for rule in chain?.rules ?? [] { lines.append("add rule \(table) \(name) \(rule)") }
    }

    /// A set that is new gets all its elements at once, one that goes takes them along.
    private mutating func writeElements(
        of name: String, _ set: Ruleset.ElementSet?, _ keys: [String: String?], isNew: Bool
    ) {
        guard let set, !isNew else { return }
        let changed = keys.filter { set.elements[$0.key] != $0.value }
        command("delete element", name, changed.filter { $0.value != nil }.keys.sorted())
        addElements(of: name, set, changed.keys.filter { set.elements[$0] != nil })
    }

    private mutating func addElements(of name: String, _ set: Ruleset.ElementSet?, _ keys: [String]) {
        guard let set else { return }
        command("add element", name, keys.sorted().map { set.isMap ? "\($0) : \(set.elements[$0] ?? "")" : $0 })
    }

    private mutating func command(_ verb: String, _ name: String, _ elements: [String]) {
        for start in stride(from: 0, to: elements.count, by: Self.elementsPerLine) {
            let part = elements[start..<min(start + Self.elementsPerLine, elements.count)].joined(separator: ", ")
            lines.append("\(verb) \(table) \(name) { \(part) }")
        }
    }
}
