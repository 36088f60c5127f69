// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import CalicoModel
public import Logging
import Synchronization

/// What a ``Replica`` builds from a store's changes.
public protocol ReplicaState: Sendable {
    init()
    /// Takes in that `change.key` now holds `change.value`. Must not fail: an unreadable value is kept out.
    mutating func apply(_ change: Change)
}

/// A copy of some key ranges of a store, kept current in memory: listed once, then fed by changes.
///
/// The copy may lag; every write based on it proves with a precondition that it did not. Whoever commits feeds the
/// outcome back with ``observe(_:)``, so that its next decision sees its own write without waiting for the watch.
public final class Replica<State: ReplicaState>: Sendable {
    private let store: any KeyValueStore
    private let prefixes: [Key]
    private let logger: Logger
    private let contents = Mutex(ReplicaContents<State>())

    public init(of store: any KeyValueStore, under prefixes: [Key], logger: Logger) {
        self.store = store
        self.prefixes = prefixes
        self.logger = logger
    }

    /// Reads the present state. `body` runs under a lock: no long work in it.
    public func read<Result>(_ body: (borrowing State) throws -> sending Result) rethrows -> sending Result {
        try contents.withLock { try body($0.state) }
    }

    /// A copy of the present state.
    public var snapshot: State { contents.withLock { $0.state } }

    /// What is taken in from now on, each change once and a key's changes in order; own commits as soon as they are
    /// answered. For the one other part of a program that must keep up with the same keys; it ends the one before.
    ///
    /// - Parameter prefix: only keys under it are told.
    public func news(under prefix: Key) -> AsyncStream<[Change]> {
        let (news, continuation) = AsyncStream.makeStream(of: [Change].self)
        contents.withLock { contents in
            contents.listener?.news.finish()
            contents.listener = (prefix, continuation)
        }
        return news
    }

    private func update(_ body: (inout ReplicaContents<State>) -> Void) {
        contents.withLock { contents in
            body(&contents)
            contents.tell()
        }
    }

    /// Takes in changes known otherwise than from the watch: an own commit, or what a conflict reported.
    public func observe(_ changes: [Change]) {
        update { contents in
            for change in changes where contents.isNews(change) { contents.take(change) }
        }
    }

    private func observe(fromWatch changes: [Change]) {
        update { contents in
            for change in changes {
                if contents.beingWritten[change.key] != nil {
                    contents.held[change.key] = change
                } else if contents.isNews(change) {
                    contents.take(change)
                }
            }
        }
    }

    /// Takes in what the failed commit of `transaction` reported. The watch may have passed it on the way.
    public func observe(conflict entries: [Key: Entry?], of transaction: Transaction) {
        let expected = Dictionary(transaction.preconditions.map { ($0.key, $0.revision) }) { first, _ in first }
        update { contents in
            for (key, entry) in entries {
                if let entry {
                    if contents.isNews(Change(entry)) { contents.take(Change(entry)) }
                } else if let revision = expected[key] ?? nil, contents.revisions[key] == revision {
                    // Still as it was believed to be, so it is gone. Otherwise something newer is known.
                    contents.take(Change(key: key, value: nil, revision: revision))
                }
            }
        }
    }

