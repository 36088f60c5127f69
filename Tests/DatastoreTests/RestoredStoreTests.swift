// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Foundation
import Logging
import Testing

@testable import Datastore

@Suite struct `A replica of a store that is taken back to a backup` {
    private let range = Key("/t/")

    private func write(_ store: SQLiteStore, _ texts: KeyValuePairs<String, String?>) async throws {
        for (name, text) in texts {
            let key = Key("/t/\(name)")
            _ = try await store.commit(
                Transaction(writes: [text.map { .put(key, bytes: Data($0.utf8)) } ?? .delete(key)]))
        }
    }

    private func expect(_ texts: [String: String], in replica: Replica<Texts>) async throws {
        let expected = Dictionary(uniqueKeysWithValues: texts.map { (Key("/t/\($0)"), $1) })
        for _ in 0..<500 where replica.snapshot.values != expected { try await Task.sleep(for: .milliseconds(10)) }
        #expect(replica.snapshot.values == expected)
    }

    /// - Parameter later: how many changes the store has seen since, when the replica looks; enough of them and its
    ///   revision alone does not tell.
    @Test(arguments: [0, 20])
    func `holds what the backup holds, and follows from there`(later: Int) async throws {
        let (lost, backup) = (try SQLiteStore(path: ":memory:"), try SQLiteStore(path: ":memory:"))
        try await write(
            lost,
            ["a": "1", "gone": "x", "kept": "k", "same": "1", "a": "2", "new": "n", "gone": nil, "a": "3"])
        // At one revision in both, and yet another value.
        try await write(backup, ["a": "1", "gone": "x", "kept": "k", "same": "2"])
        let store = RestoredStore(lost)
        let replica = Replica<Texts>(of: store, under: [range], logger: .silent)
        try await replica.load()
        let following = Task { await replica.follow() }
        try await write(lost, ["gone": "y", "gone": nil])
        try await expect(["a": "3", "kept": "k", "same": "1", "new": "n"], in: replica)

        for number in 0..<later { try await write(backup, ["kept": "k\(number)"]) }
        let kept = later > 0 ? "k\(later - 1)" : "k"
        let news = replica.news(under: range)
        await store.restore(backup)
        try await expect(["a": "1", "gone": "x", "kept": kept, "same": "2"], in: replica)
        // Ends the news before.
        _ = replica.news(under: range)
        let told = await news.reduce(into: []) { $0 += $1 }.map(\.key.path).sorted()
        #expect(told == ["a", "gone", "kept", "new", "same"].filter { later > 0 || $0 != "kept" }.map { "/t/\($0)" })
        try await write(backup, ["a": "another's"])
        try await expect(["a": "another's", "gone": "x", "kept": kept, "same": "2"], in: replica)
        try await replica.commit(Transaction(writes: [.put(Key("/t/mine"), bytes: Data("m".utf8))]))
        #expect(replica.read { $0.values[Key("/t/mine")] } == "m")
        following.cancel()
        await following.value
    }
}

/// A store whose history is replaced by another one, as etcd's is by `etcdctl snapshot restore`.
private actor RestoredStore: KeyValueStore {
    private var store: SQLiteStore
    private var watches: [AsyncThrowingStream<[Change], any Error>.Continuation] = []

    init(_ store: SQLiteStore) { self.store = store }

    func restore(_ backup: SQLiteStore) {
        store = backup
        for watch in watches { watch.finish(throwing: StoreError.compacted) }
        watches = []
    }

    func get(_ key: Key) async throws(StoreError) -> Entry? { try await store.get(key) }
    func list(under prefix: Key) async throws(StoreError) -> Snapshot { try await store.list(under: prefix) }

    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        try await store.commit(transaction)
    }

    nonisolated func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: [Change].self, throwing: (any Error).self)
        let watch = Task {
            for try await changes in await self.source(prefix, revision, continuation) { continuation.yield(changes) }
        }
        continuation.onTermination = { _ in watch.cancel() }
        return stream
    }

    private func source(
        _ prefix: Key, _ revision: Revision, _ watch: AsyncThrowingStream<[Change], any Error>.Continuation
    ) -> AsyncThrowingStream<[Change], any Error> {
        watches.append(watch)
        return store.changes(under: prefix, after: revision)
    }
}

extension EtcdTests {
    @Suite struct `An etcd that is taken back to a backup` {
        private let cluster: EtcdCluster
        private var data: String { "\(cluster.folder)/1" }

        init() async throws { cluster = try await EtcdCluster.start() }

        private func withMemberStopped(_ body: () throws -> Void) async throws {
            cluster.members[0].stop()
            try body()
            try await cluster.start(0)
            try await cluster.awaitReady()
        }

        @Test func `is followed from there`() async throws {
            let (store, writer) = (cluster.store(), cluster.store())
            let replica = Replica<Texts>(of: store, under: [Key("/t/")], logger: .silent)
            let key = Key("/t/a")
            func expect(_ text: String) async throws {
                for _ in 0..<1_000 where replica.read({ $0.values[key] }) != text {
                    try await Task.sleep(for: .milliseconds(10))
                }
                #expect(replica.read { $0.values[key] } == text)
            }

            var seen = try await writer.commit(put("/t/a", "old")).revision
            let backup = try #require(seen)
            try await withMemberStopped { try FileManager.default.copyItem(atPath: data, toPath: data + "-backup") }
            try await replica.load()
            let following = Task { await replica.follow() }
            for number in 0..<50 { seen = try await writer.commit(put("/t/a", "\(number)", since: seen)).revision }
            try await expect("49")
            // Whoever writes has seen the newest revision, and takes it for the beginning of what may yet happen.
            _ = try await store.get(key)
            try await withMemberStopped {
                try FileManager.default.removeItem(atPath: data)
                try FileManager.default.moveItem(atPath: data + "-backup", toPath: data)
            }
            try await expect("old")
            #expect(store.client.newestRevision < backup.number + 50)
            _ = try await writer.commit(put("/t/a", "new", since: backup))
            try await expect("new")
            following.cancel()
            await following.value
            await store.close()
            await writer.close()
        }
    }
}
