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
        /// A release that nobody waits for: of an address whose caller was told that there is none.
        case undo(Release)
        /// Gives an empty block of this host back, if it still is that. Nobody waits for it.
        case giveBack(CIDR)

        var isAwaited: Bool {
            switch self {
            case .assign, .release: true
            case .undo, .giveBack: false
            }
        }
    }

    private let replica: Replica<ClusterState>
    private let node: String
    private let logger: Logger
    private let surroundings: Surroundings
    private var pending: [(id: Int, work: Work)] = []
    private var nextID = 0
    private var lane: Task<Void, Never>?
    /// Requests whose caller has gone away since they were queued.
    private var abandoned: Set<Int> = []

    /// Between attempts to find out what an absent store has done.
    static let pauseWhileAway = Duration.milliseconds(250)

    public init(
        replica: Replica<ClusterState>, node: String, logger: Logger,
        surroundings: Surroundings = Surroundings()
    ) {
        self.replica = replica
        self.node = node
        self.logger = logger
        self.surroundings = surroundings
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
            Task(executorPreference: surroundings.executor) { await self.abandon(id) }
        }
        abandoned.remove(id)
        let address = try result.get()
        guard !Task.isCancelled else {
            undo(address, request)
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

    /// Gives back a block of this host that is empty; without effect where it is not. Does not wait for the outcome.
    public func giveBack(_ block: CIDR) { enqueue(newID(), .giveBack(block)) }

    private func newID() -> Int {
        nextID += 1
        return nextID
    }

    private func abandon(_ id: Int) {
        if lane != nil { abandoned.insert(id) }
    }

    private func enqueue(_ id: Int, _ work: Work) {
        pending.append((id, work))
        startLane()
    }

    /// Nobody else will ever release this address. It goes before all others: one of them may want it.
    private func undo(_ address: IPAddress, _ request: AddressRequest) {
        let owner = request.owner
        pending.insert((newID(), .undo(Release(address) { $0 == owner })), at: 0)
        startLane()
    }

    private func startLane() {
        if lane == nil { lane = Task(executorPreference: surroundings.executor) { await self.drain() } }
    }

    // MARK: The lane

    private func drain() async {
        while !pending.isEmpty {
            let batch = pending
            pending = []
            await carryOut(batch)
        }
        lane = nil
        abandoned = []
    }

    private func carryOut(_ batch: [(id: Int, work: Work)]) async {
        var live = batch.filter { !abandoned.contains($0.id) }
        for item in batch where abandoned.remove(item.id) != nil { fail(item.work, .abandoned) }
        for attempt in 1...Surroundings.maximumAttempts {
            let draft = Draft(of: live.lazy.map(\.work), plan: makePlan())
            // What one transaction does not take comes first in the next.
            pending.insert(contentsOf: live[draft.outcomes.count...], at: 0)
            live.removeSubrange(draft.outcomes.count...)
            do throws(StoreError) {
                if try await commit(draft.transaction) { return settle(live, draft) }
            } catch {
                guard case .outcomeUnknown = error else { return fail(live, .store(error)) }
                fail(live.filter(\.work.isAwaited), .store(error))
                return await findOut(live, draft)
            }
            // Another host was faster.
            await surroundings.pause(afterLoss: attempt)
        }
        fail(live, .contention(attempts: Surroundings.maximumAttempts))
    }

    /// The callers were told that it failed, yet the transaction may have been carried out, or may yet be. Committing
    /// it once more decides: either now or then its preconditions were true, not both. What it assigned is undone.
    ///
    /// Until then no other plan can be made: its requests fail as this one did.
    private func findOut(_ batch: [(id: Int, work: Work)], _ draft: Draft) async {
        while true {
            do throws(StoreError) {
                _ = try await commit(draft.transaction)
                break
            } catch {
                failPending(.store(error))
                await surroundings.pause(Self.pauseWhileAway...Self.pauseWhileAway)
            }
        }
        for (work, outcome) in zip(batch.map(\.work), draft.outcomes) {
            switch (work, outcome) {
            case (.assign(let request, _), .assigned(let address)): undo(address, request)
            // If it was carried out, once more does no harm.
            case (.undo, _): pending.insert((newID(), work), at: 0)
            default: break
            }
        }
    }

    private func makePlan() -> AllocationPlan {
        AllocationPlan(state: replica.snapshot, node: node, now: surroundings.now())
    }

    private func commit(_ transaction: Transaction) async throws(StoreError) -> Bool {
        guard !transaction.writes.isEmpty else { return true }
        guard case .conflict(let present) = try await replica.commit(transaction) else { return true }
        logger.debug("address commit lost a race", metadata: ["keys": "\(present.keys.map(\.path))"])
        return false
    }

    private func settle(_ batch: [(id: Int, work: Work)], _ draft: Draft) {
        for (item, outcome) in zip(batch, draft.outcomes) {
            switch (item.work, outcome) {
            case (.assign(_, let answer), .assigned(let address)): answer.resume(returning: .success(address))
            case (.release(_, let answer), .released(let owner)): answer.resume(returning: .success(owner))
            case (.undo, .released), (.giveBack, .gaveBack): break
            case (let work, .failed(let error)): fail(work, error)
            default: preconditionFailure("an outcome belongs to another request")
            }
        }
    }

    private func fail(_ batch: [(id: Int, work: Work)], _ error: IPAMError) {
        for item in batch { fail(item.work, error) }
    }

    private func fail(_ work: Work, _ error: IPAMError) {
        switch work {
        case .assign(_, let answer): answer.resume(returning: .failure(error))
        case .release(_, let answer): answer.resume(returning: .failure(error))
        case .undo(let release):
            logger.warning(
                "an abandoned address was not given back and waits for reconciliation",
                metadata: ["address": "\(release.address)", "error": "\(error)"])
        case .giveBack(let block):
            logger.debug("an empty block stays", metadata: ["block": "\(block)", "error": "\(error)"])
        }
    }

    private func failPending(_ error: IPAMError) {
        let waiting = pending.filter(\.work.isAwaited)
        pending.removeAll(where: \.work.isAwaited)
        fail(waiting, error)
    }

    /// What one attempt would do and answer.
    private struct Draft {
        enum Outcome {
            case assigned(IPAddress)
            case released(AllocationAttributes?)
            case gaveBack
            case failed(IPAMError)
        }

        let transaction: Transaction
        /// Of the first works, as many as one transaction takes.
        let outcomes: [Outcome]

        init(of works: some Sequence<Work>, plan: consuming AllocationPlan) {
            var outcomes: [Outcome] = []
            for work in works {
                guard plan.hasRoom else { break }
                outcomes.append(Draft.step(work, &plan))
            }
            self.outcomes = outcomes
            transaction = plan.transaction
        }

        private static func step(_ work: Work, _ plan: inout AllocationPlan) -> Outcome {
            // A failed step must leave no trace in the plan the others share.
            var trial = plan
            do throws(IPAMError) {
                let outcome = try carryOut(work, &trial)
                plan = trial
                return outcome
            } catch {
                return .failed(error)
            }
        }

        private static func carryOut(_ work: Work, _ plan: inout AllocationPlan) throws(IPAMError) -> Outcome {
            switch work {
            case .assign(let request, _): return .assigned(try plan.assign(request))
            case .release(let release, _), .undo(let release):
                return .released(try plan.release(release.address, if: release.isAllowed))
            case .giveBack(let block):
                try plan.giveBack(block)
                return .gaveBack
            }
        }
    }
}
