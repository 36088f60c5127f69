// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Synchronization

/// A store in which a test may do something before a commit, and which counts what commits carry.
final class SteppedStore: KeyValueStore, Sendable {
    private struct State {
        var beforeCommit: (@Sendable () async throws -> Void)?
        var deletions = 0
        var largest = 0
    }

    private let store: SQLiteStore
    private let state = Mutex(State())

    init(on store: SQLiteStore) { self.store = store }

    var beforeCommit: (@Sendable () async throws -> Void)? {
        get { state.withLock { $0.beforeCommit } }
        set { state.withLock { $0.beforeCommit = newValue } }
    }
    /// Commits so far that delete something.
    var deletions: Int { state.withLock { $0.deletions } }
    /// The most conditions or writes in one transaction.
    var largest: Int { state.withLock { $0.largest } }

    func put(_ writes: [Transaction.Write]) async throws { _ = try await store.commit(Transaction(writes: writes)) }

    func lock() async throws {
        let information = ClusterInformation(
            metadata: ResourceMetadata(name: "default").asCreated(),
            spec: ClusterInformationSpec(clusterGUID: "0", datastoreReady: false))
        try await put([.put(information.key, information)])
    }

    func get(_ key: Key) async throws(StoreError) -> Entry? { try await store.get(key) }
    func list(under prefix: Key) async throws(StoreError) -> Snapshot { try await store.list(under: prefix) }

    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        do { try await beforeCommit?() } catch { throw .unavailable("\(error)") }
        let outcome = try await store.commit(transaction)
        state.withLock { state in
            if transaction.writes.contains(where: { $0.value == nil }) { state.deletions += 1 }
            state.largest = max(state.largest, transaction.writes.count, transaction.preconditions.count)
        }
        return outcome
    }

    func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        store.changes(under: prefix, after: revision)
    }
}
