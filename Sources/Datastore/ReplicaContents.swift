// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import FoundationEssentials

/// What a ``Replica`` knows, and how well.
struct ReplicaContents<State: ReplicaState>: Sendable {
    var state = State()
    /// The newest revision seen of each key. Deleted keys stay until the watch has passed them.
    var revisions: [Key: Revision] = [:]
    /// The values of the keys that are there, as digests: where the history is gone, a revision alone does not tell
    /// whether its value is still the one that was told.
    private var digests: [Key: Int] = [:]
    var deleted: Set<Key> = []
    /// Up to where each range is known completely: an unknown key's change from before is old, its key is gone.
    var settled: [Key: Revision] = [:]
    /// How many own commits are writing a key now.
    var beingWritten: [Key: Int] = [:]
    /// What the watch told of those keys. Mostly it is the commit itself, whose answer brings the value undecoded
    /// where the watch's would have to be decoded.
    var held: [Key: Change] = [:]
    var listener: (prefix: Key, news: AsyncStream<[Change]>.Continuation)?
    /// Taken in, not yet told to the listener.
    var untold: [Change] = []

    func isNews(_ change: Change) -> Bool {
        if let known = revisions[change.key] { return known < change.revision }
        guard let range = settled.keys.first(where: { $0.isPrefix(of: change.key) }) else { return true }
        return settled[range].map { $0 < change.revision } ?? true
    }

    mutating func take(_ change: Change) {
        state.apply(change)
        revisions[change.key] = change.revision
        digests[change.key] = change.value.map(digest)
        if change.value == nil { deleted.insert(change.key) } else { deleted.remove(change.key) }
        note(change)
    }

    mutating func forget(_ key: Key) {
        guard let revision = revisions[key], !deleted.contains(key) else { return }
        let change = Change(key: key, value: nil, revision: revision)
        state.apply(change)
        revisions[key] = nil
        digests[key] = nil
        note(change)
    }

    /// Takes a range in whatever was known of it: revisions from before have no meaning in the store's new history,
    /// which may have given the same one to another value. What is the same in both is not told again.
    mutating func replace(_ prefix: Key, with snapshot: Snapshot) {
        let present = Dictionary(uniqueKeysWithValues: snapshot.entries.map { ($0.key, $0) })
        for key in revisions.keys.filter({ prefix.isPrefix(of: $0) }) {
            if let entry = present[key], isKnown(entry) { continue }
            if present[key] == nil { forget(key) }
            revisions[key] = nil
            deleted.remove(key)
        }
        for key in held.keys.filter({ prefix.isPrefix(of: $0) }) { held[key] = nil }
        for entry in snapshot.entries where revisions[entry.key] == nil { take(Change(entry)) }
        settled[prefix] = snapshot.revision
    }

    private func isKnown(_ entry: Entry) -> Bool {
        revisions[entry.key] == entry.revision && digests[entry.key] == digest(entry.value)
    }

    /// Of all bytes; `Data`'s own hash is of the first few.
    private func digest(_ value: Data) -> Int {
        var hasher = Hasher()
        value.withUnsafeBytes { hasher.combine(bytes: $0) }
        return hasher.finalize()
    }

    private mutating func note(_ change: Change) {
        if let listener, listener.prefix.isPrefix(of: change.key) { untold.append(change) }
    }

    /// In the lock, so that two batches cannot pass each other on their way.
    mutating func tell() {
        guard !untold.isEmpty else { return }
        listener?.news.yield(untold)
        untold = []
    }
}
