// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import CalicoModel
public import FoundationEssentials

/// Values under keys, each with the revision of its last change. All writing is conditional and atomic.
///
/// The contract, which every conformer keeps (`StoreContractTests` runs on each):
/// - Revisions grow with every committed transaction; all writes of one transaction share one revision.
/// - `commit` applies all writes or none. It answers `.committed` only when the writes are durable.
/// - A conflict reports the present entry of every key whose precondition failed, so no second read is needed.
public protocol KeyValueStore: Sendable {
    /// The present entry; `nil` where there is none.
    func get(_ key: Key) async throws(StoreError) -> Entry?
    /// All entries whose path begins with `prefix`, in key order, and the revision they were read at.
    func list(under prefix: Key) async throws(StoreError) -> Snapshot
    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome
    /// Changes after `revision`, oldest first, each key with its latest value when delivered. The stream fails with
    /// `StoreError.compacted` where the history is gone: list again.
    func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error>
}

/// A point in a store's history.
public struct Revision: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let number: Int64

    public init(_ number: Int64) { self.number = number }

    public static func < (a: Revision, b: Revision) -> Bool { a.number < b.number }
    public var description: String { String(number) }
}

public struct Entry: Hashable, Sendable {
    public let key: Key
    public let value: Data
    /// When this value was written.
    public let revision: Revision

    public init(key: Key, value: Data, revision: Revision) {
        self.key = key
        self.value = value
        self.revision = revision
    }
}

public struct Snapshot: Sendable {
    public let entries: [Entry]
    public let revision: Revision

    public init(entries: [Entry], revision: Revision) {
        self.entries = entries
        self.revision = revision
    }
}

/// What a key holds since `revision`.
public struct Change: Sendable {
    public let key: Key
    /// `nil` means the key was deleted.
    public let value: Data?
    public let revision: Revision
    /// The value as its writer had it, where that was this process: spares decoding it again.
    public let model: (any Sendable)?

    public init(key: Key, value: Data?, revision: Revision, model: (any Sendable)? = nil) {
        self.key = key
        self.value = value
        self.revision = revision
        self.model = model
    }

    public init(_ entry: Entry) { self.init(key: entry.key, value: entry.value, revision: entry.revision) }
}

/// Writes that happen together, if all preconditions hold.
public struct Transaction: Sendable {
    public enum Precondition: Hashable, Sendable {
        case absent(Key)
        case unchanged(Key, since: Revision)

        public var key: Key {
            switch self {
            case .absent(let key), .unchanged(let key, _): key
            }
        }

        /// What the key must still be as of; `nil` where it must not exist.
        var revision: Revision? {
            switch self {
            case .absent: nil
            case .unchanged(_, let revision): revision
            }
        }

        /// Whether it is true of what the key holds now.
        func holds(for present: Entry?) -> Bool { present?.revision == revision }

        /// The precondition that a key still is as it was seen.
        public static func asSeen(_ key: Key, _ revision: Revision?) -> Precondition {
            revision.map { .unchanged(key, since: $0) } ?? .absent(key)
        }
    }

    /// One key's new value, or its deletion.
    public struct Write: Sendable {
        public let key: Key
        /// `nil` deletes the key.
        public let value: Data?
        let model: (any Sendable)?

        public static func put(_ key: Key, _ model: some Encodable & Sendable) -> Write {
            Write(key: key, value: StoreJSON.encode(model), model: model)
        }

        public static func put(_ key: Key, bytes: Data) -> Write { Write(key: key, value: bytes, model: nil) }
        public static func delete(_ key: Key) -> Write { Write(key: key, value: nil, model: nil) }
    }

    public var preconditions: [Precondition]
    public var writes: [Write]

    public init(if preconditions: [Precondition] = [], writes: [Write] = []) {
        self.preconditions = preconditions
        self.writes = writes
    }

    /// Adds another's preconditions and writes.
    public mutating func merge(_ other: Transaction) {
        preconditions += other.preconditions
        writes += other.writes
    }

    /// - Throws: the first rule of Calico's validator that an endpoint or a profile breaks which it writes.
    public func validate() throws(ValidationError) {
        for write in writes {
            try (write.model as? WorkloadEndpoint)?.validate()
            try (write.model as? Profile)?.validate()
        }
    }

    /// What a watcher sees once this was committed at `revision`.
    public func changes(at revision: Revision) -> [Change] {
        writes.map { Change(key: $0.key, value: $0.value, revision: revision, model: $0.model) }
    }
}

public enum CommitOutcome: Sendable {
    case committed(Revision)
    /// The keys whose precondition failed, and what they hold now.
    case conflict([Key: Entry?])
}

/// Why a store could not answer.
public enum StoreError: Error, Hashable, CustomStringConvertible {
    /// The store cannot be reached or used; the text says why and what to do.
    case unavailable(String)
    /// The connection broke after the transaction was sent: it may have been carried out, or may yet be. Committing
    /// the same transaction again settles it, since only one of the two can find its preconditions true, unless all of
    /// them are absences and somebody deletes the keys in between.
    case outcomeUnknown(String)
    /// The disk is full: nothing was written.
    case full(String)
    /// The store holds something this program cannot understand.
    case corrupt(String)
    /// The history before the asked revision is gone.
    case compacted

    public var description: String {
        switch self {
        case .unavailable(let reason): "the datastore is not available: \(reason)"
        case .outcomeUnknown(let reason): "the datastore did not say whether it carried a change out: \(reason)"
        case .full(let reason): "the datastore's disk is full, nothing was changed: \(reason)"
        case .corrupt(let reason): "the datastore holds an unreadable value: \(reason)"
        case .compacted: "the datastore no longer keeps the history that was asked for"
        }
    }
}
