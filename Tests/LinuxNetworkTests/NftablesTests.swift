// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import LinuxNetwork
import TestSupport
import Testing

@Suite struct `nftables` {
    private static let table = """
        table inet demo {
            set members { type ipv4_addr; }
            chain pre { type filter hook prerouting priority -310; policy accept; ip saddr @members counter drop; }
        }
        add element inet demo members { 10.65.0.1, 10.65.0.2 }
        """

    @Test func `commands run, and queries answer in JSON`() async throws {
        let json = try await inNewNetworkNamespace {
            let nftables = try Nftables()
            try nftables.run(Self.table)
            return try nftables.query("list table inet demo")
        }
        let entries = try nftablesEntries(json)
        let chain = try #require(entries.compactMap { $0["chain"] as? [String: Any] }.first)
        #expect(chain["prio"] as? Int == -310)
        #expect(chain["handle"] is Int)
        let set = try #require(entries.compactMap { $0["set"] as? [String: Any] }.first)
        #expect((set["elem"] as? [String])?.sorted() == ["10.65.0.1", "10.65.0.2"])
    }

    @Test func `a query can leave out the elements`() async throws {
        let json = try await inNewNetworkNamespace {
            let nftables = try Nftables()
            try nftables.run(Self.table)
            return try nftables.query("list table inet demo", elements: false)
        }
        let set = try #require(try nftablesEntries(json).compactMap { $0["set"] as? [String: Any] }.first)
        #expect(set["elem"] == nil)
    }

    @Test func `one failing command undoes the others, and the error names its line`() async throws {
        let (error, listing) = try await inNewNetworkNamespace {
            let nftables = try Nftables()
            try nftables.run(Self.table)
            let commands = """
                add set inet demo more { type ipv4_addr; }
                add element inet demo members { 10.65.0.3 }
                delete element inet demo members { 10.9.9.9 }
                """
            let error = #expect(throws: NftablesError.self) { try nftables.run(commands) }
            return (try #require(error), try nftables.query("list table inet demo"))
        }
        #expect(error.isAbsent)
        #expect(error.messages.map(\.line) == [3])
        #expect(
            error.description == "nftables: Could not process rule: No such file or directory, at line 3: "
                + "delete element inet demo members { 10.9.9.9 }")
        let sets = try nftablesEntries(listing).compactMap { $0["set"] as? [String: Any] }
        #expect(sets.count == 1)
        #expect((sets[0]["elem"] as? [String])?.count == 2)
    }

    @Test func `a syntax error names its line, and the next command is not affected`() async throws {
        let error = try await inNewNetworkNamespace {
            let nftables = try Nftables()
            let error = #expect(throws: NftablesError.self) {
                try nftables.run("add table inet demo\nadd chian inet demo pre\n")
            }
            try nftables.run(Self.table)
            #expect(try nftables.query("list tables").contains("demo"))
            return try #require(error)
        }
        #expect(error.messages.first?.line == 2)
        #expect(error.messages.first?.command == "add chian inet demo pre")
        #expect(error.messages.first?.text.hasPrefix("syntax error") == true)
    }

    @Test func `what does not exist is told apart`() async throws {
        try await inNewNetworkNamespace {
            let nftables = try Nftables()
            for command in ["list table inet nowhere", "list chain ip filter FORWARD"] {
                let error = #expect(throws: NftablesError.self) { try nftables.query(command) }
                #expect(error?.isAbsent == true)
            }
            #expect(try nftables.query("list ruleset").contains("metainfo"))
        }
    }

    @Test func `checking changes nothing`() async throws {
        let listing = try await inNewNetworkNamespace {
            let nftables = try Nftables()
            try nftables.check(Self.table)
            #expect(throws: NftablesError.self) { try nftables.check("add chain inet nowhere c") }
            return try nftables.query("list tables")
        }
        #expect(!listing.contains("demo"))
    }

    @Test func `a context sees what others changed since its last command`() async throws {
        try await inNewNetworkNamespace {
            let (ours, theirs) = (try Nftables(), try Nftables())
            try ours.run(Self.table)
            try theirs.run("delete table inet demo")
            #expect(throws: NftablesError.self) { try ours.query("list table inet demo") }
            try ours.run(Self.table)
            #expect(try theirs.query("list table inet demo").contains("members"))
        }
    }

    private func nftablesEntries(_ json: String) throws -> [[String: Any]] {
        let document = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
        return try #require(document?["nftables"] as? [[String: Any]])
    }
}
