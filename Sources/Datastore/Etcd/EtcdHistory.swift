// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import NIOCore
import SwiftProtobuf

/// The write by whose history it is told whether a transaction was carried out.
private struct Witness {
    let write: Transaction.Write
    /// The transaction was carried out after this revision, if at all.
    let start: Int64
    /// It demanded that nothing had changed since `start`: so the first change was its own, or it never succeeded.
    let isFirstChange: Bool

    /// A put, if there is one: its value tells our change from another's. Then one whose key had to be unchanged.
    init?(_ transaction: Transaction, after seen: Int64) {
        var revisions: [Key: Int64] = [:]
        for case .unchanged(let key, let revision) in transaction.preconditions { revisions[key] = revision.number }
        let writes = transaction.lastWrites
        let choices = [
            writes.first { $0.value != nil && revisions[$0.key] != nil }, writes.first { $0.value != nil },
            writes.first { revisions[$0.key] != nil },
        ]
        guard let write = choices.compactMap({ $0 }).first else { return nil }
        self.write = write
        start = revisions[write.key] ?? seen
        isFirstChange = revisions[write.key] != nil
        // Nothing was ever read from this etcd: no point in its history to begin at.
        guard start > 0 else { return nil }
    }

    func matches(_ event: EtcdEvent) -> Bool {
        write.value.map { event.kind == .put && event.kv.value == $0 } ?? (event.kind == .delete)
    }
}

/// The single changes in a watch's answers.
private struct EtcdHistory: AsyncSequence {
    let answers: AsyncThrowingStream<ByteBuffer, any Error>

    struct AsyncIterator: AsyncIteratorProtocol {
        var answers: AsyncThrowingStream<ByteBuffer, any Error>.Iterator
        var events: ArraySlice<EtcdEvent> = []

        mutating func next() async throws -> EtcdEvent? {
            while events.isEmpty {
                guard let bytes = try await answers.next(), let answer = EtcdWatchResponse(bytes) else { return nil }
                if answer.canceled { throw StoreError.compacted }
                events = answer.events[...]
            }
            return events.popFirst()
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(answers: answers.makeAsyncIterator()) }
}

extension EtcdClient {
    /// Whether `transaction`, which was sent before and now meets `conflict`, was carried out then: the history of the
    /// keys it writes tells.
    ///
    /// A change counts as ours when it put our values into all our keys at one revision. That rests on values that
    /// name their writer or cannot be written twice, as those of addresses, endpoints and records do. Where another
    /// wrote the very same values, the store holds what we wanted, and we both say that we did it.
    func settle(
        _ transaction: Transaction, _ conflict: [Key: Entry?], after seen: Int64, _ attempts: Attempts
    ) async throws(StoreError) -> CommitOutcome {
        let unknown = StoreError.outcomeUnknown("the connection broke, and what became of the change cannot be told")
        guard let witness = Witness(transaction, after: seen) else { throw unknown }
        var attempts = attempts
        while true {
            do {
                let deadline = attempts.deadline
                guard let revision = try await revision(of: transaction, by: witness, until: deadline) else {
                    return .conflict(conflict)
                }
                return .committed(Revision(revision))
            } catch let failure as CallFailure {
                do { try await prepareNext(&attempts, after: failure, about: transaction.subject) } catch {
                    throw unknown
                }
            } catch { throw unknown }
        }
    }

    /// When `transaction` was carried out; `nil`: it was not.
    private func revision(
        of transaction: Transaction, by witness: Witness, until deadline: NIODeadline
    ) async throws -> Int64? {
        let key = witness.write.key
        let answer: EtcdRangeResponse = try await read(.range, EtcdRangeRequest(key), about: key.path)
        let present = answer.kvs.first?.modRevision
        if let present, present <= witness.start { return nil }
        for try await event in try await history(of: key, after: witness.start, until: deadline) {
            let revision = event.kv.modRevision
            if witness.matches(event), try await holds(transaction, at: revision) { return revision }
            if witness.isFirstChange { return nil }
            if let present, revision >= present { return nil }
        }
        throw StoreError.unavailable("the history of \(key) ended")
    }

    /// Every change of `key` after `revision`, oldest first. Goes on waiting for further ones until `deadline`.
    private func history(
        of key: Key, after revision: Int64, until deadline: NIODeadline
    ) async throws -> EtcdHistory {
        let request = EtcdWatchRequest.with {
            $0.create.key = key.bytes
            $0.create.startRevision = revision + 1
        }
        let connection = try await endpoints.connection(until: deadline)
        let token = try await token?.value(over: connection)
        let answers = connection.stream(
            .watch, ByteBuffer(framing: request), token: token, until: deadline, bounded: true)
        return EtcdHistory(answers: answers)
    }

    /// Whether all that `transaction` writes was so at `revision`, and written at it.
    private func holds(_ transaction: Transaction, at revision: Int64) async throws -> Bool {
        let writes = transaction.lastWrites
        guard writes.count > 1 else { return true }
        let request = EtcdTxnRequest.with {
            $0.success = writes.map { write in
                .with {
                    $0.range = EtcdRangeRequest(write.key)
                    $0.range.revision = revision
                }
            }
        }
        let answer: EtcdTxnResponse = try await read(.transaction, request, about: transaction.subject)
        return zip(writes, answer.responses).allSatisfy { write, response in
            let pair = response.range.kvs.first
            return write.value.map { pair?.value == $0 && pair?.modRevision == revision } ?? (pair == nil)
        }
    }
}
