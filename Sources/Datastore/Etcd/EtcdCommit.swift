// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import NIOCore

// A commit whose answer is lost is sent again: the very same transaction, to whichever member answers.
//
// Call the first sending A and the repetition B. Where the transaction writes a key that it has a precondition on, at
// most one of the two succeeds: the first to succeed changes that key and so makes the precondition of the other
// false. A key's revision never returns to an earlier value, so `unchanged` then stays false for ever, however late A
// arrives; `absent` stays false until somebody deletes the key. So:
// - B succeeds: A did not and, but for that deletion, never will. B's revision is the answer.
// - B meets a conflict: either A succeeded, or somebody else changed the keys. What the keys hold now does not tell,
//   for others may have built upon A's change already; their history does, and is asked (`settle`).
// - B brings no answer before the deadline: `outcomeUnknown`.
// Without such a precondition both may succeed, which puts the same values twice: to the caller the same.

extension EtcdClient {
    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        let message = ByteBuffer(framing: EtcdTxnRequest(transaction))
        let before = newestRevision
        var attempts = Attempts(within: limit)
        var mayHaveRun = false
        while true {
            switch await attempt(.transaction, message, until: attempts.nextDeadline) {
            case .success(let bytes):
                guard let answer = EtcdTxnResponse(bytes) else {
                    throw .outcomeUnknown("etcd's answer is not one of etcd v3")
                }
                saw(answer.header)
                if answer.succeeded { return .committed(Revision(answer.header.revision)) }
                let conflict = answer.conflict(of: transaction)
                guard mayHaveRun else { return .conflict(conflict) }
                return try await settle(transaction, conflict, after: before, attempts)
            case .failure(let failure):
                mayHaveRun = mayHaveRun || failure.mayHaveRun
                do throws(StoreError) {
                    try await prepareNext(&attempts, after: failure, about: transaction.subject)
                } catch {
                    throw mayHaveRun ? .outcomeUnknown(error.reason) : error
                }
            }
        }
    }
}

extension StoreError {
    /// Without the words that say of which kind it is.
    var reason: String {
        switch self {
        case .unavailable(let reason), .outcomeUnknown(let reason), .full(let reason), .corrupt(let reason): reason
        case .compacted: description
        }
    }
}
