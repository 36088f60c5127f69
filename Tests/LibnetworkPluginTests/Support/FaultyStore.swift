// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Synchronization

/// A store that counts its commits and fails, hangs or stops when a test says so.
final class FaultyStore: KeyValueStore, Sendable {
    /// What becomes of a commit that gets no answer.
    enum Fate: CaseIterable { case done, lost }

    private struct State {
        var commits = 0
        var largestTransaction = 0
        var hangs = false
        var held = 0
        var failsAfter: Int?
        var silence: Fate?
    }

    private let store: SQLiteStore
    private let state = Mutex(State())

    init(on store: SQLiteStore) { self.store = store }

    /// Transactions that were committed through this.
    var commits: Int { state.withLock { $0.commits } }
    /// Keys written by the largest of them.
    var largestTransaction: Int { state.withLock { $0.largestTransaction } }
    /// Writes to disk, fewer where transactions shared one.
    var diskCommits: Int { get async { await store.counters.diskCommits } }

    /// Commits that hang.
    var held: Int { state.withLock { $0.held } }

    func hang(_ hangs: Bool = true) { state.withLock { $0.hangs = hangs } }
    /// Commits after the next `count` fail; `nil` heals the store.
    func fail(after count: Int?) { state.withLock { $0.failsAfter = count } }
    /// Commits get no answer from now on, whether they are carried out or not; `nil` heals the store.
    func fallSilent(_ fate: Fate?) { state.withLock { $0.silence = fate } }

    func get(_ key: Key) async throws(StoreError) -> Entry? { try await store.get(key) }
    func list(under prefix: Key) async throws(StoreError) -> Snapshot { try await store.list(under: prefix) }

    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        // In a task of its own: the caller's may be cancelled, and its sleeps would be none.
        await Task.detached { [self] in
            state.withLock { $0.held += 1 }
            defer { state.withLock { $0.held -= 1 } }
            while state.withLock({ $0.hangs }) { try? await Task.sleep(for: .milliseconds(5)) }
        }.value
        let fails = state.withLock { state in
            guard let left = state.failsAfter else { return false }
            state.failsAfter = max(0, left - 1)
            return left == 0
        }
        if fails { throw .unavailable("the disk is on fire") }
        let silence = state.withLock { $0.silence }
        if silence == .lost { throw .outcomeUnknown("the connection broke") }
        let outcome = try await store.commit(transaction)
        if case .committed = outcome {
            state.withLock { state in
                state.commits += 1
                state.largestTransaction = max(state.largestTransaction, transaction.writes.count)
            }
        }
        if silence == .done { throw .outcomeUnknown("the connection broke") }
        return outcome
    }

    func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        store.changes(under: prefix, after: revision)
    }
}
