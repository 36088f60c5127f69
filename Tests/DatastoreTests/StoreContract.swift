// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Testing

/// What every conformer of `KeyValueStore` promises. `open` makes a further connection to one and the same store.
struct StoreContract: Sendable {
    let open: @Sendable () async throws -> any KeyValueStore

    static let checks: [(name: String, run: @Sendable (StoreContract) async throws -> Void)] = [
        ("an absent key reads as nothing", { try await $0.absentKeyReadsAsNothing() }),
        ("what was put is read back, bytes for bytes", { try await $0.valuesComeBack() }),
        ("absent holds only where there is no entry", { try await $0.absentHolds() }),
        ("unchanged holds only since the last change", { try await $0.unchangedHolds() }),
        ("a transaction writes all or nothing", { try await $0.isAtomic() }),
        ("a conflict reports every failed key with its entry", { try await $0.conflictReportsAll() }),
        ("one transaction has one revision, and revisions grow", { try await $0.revisionsGrow() }),
        ("a list is what begins with the prefix, in byte order", { try await $0.listsPrefixes() }),
        ("of many who create one key one wins", { try await $0.oneCreatorWins() }),
        ("a watch tells every later change, deletions too", { try await $0.watchTellsChanges() }),
        ("a watch from the past tells what was missed", { try await $0.watchCatchesUp() }),
        ("a watch hears of another connection's commits", { try await $0.watchHearsOthers() }),
    ]

    private let a = Key("/t/a")
    private let b = Key("/t/b")

    private func put(_ key: Key, _ text: String, if preconditions: [Transaction.Precondition] = []) -> Transaction {
        Transaction(if: preconditions, writes: [.put(key, bytes: Data(text.utf8))])
    }

    private func absentKeyReadsAsNothing() async throws {
        let store = try await open()
        #expect(try await store.get(a) == nil)
        #expect(try await store.list(under: Key("/t/")).entries.isEmpty)
    }

    private func valuesComeBack() async throws {
        let store = try await open()
        for value in [Data(), Data([0, 255, 10, 0]), Data(repeating: 7, count: 100_000)] {
            let revision = try await store.commit(Transaction(writes: [.put(a, bytes: value)])).revision
            #expect(try await store.get(a) == Entry(key: a, value: value, revision: try #require(revision)))
        }
    }

    private func absentHolds() async throws {
        let store = try await open()
        let first = try await store.commit(put(a, "1", if: [.absent(a)])).revision
        #expect(first != nil)
        let failed = try await store.commit(put(a, "2", if: [.absent(a)])).failed
        #expect(failed?[a]??.value == Data("1".utf8))
        #expect(failed?[a]??.revision == first)
        _ = try await store.commit(Transaction(writes: [.delete(a)]))
        #expect(try await store.commit(put(a, "3", if: [.absent(a)])).revision != nil)
    }

    private func unchangedHolds() async throws {
        let store = try await open()
        let first = try #require(try await store.commit(put(a, "1")).revision)
        let second = try #require(try await store.commit(put(a, "2", if: [.unchanged(a, since: first)])).revision)
        #expect(try await store.commit(put(a, "3", if: [.unchanged(a, since: first)])).failed?[a]??.revision == second)
        let deleted = try await store.commit(Transaction(if: [.unchanged(a, since: second)], writes: [.delete(a)]))
        #expect(deleted.revision != nil)
        let gone = try #require(try await store.commit(put(a, "4", if: [.unchanged(a, since: second)])).failed)
        #expect(gone.keys.contains(a) && gone[a] == .some(nil))
    }

    private func isAtomic() async throws {
        let store = try await open()
        _ = try await store.commit(put(a, "old"))
        let failing = Transaction(
            if: [.absent(b), .absent(a)], writes: [.put(b, bytes: Data("new".utf8)), .delete(a)])
        #expect(try await store.commit(failing).failed != nil)
        #expect(try await store.get(a)?.value == Data("old".utf8))
        #expect(try await store.get(b) == nil)
    }

    private func conflictReportsAll() async throws {
        let store = try await open()
        _ = try await store.commit(put(a, "present"))
        let preconditions: [Transaction.Precondition] = [
            .absent(a), .unchanged(b, since: Revision(1)), .absent(Key("/t/c")),
        ]
        let failed = try #require(try await store.commit(put(b, "x", if: preconditions)).failed)
        #expect(Set(failed.keys) == [a, b])
        #expect(failed[a]??.value == Data("present".utf8) && failed[b] == .some(nil))
    }

