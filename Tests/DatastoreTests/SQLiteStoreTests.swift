// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Foundation
import Testing

@testable import Datastore

/// A folder of its own for one test's database, removed with it.
final class TemporaryFolder: Sendable {
    let path: String
    init() throws {
        path = NSTemporaryDirectory() + "datastore-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    var database: String { path + "/store.sqlite" }
}

@Suite struct `The SQLite store` {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open() throws -> SQLiteStore { try SQLiteStore(path: folder.database) }

    private func put(_ number: Int, bytes: Int = 10) -> Transaction {
        let key = Key("/t/\(number)")
        return Transaction(if: [.absent(key)], writes: [.put(key, bytes: Data(count: bytes))])
    }

    @Test(arguments: StoreContract.checks.indices) func `keeps the contract`(index: Int) async throws {
        let (name, check) = StoreContract.checks[index]
        let path = folder.database
        do { try await check(StoreContract { try SQLiteStore(path: path) }) } catch {
            Issue.record("\(name): \(error)")
        }
    }

    @Test func `is readable by its owner only, from the first moment`() async throws {
        let store = try open()
        _ = try await store.commit(put(1))
        for suffix in ["", "-wal", "-shm"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: folder.database + suffix)
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(suffix)")
        }
    }

    @Test func `is open with a log and every write synchronised, or not at all`() throws {
        let connection = try SQLiteStore.open(folder.database)
        #expect(try connection.pragma("journal_mode").text == "wal")
        #expect(try connection.pragma("synchronous").integer == 2)
        for mode in ["OFF", "NORMAL"] {
            try connection.run("PRAGMA synchronous = \(mode)")
            #expect { try SQLiteStore.checkDurability(of: connection, path: "F") } throws: {
                $0 as? StoreError == .unavailable("F: SQLite did not accept synchronous=FULL")
            }
        }
    }

    @Test func `lets concurrent commits share writes to the disk`() async throws {
        let store = try open()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<500 { group.addTask { _ = try await store.commit(put(number)) } }
            try await group.waitForAll()
        }
        let counters = await store.counters
        #expect(counters.transactions == 500)
        #expect(counters.diskCommits < 250)
        #expect(try await store.list(under: Key("/t/")).entries.count == 500)
    }

    @Test func `answers each of a shared write's transactions by itself`() async throws {
        let store = try open()
        let outcomes = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<100 { group.addTask { try await store.commit(put(number % 50)).revision != nil } }
            return try await group.reduce(into: [Bool]()) { $0.append($1) }
        }
        #expect(outcomes.count { $0 } == 50)
    }

    @Test func `remembers everything when it is opened again`() async throws {
        let revision = try await open().commit(put(1)).revision
        let again = try open()
        #expect(try await again.get(Key("/t/1"))?.revision == revision)
        #expect(try #require(try await again.commit(put(2)).revision) > #require(revision))
    }

    @Test func `refuses a file of a newer program`() async throws {
        _ = try open()
        try sqlite("PRAGMA user_version = 2")
        #expect { try open() } throws: { "\($0)".contains("newer") }
    }

    @Test func `refuses a file that is no database, and a missing folder`() throws {
        try Data(repeating: 65, count: 8192).write(to: URL(filePath: folder.database))
        #expect(throws: StoreError.self) { try open() }
        #expect { try SQLiteStore(path: folder.path + "/none/x") } throws: { "\($0)".contains("/none/x") }
    }

    @Test func `can be opened by several at once`() async throws {
        let path = folder.database
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { _ = try SQLiteStore(path: path) } }
            try await group.waitForAll()
        }
    }

    @Test func `tells a watcher that is too far behind to list again`() async throws {
        let store = try open()
        let start = try await store.list(under: Key("/")).revision
        for batch in 0..<12 {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<1_000 {
                    group.addTask { _ = try await store.commit(put(batch * 1_000 + number)) }
                }
                try await group.waitForAll()
            }
        }
        await #expect(throws: StoreError.compacted) {
            for try await _ in store.changes(under: Key("/"), after: start) { break }
        }
    }

    @Test func `ends its watches when it goes`() async throws {
        var store: SQLiteStore? = try open()
        let stream = store!.changes(under: Key("/"), after: Revision(0))
        _ = try await store!.commit(put(1))
        store = nil
        var count = 0
        for try await changes in stream { count += changes.count }
        #expect(count <= 1)
    }

    private func sqlite(_ statement: String) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [
            "python3", "-c", "import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])",
            folder.database, statement,
        ]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }
}
