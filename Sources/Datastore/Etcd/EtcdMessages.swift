// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import FoundationEssentials
import SwiftProtobuf

extension Key {
    var bytes: Data { Data(path.utf8) }

    /// The first key past all that begin with this one, for etcd's `range_end`.
    var endOfRange: Data {
        var end = bytes
        while let last = end.popLast() {
            guard last == .max else { return end + [last + 1] }
        }
        return Data([0])  // to the last key
    }

    /// `nil` where the bytes are not UTF-8: no key of Calico's.
    init?(etcd bytes: Data) {
        guard let path = String(validating: bytes, as: UTF8.self) else { return nil }
        self.init(path)
    }
}

extension EtcdRangeRequest {
    init(_ key: Key) {
        self.init()
        self.key = key.bytes
    }
}

extension Entry {
    init?(_ pair: EtcdKeyValue) {
        guard let key = Key(etcd: pair.key) else { return nil }
        self.init(key: key, value: pair.value, revision: Revision(pair.modRevision))
    }
}

extension Change {
    init?(_ event: EtcdEvent) {
        guard let key = Key(etcd: event.kv.key) else { return nil }
        let value = event.kind == .delete ? nil : event.kv.value
        self.init(key: key, value: value, revision: Revision(event.kv.modRevision))
    }
}

extension EtcdCompare {
    init(_ precondition: Transaction.Precondition) {
        self.init()
        key = precondition.key.bytes
        switch precondition {
        case .absent:
            target = .version
            version = 0
        case .unchanged(_, let revision):
            target = .mod
            modRevision = revision.number
        }
    }
}

extension EtcdRequestOp {
    init(_ write: Transaction.Write) {
        self.init()
        if let value = write.value {
            put.key = write.key.bytes
            put.value = value
        } else {
            deleteRange.key = write.key.bytes
        }
    }
}

extension EtcdTxnRequest {
    /// Where the preconditions fail, their keys are read: a conflict needs no second call.
    init(_ transaction: Transaction) {
        self.init()
        compare = transaction.preconditions.map(EtcdCompare.init)
        success = transaction.lastWrites.map(EtcdRequestOp.init)
        failure = transaction.preconditionKeys.map { key in .with { $0.range = EtcdRangeRequest(key) } }
    }
}

extension Transaction {
    /// Each key's last write; etcd refuses two to one key.
    var lastWrites: [Write] {
        guard Set(writes.map(\.key)).count < writes.count else { return writes }
        var last: [Key: Int] = [:]
        for (index, write) in writes.enumerated() { last[write.key] = index }
        return writes.indices.filter { last[writes[$0].key] == $0 }.map { writes[$0] }
    }

    /// Without repetition, in order.
    var preconditionKeys: [Key] {
        var seen: Set<Key> = []
        return preconditions.map(\.key).filter { seen.insert($0).inserted }
    }

    /// For errors.
    var subject: String {
        let keys = (writes.map(\.key) + preconditionKeys).map(\.path)
        return keys.prefix(3).joined(separator: ", ") + (keys.count > 3 ? " and more" : "")
    }
}

extension EtcdTxnResponse {
    /// The preconditions of `transaction` that do not hold, from the entries that were read in their stead.
    func conflict(of transaction: Transaction) -> [Key: Entry?] {
        let entries = responses.map { $0.range.kvs.first.flatMap(Entry.init) }
        let present = Dictionary(zip(transaction.preconditionKeys, entries)) { first, _ in first }
        var failed: [Key: Entry?] = [:]
        for precondition in transaction.preconditions {
            let entry = present[precondition.key] ?? nil
            if !precondition.holds(for: entry) { failed.updateValue(entry, forKey: precondition.key) }
        }
        return failed
    }
}