    /// Commits to the store and takes in the outcome, whichever it is, so that the next decision knows of it.
    @discardableResult
    public func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        begin(transaction)
        defer { end(transaction) }
        let outcome = try await store.commit(transaction)
        switch outcome {
        case .committed(let revision): observe(transaction.changes(at: revision))
        case .conflict(let present): observe(conflict: present, of: transaction)
        }
        return outcome
    }

    private func begin(_ transaction: Transaction) {
        contents.withLock { contents in
            for write in transaction.writes { contents.beingWritten[write.key, default: 0] += 1 }
        }
    }

    private func end(_ transaction: Transaction) {
        update { contents in
            for key in transaction.writes.map(\.key) {
                guard let count = contents.beingWritten[key] else { continue }
                contents.beingWritten[key] = count > 1 ? count - 1 : nil
                guard count == 1, let change = contents.held.removeValue(forKey: key) else { continue }
                if contents.isNews(change) { contents.take(change) }
            }
        }
    }

    /// Lists every range once. Until then the state is empty.
    ///
    /// - Returns: what the store holds, range by range.
    @discardableResult
    public func load() async throws(StoreError) -> [Snapshot] {
        var snapshots: [Snapshot] = []
        for prefix in prefixes {
            let snapshot = try await store.list(under: prefix)
            reset(prefix, to: snapshot)
            snapshots.append(snapshot)
        }
        return snapshots
    }

    /// Lists every range again, for a decision that must not rest on a lagging copy.
    public func refresh() async { _ = try? await load() }

    /// Follows the store from where ``load()`` has read it until the task is cancelled, re-listing a range whenever its
    /// watch breaks.
    public func follow() async {
        await withTaskGroup(of: Void.self) { group in
            for prefix in prefixes { group.addTask { await self.follow(prefix) } }
        }
    }

    private func follow(_ prefix: Key) async {
        var revision = contents.withLock { $0.settled[prefix] } ?? Revision(0)
        while !Task.isCancelled {
            var isHistoryGone = false
            do {
                for try await changes in store.changes(under: prefix, after: revision) {
                    observe(fromWatch: changes)
                    revision = max(revision, changes.last?.revision ?? revision)
                    settle(prefix, revision)
                }
                if Task.isCancelled { return }
            } catch {
                isHistoryGone = error as? StoreError == .compacted
                logger.warning("watch broke, listing again", metadata: ["range": "\(prefix)", "error": "\(error)"])
            }
            guard let snapshot = await listAgain(prefix, isHistoryGone: isHistoryGone, revision) else { return }
            revision = snapshot.revision
        }
    }

    /// Takes the range in as the store has it now, as soon as it answers.
    ///
    /// A list that begins now holds all that was told before. Where it is older, the store was taken back to a backup,
    /// and what is known of it is of no use any more. Where the history is gone that may have happened, too, and the
    /// store gone on since.
    ///
    /// - Returns: `nil` when cancelled.
    private func listAgain(_ prefix: Key, isHistoryGone: Bool, _ revision: Revision) async -> Snapshot? {
        // The store is away or its history gone; a second between attempts keeps both sides idle enough.
        while (try? await Task.sleep(for: .seconds(1))) != nil {
            let told = contents.withLock { max($0.settled[prefix] ?? revision, revision) }
            do {
                let snapshot = try await store.list(under: prefix)
                let isTakenBack = snapshot.revision < told
                if isTakenBack {
                    logger.warning(
                        "the datastore was taken back to a backup; what it holds now is followed",
                        metadata: ["range": "\(prefix)", "revision": "\(snapshot.revision)", "before": "\(told)"])
                }
                if isHistoryGone || isTakenBack {
                    update { $0.replace(prefix, with: snapshot) }
                } else {
                    reset(prefix, to: snapshot)
                }
                return snapshot
            } catch {
                logger.warning("listing failed, trying again", metadata: ["range": "\(prefix)", "error": "\(error)"])
            }
        }
        return nil
    }

    private func reset(_ prefix: Key, to snapshot: Snapshot) {
        update { contents in
            let present = Set(snapshot.entries.map(\.key))
            for (key, known) in contents.revisions
            where prefix.isPrefix(of: key) && !present.contains(key) && known <= snapshot.revision {
                contents.forget(key)
            }
            // The watch may have passed a list that was long on its way: what it alone still knows is gone.
            let isOutdated = contents.settled[prefix].map { snapshot.revision < $0 } ?? false
            for entry in snapshot.entries
            where contents.revisions[entry.key].map({ $0 < entry.revision }) ?? !isOutdated {
                contents.take(Change(entry))
            }
            contents.settled[prefix] = max(contents.settled[prefix] ?? snapshot.revision, snapshot.revision)
        }
    }

    /// Deletions the watch has passed need not be remembered: nothing older can arrive any more.
    private func settle(_ prefix: Key, _ revision: Revision) {
        contents.withLock { contents in
            // What is held back has not been passed yet.
            let held = contents.held.values.lazy.filter { prefix.isPrefix(of: $0.key) }.map(\.revision).min()
            let revision = min(revision, held.map { Revision($0.number - 1) } ?? revision)
            contents.settled[prefix] = max(contents.settled[prefix] ?? revision, revision)
            for key in contents.deleted
            where prefix.isPrefix(of: key) && contents.revisions[key].map({ $0 <= revision }) ?? true {
                contents.deleted.remove(key)
                contents.revisions[key] = nil
            }
        }
    }
}
