// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import FoundationEssentials
import Glibc
import LinuxNetwork

/// Loads our table in place of one that is in use, without a packet falling between.
///
/// One transaction is not enough. A packet that is halfway through the old chains when the new generation begins looks
/// up the old sets in it, finds them empty and is dropped (seen: one or two packets of 3,000 during 20 loads, in a
/// third of the tries). So the rules are loaded twice: a stand-in does the work while the old table, with nobody left
/// in it, makes way for the new one.
struct TableReplacement {
    static let standIn = "inet calico-libnetwork-standin"
    /// Microseconds in which packets that have entered a chain have left it.
    private static let passage: UInt32 = 5000
    let nftables: Nftables

    /// - Throws: `NftablesError`; if the rules are at fault, what was there before still is.
    func load(_ ruleset: Ruleset) throws {
        guard try !hooks(of: Ruleset.table).isEmpty else {
            // A process that was killed halfway may have left the stand-in.
            let removal = "add table \(Self.standIn)\ndelete table \(Self.standIn)\n"
            return try nftables.run(ruleset.loadCommands() + removal)
        }
        try nftables.run(ruleset.loadCommands(into: Self.standIn))
        try empty(Ruleset.table)
        try nftables.run(ruleset.loadCommands())
        try empty(Self.standIn)
        try nftables.run("delete table \(Self.standIn)\n")
    }

    /// Lets packets pass the table by, and waits for those inside.
    private func empty(_ table: String) throws {
        try nftables.run(hooks(of: table).map { "flush chain \(table) \($0)\n" }.joined())
        usleep(Self.passage)
    }

    /// Names of the table's base chains.
    private func hooks(of table: String) throws -> [String] {
        let listing = Data(try nftables.query("list chains inet", elements: false).utf8)
        let objects = try JSONDecoder().decode(JSONValue.self, from: listing)["nftables"]?.array ?? []
        return objects.compactMap { object in
            guard let chain = object["chain"], let name = chain["table"]?.string, "inet \(name)" == table,
                chain["hook"] != nil
            else { return nil }
            return chain["name"]?.string
        }
    }
}
