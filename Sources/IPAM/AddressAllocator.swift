// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing
public import CalicoModel
public import Datastore
import FoundationEssentials
public import Logging

/// The one place where requests for addresses meet.
///
/// While a commit is under way, later requests and releases gather, and the next commit carries them all. So one
/// request costs one commit, a crowd costs fewer than one each, and two requests of this host never race for a block.
/// A conflict with another host re-reads what changed and plans the whole batch anew.
public actor AddressAllocator {
    /// A release that was asked for.
    public struct Release: Sendable {
        public let address: IPAddress
        /// Whether the present holder may lose the address; asked again on every attempt.
        public let isAllowed: @Sendable (AllocationAttributes) -> Bool

        public init(_ address: IPAddress, if isAllowed: @escaping @Sendable (AllocationAttributes) -> Bool) {
            self.address = address
            self.isAllowed = isAllowed
        }
    }

    private enum Work {
        case assign(AddressRequest, CheckedContinuation<Result<IPAddress, IPAMError>, Never>)
        case release(Release, CheckedContinuation<Result<AllocationAttributes?, IPAMError>, Never>)

        func fail(_ error: IPAMError) {
            switch self {
            case .assign(_, let answer): answer.resume(returning: .failure(error))
            case .release(_, let answer): answer.resume(returning: .failure(error))
            }
        }
    }

    private let store: any KeyValueStore
    private let replica: Replica<ClusterState>
    private let node: String
    private let logger: Logger
    private var pending: [(id: Int, work: Work)] = []
    private var nextID = 0
    private var lane: Task<Void, Never>?
    /// Requests whose caller has gone away since they were queued.
    private var abandoned: Set<Int> = []

    /// libcalico-go's `datastoreRetries`.
    static let maximumAttempts = 100
    /// etcd accepts 128 operations in a transaction; one request needs at most 4 writes and 5 preconditions.
    static let batchLimit = 24

    public init(store: any KeyValueStore, replica: Replica<ClusterState>, node: String, logger: Logger) {
        self.store = store
        self.replica = replica
        self.node = node
        self.logger = logger
    }

    /// Takes an address.
    ///
    /// - Throws: `IPAMError.abandoned` where the caller was cancelled meanwhile; the address is then given back, after
    ///   the call has returned.
    public func assign(_ request: AddressRequest) async throws(IPAMError) -> IPAddress {
        let id = newID()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { enqueue(id, .assign(request, $0)) }
        } onCancel: {
            Task { await self.abandon(id) }
        }
        abandoned.remove(id)
        let address = try result.get()
        guard !Task.isCancelled else {
            giveBack(address, request)
            throw .abandoned
        }
        return address
    }

    /// Frees an address and says who held it; `nil` where nobody did, or the holder may not lose it.
    @discardableResult
    public func release(_ release: Release) async throws(IPAMError) -> AllocationAttributes? {
        let id = newID()
        let result = await withCheckedContinuation { enqueue(id, .release(release, $0)) }
        return try result.get()
    }

    private func newID() -> Int {
        nextID += 1
        return nextID
    }

    private func abandon(_ id: Int) {
        if lane != nil { abandoned.insert(id) }
    }

    private func enqueue(_ id: Int, _ work: Work) {
        pending.append((id, work))
        if lane == nil { lane = Task { await self.drain() } }
    }

    // MARK: The lane

    private func drain() async {
        while !pending.isEmpty {
            let batch = Array(pending.prefix(Self.batchLimit))
            pending.removeFirst(batch.count)
            await carryOut(batch)
        }
        lane = nil
        abandoned = []
    }

    private func carryOut(_ batch: [(id: Int, work: Work)]) async {
        let live = batch.filter { !abandoned.contains($0.id) }
        for item in batch where abandoned.remove(item.id) != nil { item.work.fail(.abandoned) }
        for attempt in 1...Self.maximumAttempts {
            let draft = Draft(of: live.map(\.work), plan: makePlan())
            do {
                if try await commit(draft.transaction) { return settle(live, draft) }
            } catch {
                return fail(live, .store(error))
            }
            // Another host was faster. Some jitter keeps two losers from meeting again.
            if attempt > 1 { try? await Task.sleep(for: .milliseconds(Int.random(in: 0...min(attempt * 2, 50)))) }
        }
        fail(live, .contention(attempts: Self.maximumAttempts))
    }

    private func makePlan() -> AllocationPlan {
        AllocationPlan(state: replica.snapshot, node: node, now: .now)
    }

    private func commit(_ transaction: Transaction) async throws(StoreError) -> Bool {
        guard !transaction.writes.isEmpty else { return true }
        switch try await store.commit(transaction) {
        case .committed(let revision):
            replica.observe(transaction.changes(at: revision))
            return true
        case .conflict(let present):
            logger.debug("address commit lost a race", metadata: ["keys": "\(present.keys.map(\.path))"])
            replica.observe(conflict: present)
            return false
        }
    }

    private func settle(_ batch: [(id: Int, work: Work)], _ draft: Draft) {
        for (item, outcome) in zip(batch, draft.outcomes) {
            switch (item.work, outcome) {
            case (.assign(_, let answer), .assigned(let address)):
                answer.resume(returning: .success(address))
            case (.release(_, let answer), .released(let owner)): answer.resume(returning: .success(owner))
            case (let work, .failed(let error)): work.fail(error)
            default: preconditionFailure("an outcome belongs to another request")
            }
        }
    }

    /// The caller went away while the commit ran: nobody will ever release this address but us.
    private func giveBack(_ address: IPAddress, _ request: AddressRequest) {
        let owner = request.owner
        Task {
            do {
                try await release(Release(address) { $0 == owner })
            } catch {
                logger.warning(
                    "an abandoned address was not given back and waits for reconciliation",
                    metadata: ["address": "\(address)", "error": "\(error)"])
            }
        }
    }

    private func fail(_ batch: [(id: Int, work: Work)], _ error: IPAMError) {
        for item in batch { item.work.fail(error) }
    }

    /// What one attempt would do and answer.
    private struct Draft {
        enum Outcome {
            case assigned(IPAddress)
            case released(AllocationAttributes?)
            case failed(IPAMError)
        }

        let transaction: Transaction
        let outcomes: [Outcome]

        init(of works: [Work], plan: consuming AllocationPlan) {
            var outcomes: [Outcome] = []
            for work in works { outcomes.append(Draft.step(work, &plan)) }
            self.outcomes = outcomes
            transaction = plan.transaction
        }

        private static func step(_ work: Work, _ plan: inout AllocationPlan) -> Outcome {
            // A failed step must leave no trace in the plan the others share.
            var trial = plan
            do throws(IPAMError) {
                let outcome: Outcome =
                    switch work {
                    case .assign(let request, _): .assigned(try trial.assign(request))
                    case .release(let release, _):
                        .released(try trial.release(release.address, if: release.isAllowed))
                    }
                plan = trial
                return outcome
            } catch {
                return .failed(error)
            }
        }
    }
}
