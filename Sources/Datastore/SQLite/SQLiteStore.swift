// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import BlockingExecutor
public import CalicoModel
import FoundationEssentials
import Glibc

/// The embedded store: one SQLite file, shared by the daemon and the commands beside it.
///
/// Transactions that arrive while one is being written gather, and the next write to disk carries them all: a commit's
/// cost is its fsync, and one serves everybody.
public actor SQLiteStore: KeyValueStore {
    /// What this store has done since it was opened.
    public struct Counters: Sendable {
        /// Transactions that were committed.
        public var transactions = 0
        /// Writes to disk; fewer than `transactions` where some shared one.
        public var diskCommits = 0
    }

    private struct Waiting {
        let transaction: Transaction
        let answer: CheckedContinuation<Result<CommitOutcome, StoreError>, Never>
    }

    private struct Watcher {
        let prefix: Key
        let continuation: AsyncThrowingStream<[Change], any Error>.Continuation
    }

    private nonisolated let executor = BlockingExecutor(label: "sqlite")
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let connection: SQLiteConnection
    private var waiting: [Waiting] = []
    private var watchers: [Int: Watcher] = [:]
    private var nextWatcher = 0
    private var poller: Task<Void, Never>?
    /// The newest revision that watchers were told of.
    private var published: Revision
    /// Changes when another connection commits (sqlite.org/pragma.html#pragma_data_version).
    private var dataVersion: Int64 = 0
    public private(set) var counters = Counters()

    /// History kept for watchers of other processes, in revisions; a watcher further behind lists again.
    static let historyLength: Int64 = 10_000

    /// Opens or creates the store, file mode 0600.
    public init(path: String) throws(StoreError) {
        connection = try SQLiteStore.open(path)
        // In this order: a commit of another process in between is then seen as a change.
        dataVersion = try connection.pragma("data_version").integer ?? 0
        published = try SQLiteStore.revision(of: connection)
    }

    deinit {
        poller?.cancel()
        for watcher in watchers.values { watcher.continuation.finish() }
    }

    // MARK: Contract

    public func get(_ key: Key) throws(StoreError) -> Entry? { try entry(key) }

    public func list(under prefix: Key) throws(StoreError) -> Snapshot {
        try connection.run("BEGIN")
        defer { _ = try? connection.run("COMMIT") }
        let rows = try connection.run(
            "SELECT key, value, revision FROM entries WHERE key >= ? AND key < ? ORDER BY key", .text(prefix.path),
            .text(prefix.path + "\u{10FFFF}"))
        let entries = rows.map {
            Entry(key: Key($0[0].text ?? ""), value: $0[1].blob ?? Data(), revision: Revision($0[2].integer ?? 0))
        }
        return Snapshot(entries: entries, revision: try SQLiteStore.revision(of: connection))
    }

    public func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        let result = await withCheckedContinuation { answer in
            waiting.append(Waiting(transaction: transaction, answer: answer))
            // The first to arrive orders the flush; whoever arrives before it runs travels with it.
            if waiting.count == 1 { Task { self.flush() } }
        }
        return try result.get()
    }

    public nonisolated func changes(
        under prefix: Key, after revision: Revision
    ) -> AsyncThrowingStream<[Change], any Error> {
        AsyncThrowingStream { continuation in
            Task { await self.watch(Watcher(prefix: prefix, continuation: continuation), after: revision) }
        }
    }

    // MARK: Commit

    private func flush() {
        let batch = waiting
        waiting = []
        guard !batch.isEmpty else { return }
        do {
            let outcomes = try write(batch.map(\.transaction))
            for (item, outcome) in zip(batch, outcomes) { item.answer.resume(returning: .success(outcome)) }
        } catch {
            // Harmless where the transaction never began or SQLite has rolled back by itself.
            _ = try? connection.run("ROLLBACK")
            for item in batch { item.answer.resume(returning: .failure(error)) }
        }
    }

    /// One disk transaction for all of `transactions`; those in conflict write nothing.
    private func write(_ transactions: [Transaction]) throws(StoreError) -> [CommitOutcome] {
        try connection.run("BEGIN IMMEDIATE")
        let before = try SQLiteStore.revision(of: connection)
        var revision = before
        var outcomes: [CommitOutcome] = []
        var changes: [Change] = []
        for transaction in transactions {
            let failed = try conflicts(of: transaction)
            guard failed.isEmpty else {
                outcomes.append(.conflict(failed))
                continue
            }
            revision = Revision(revision.number + 1)
            for write in transaction.writes { try apply(write, at: revision) }
            changes += transaction.changes(at: revision)
            outcomes.append(.committed(revision))
        }
        try finish(before: before, at: revision)
        // Others' changes first: watchers see revisions in order.
        if published < before { publishFromHistory(upTo: before) }
        publish(changes, upTo: revision)
        counters.transactions += Int(revision.number - before.number)
        return outcomes
    }

    private func finish(before: Revision, at revision: Revision) throws(StoreError) {
        guard revision > before else {
            try connection.run("ROLLBACK")
            return
        }
        try connection.run("UPDATE meta SET value = ? WHERE name = 'revision'", .integer(revision.number))
        if revision.number / 1_000 != before.number / 1_000 {
            try connection.run(
                "DELETE FROM history WHERE revision <= ?", .integer(revision.number - SQLiteStore.historyLength))
        }
        try connection.run("COMMIT")
        counters.diskCommits += 1
    }

    private func conflicts(of transaction: Transaction) throws(StoreError) -> [Key: Entry?] {
        var failed: [Key: Entry?] = [:]
        for precondition in transaction.preconditions {
            let present = try entry(precondition.key)
            if !precondition.holds(for: present) { failed.updateValue(present, forKey: precondition.key) }
        }
        return failed
    }

    private func apply(_ write: Transaction.Write, at revision: Revision) throws(StoreError) {
        if let value = write.value {
            try connection.run(
                "INSERT INTO entries (key, value, revision) VALUES (?, ?, ?) "
                    + "ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision",
                .text(write.key.path), .blob(value), .integer(revision.number))
        } else {
            try connection.run("DELETE FROM entries WHERE key = ?", .text(write.key.path))
        }
        try connection.run(
            "INSERT OR IGNORE INTO history (revision, key) VALUES (?, ?)", .integer(revision.number),
            .text(write.key.path))
    }

    private func entry(_ key: Key) throws(StoreError) -> Entry? {
        try connection.run("SELECT value, revision FROM entries WHERE key = ?", .text(key.path)).first.map {
            Entry(key: key, value: $0[0].blob ?? Data(), revision: Revision($0[1].integer ?? 0))
        }
    }

    // MARK: Watching

    private func watch(_ watcher: Watcher, after revision: Revision) {
        let id = nextWatcher
        nextWatcher += 1
        do {
            pollOtherProcesses()
            let missed = try history(after: revision, upTo: published).filter { watcher.prefix.isPrefix(of: $0.key) }
            if !missed.isEmpty { watcher.continuation.yield(missed) }
        } catch {
            return watcher.continuation.finish(throwing: error)
        }
        watchers[id] = watcher
        watcher.continuation.onTermination = { [weak self] _ in Task { await self?.forget(id) } }
        if poller == nil { poller = Task { [weak self] in await SQLiteStore.poll { [weak self] in self } } }
    }

    private func forget(_ id: Int) {
        watchers[id] = nil
        guard watchers.isEmpty else { return }
        poller?.cancel()
        poller = nil
    }

    /// Commands write from processes of their own. SQLite cannot wake us, but tells cheaply (microseconds) whether
    /// anything changed; a quarter second is soon enough for a person at a terminal.
    private static func poll(_ store: @Sendable () -> SQLiteStore?) async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(250))
            guard let store = store() else { return }
            await store.pollOtherProcesses()
        }
    }

    private func pollOtherProcesses() {
        guard let version = try? connection.pragma("data_version").integer, version != dataVersion,
            let newest = try? SQLiteStore.revision(of: connection)
        else { return }
        dataVersion = version
        if published < newest { publishFromHistory(upTo: newest) }
    }

    private func publishFromHistory(upTo newest: Revision) {
        do { publish(try history(after: published, upTo: newest), upTo: newest) } catch {
            for watcher in watchers.values { watcher.continuation.finish(throwing: error) }
            watchers = [:]
            published = newest
        }
    }

    private func publish(_ changes: [Change], upTo newest: Revision) {
        published = max(published, newest)
        guard !changes.isEmpty else { return }
        for watcher in watchers.values {
            let relevant = changes.filter { watcher.prefix.isPrefix(of: $0.key) }
            if !relevant.isEmpty { watcher.continuation.yield(relevant) }
        }
    }

    private func history(after start: Revision, upTo end: Revision) throws(StoreError) -> [Change] {
        guard start < end else { return [] }
        let oldest = try connection.run("SELECT min(revision) FROM history").first?[0].integer ?? end.number
        guard start.number >= oldest - 1 else { throw .compacted }
        return try connection.run(
            "SELECT h.revision, h.key, e.value FROM history h LEFT JOIN entries e ON e.key = h.key "
                + "WHERE h.revision > ? AND h.revision <= ? ORDER BY h.revision", .integer(start.number),
            .integer(end.number)
        ).map { Change(key: Key($0[1].text ?? ""), value: $0[2].blob, revision: Revision($0[0].integer ?? 0)) }
    }

    // MARK: Opening

    private static func revision(of connection: SQLiteConnection) throws(StoreError) -> Revision {
        Revision(try connection.run("SELECT value FROM meta WHERE name = 'revision'").first?[0].integer ?? 0)
    }

    static func open(_ path: String) throws(StoreError) -> SQLiteConnection {
        try createFile(path)
        let connection = try SQLiteConnection(path: path)
        guard try connection.pragma("journal_mode = WAL").text == "wal" || path == ":memory:" else {
            throw .unavailable("\(path): the file system does not support SQLite's WAL mode; use a local disk")
        }
        try connection.run("PRAGMA synchronous = FULL")
        try checkDurability(of: connection, path: path)
        try migrate(connection, path: path)
        return connection
    }

    /// Read back: an answer to Docker promises that the address survives a power cut.
    static func checkDurability(of connection: SQLiteConnection, path: String) throws(StoreError) {
        guard try connection.pragma("synchronous").integer == 2 else {
            throw .unavailable("\(path): SQLite did not accept synchronous=FULL")
        }
    }

    /// Creates the file before SQLite does: SQLite would use the umask's mode.
    private static func createFile(_ path: String) throws(StoreError) {
        guard path != ":memory:" else { return }
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw .unavailable("cannot open \(path): \(String(cString: strerror(errno)))")
        }
        close(descriptor)
    }

    private static func migrate(_ connection: SQLiteConnection, path: String) throws(StoreError) {
        let version = try connection.pragma("user_version").integer ?? 0
        guard version <= 1 else {
            throw .corrupt("\(path) was written by a newer calico-libnetwork (schema \(version)); upgrade this program")
        }
        guard version == 0 else { return }
        try connection.run("BEGIN IMMEDIATE")
        for statement in schema { try connection.run(statement) }
        try connection.run("PRAGMA user_version = 1")
        try connection.run("COMMIT")
    }

    private static let schema = [
        """
        CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL)
        WITHOUT ROWID
        """,
        "CREATE TABLE IF NOT EXISTS history (revision INTEGER, key TEXT, PRIMARY KEY (revision, key)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT OR IGNORE INTO meta (name, value) VALUES ('revision', 0)",
    ]
}
