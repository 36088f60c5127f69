// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation

/// What a simulated store holds and has held: exact revisions, no waiting, no faults.
struct StoredKeys {
    private(set) var entries: [Key: Change] = [:]
    /// All changes, in the order in which they happened.
    private(set) var history: [Change] = []
    private(set) var revision = Revision(1)

    func conflicts(of transaction: Transaction) -> [Key: Entry?] {
        var failed: [Key: Entry?] = [:]
        for precondition in transaction.preconditions {
            let present = entries[precondition.key]
            let holds =
                switch precondition {
                case .absent: present == nil
                case .unchanged(_, let revision): present?.revision == revision
                }
            if !holds { failed.updateValue(present.flatMap(Self.entry), forKey: precondition.key) }
        }
        return failed
    }

    mutating func apply(_ transaction: Transaction) -> [Change] {
        revision = Revision(revision.number + 1)
        let changes = transaction.changes(at: revision)
        for change in changes { entries[change.key] = change.value == nil ? nil : change }
        history += changes
        return changes
    }

    /// All keys below `prefix`, in order.
    func list(_ prefix: Key) -> [Change] {
        entries.values.filter { prefix.isPrefix(of: $0.key) }.sorted { $0.key < $1.key }
    }

    func value<Value: Decodable & Sendable>(_ key: Key, _ type: Value.Type) -> Value? {
        try? entries[key]?.decoded(type)
    }

    static func entry(_ change: Change) -> Entry? {
        change.value.map { Entry(key: change.key, value: $0, revision: change.revision) }
    }
}