    private func revisionsGrow() async throws {
        let store = try await open()
        let first = try #require(try await store.commit(put(a, "1")).revision)
        let pair = Transaction(writes: [.put(a, bytes: Data()), .put(b, bytes: Data())])
        let second = try #require(try await store.commit(pair).revision)
        #expect(first < second)
        #expect(try await store.get(a)?.revision == second)
        #expect(try await store.get(b)?.revision == second)
        #expect(try await store.list(under: a).revision >= second)
    }

    private func listsPrefixes() async throws {
        let store = try await open()
        let paths = ["/t/a", "/t/a/b", "/t/ab", "/t/é", "/u", "/s"]
        for path in paths { _ = try await store.commit(put(Key(path), path)) }
        let listed = { (prefix: String) async throws in
            try await store.list(under: Key(prefix)).entries.map(\.key.path)
        }
        #expect(try await listed("/t/") == ["/t/a", "/t/a/b", "/t/ab", "/t/é"])
        #expect(try await listed("/t/a/") == ["/t/a/b"])
        #expect(try await listed("/t/a") == ["/t/a", "/t/a/b", "/t/ab"])
        #expect(try await listed("/") == ["/s", "/t/a", "/t/a/b", "/t/ab", "/t/é", "/u"])
        #expect(try await listed("/x") == [])
    }

    private func oneCreatorWins() async throws {
        let stores = [try await open(), try await open()]
        let winners = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<40 {
                group.addTask {
                    try await stores[number % 2].commit(put(a, "\(number)", if: [.absent(a)])).revision != nil
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(winners == 1)
    }

    private func watchTellsChanges() async throws {
        let store = try await open()
        let start = try await store.list(under: Key("/t/")).revision
        var seen: [String: Data?] = [:]
        let stream = store.changes(under: Key("/t/"), after: start)
        _ = try await store.commit(put(a, "1"))
        _ = try await store.commit(put(Key("/elsewhere"), "1"))
        _ = try await store.commit(put(b, "2"))
        let last = try await store.commit(Transaction(writes: [.delete(a)])).revision
        for change in try await collect(stream, until: last) { seen.updateValue(change.value, forKey: change.key.path) }
        let expected: [String: Data?] = ["/t/a": Data?.none, "/t/b": Data?.some(Data("2".utf8))]
        #expect(seen == expected)
    }

    private func watchCatchesUp() async throws {
        let store = try await open()
        _ = try await store.commit(put(a, "before"))
        let start = try await store.list(under: Key("/t/")).revision
        _ = try await store.commit(put(b, "missed"))
        let last = try await store.commit(Transaction(writes: [.delete(a)])).revision
        let changes = try await collect(store.changes(under: Key("/t/"), after: start), until: last)
        #expect(changes.map(\.key) == [b, a])
        #expect(changes.first?.value == Data("missed".utf8) && changes.last?.value == nil)
        #expect(changes.map(\.revision) == changes.map(\.revision).sorted())
    }

    private func watchHearsOthers() async throws {
        let (store, other) = (try await open(), try await open())
        let start = try await store.list(under: Key("/t/")).revision
        let stream = store.changes(under: Key("/t/"), after: start)
        _ = try await other.commit(put(a, "1"))
        _ = try await store.commit(put(b, "2"))
        let last = try await other.commit(Transaction(writes: [.delete(b)])).revision
        var seen: [Key: Data?] = [:]
        for change in try await collect(stream, until: last) { seen.updateValue(change.value, forKey: change.key) }
        let expected: [Key: Data?] = [a: Data?.some(Data("1".utf8)), b: Data?.none]
        #expect(seen == expected)
    }
}

/// What a watch tells up to `last`; ends by itself after 10 s, so that a deaf watch fails a test instead of hanging it.
func collect(
    _ stream: AsyncThrowingStream<[Change], any Error>, until last: Revision?
) async throws -> [Change] {
    try await withThrowingTaskGroup(of: [Change].self) { group in
        group.addTask {
            var changes: [Change] = []
            for try await batch in stream {
                changes += batch
                if let newest = batch.last?.revision, let last, newest >= last { break }
            }
            return changes
        }
        group.addTask {
            try await Task.sleep(for: .seconds(10))
            return []
        }
        defer { group.cancelAll() }
        return try await group.next() ?? []
    }
}

extension CommitOutcome {
    var revision: Revision? { if case .committed(let revision) = self { revision } else { nil } }
    var failed: [Key: Entry?]? { if case .conflict(let keys) = self { keys } else { nil } }
}
