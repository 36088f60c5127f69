// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import CalicoModel
public import Datastore

// What holds for every write to Calico's data, be it of addresses or of endpoints and networks.

extension ClusterState {
    /// A value that exists but says nothing to us is nobody's to overwrite.
    public func checkReadable(_ key: @autoclosure () -> Key) throws(IPAMError) {
        guard !unreadable.isEmpty else { return }
        let key = key()
        if let reason = unreadable[key] { throw .unreadable(key, reason) }
    }

    /// The proof that the datastore was not locked meanwhile: every transaction contains it.
    ///
    /// - Throws: `IPAMError.locked`, or `.unreadable` where nobody can say.
    public func provingUnlocked() throws(IPAMError) -> Transaction.Precondition {
        let key = Key.clusterInformation
        try checkReadable(key)
        guard isReady else { throw .locked }
        return .asSeen(key, clusterInformation?.revision)
    }
}

extension Replica<ClusterState> {
    /// Commits what `plan` makes of the present state, with the proof that the datastore is not locked; again after each
    /// conflict. Nothing to write is done.
    ///
    /// - Parameter ifInDoubt: learns of the transaction that the datastore got and did not answer.
    /// - Returns: whether anything was written.
    /// - Throws: what `plan` throws, `StoreError`, or `IPAMError`: `.locked`, `.unreadable` for a value that the plan
    ///   relies on, `.contention` where conflicts do not end.
    @discardableResult
    public func commit(
        ifInDoubt: (Transaction) -> Void = { _ in }, _ plan: (borrowing ClusterState) throws -> sending Transaction?
    ) async throws -> Bool {
        let surroundings = Surroundings()
        for attempt in 1...Surroundings.maximumAttempts {
            let planned = try read { state -> sending Transaction? in
                let unlocked = try state.provingUnlocked()
                guard var transaction = try plan(state), !transaction.writes.isEmpty else { return nil }
                // It would be in conflict for ever.
                for precondition in transaction.preconditions { try state.checkReadable(precondition.key) }
                transaction.preconditions.append(unlocked)
                return transaction
            }
            guard let transaction = planned else { return false }
            do throws(StoreError) {
                if case .committed = try await commit(transaction) { return true }
            } catch {
                if case .outcomeUnknown = error { ifInDoubt(transaction) }
                throw error
            }
            await surroundings.pause(afterLoss: attempt)
        }
        throw IPAMError.contention(attempts: Surroundings.maximumAttempts)
    }
}
