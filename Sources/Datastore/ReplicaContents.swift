// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel

/// What a ``Replica`` knows, and how well.
struct ReplicaContents<State: ReplicaState>: Sendable {
    var state = State()
    /// The newest revision seen of each key. Deleted keys stay until the watch has passed them.
    var revisions: [Key: Revision] = [:]
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
        if change.value == nil { deleted.insert(change.key) } else { deleted.remove(change.key) }
        note(change)
    }

    mutating func forget(_ key: Key) {
        guard let revision = revisions[key], !deleted.contains(key) else { return }
        let change = Change(key: key, value: nil, revision: revision)
        state.apply(change)
        revisions[key] = nil
        note(change)
    }

    /// Takes a range in whatever was known of it: revisions from before have no meaning in the store's new history.
    mutating func replace(_ prefix: Key, with snapshot: Snapshot) {
        let present = Set(snapshot.entries.map(\.key))
        for key in revisions.keys.filter({ prefix.isPrefix(of: $0) }) {
            if !present.contains(key) { forget(key) }
            revisions[key] = nil
            deleted.remove(key)
        }
        for key in held.keys.filter({ prefix.isPrefix(of: $0) }) { held[key] = nil }
        for entry in snapshot.entries { take(Change(entry)) }
        settled[prefix] = snapshot.revision
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
