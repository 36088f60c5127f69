// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation

// The store as the hosts meet it: each operation and each answer takes its own time, and may be lost.

extension Simulation {
    func isDead(_ client: Client) -> Bool { dead.contains(client.id) }

    func get(_ key: Key, by client: Client) async -> Change? {
        await answer(to: client, ifDead: nil) { simulation in
            let change = simulation.keys.entries[key]
            simulation.note(client.name, "get \(key.brief): \(change.map { "@\($0.revision)" } ?? "absent")")
            return change.map(simulation.asRead)
        }
    }

    func list(under prefix: Key, by client: Client) async -> (changes: [Change], revision: Revision) {
        await answer(to: client, ifDead: ([], Revision(0))) { simulation in
            let changes = simulation.keys.list(prefix)
            simulation.note(client.name, "list \(prefix.brief): \(changes.count) @\(simulation.keys.revision)")
            return (changes.map(simulation.asRead), simulation.keys.revision)
        }
    }

    func commit(_ transaction: Transaction, by client: Client) async -> Result<CommitOutcome, StoreError> {
        // Whatever a dead process hears, nobody hears from it; this ends its work soonest.
        await answer(to: client, ifDead: .success(.committed(keys.revision))) { $0.receive(transaction, client) }
    }

    /// A wait whose length chance decides.
    func pause(_ client: Client) async { await answer(to: client, ifDead: ()) { _ in } }

    /// A watch of `client`.
    func watch(
        _ prefix: Key, after revision: Revision, _ continuation: AsyncThrowingStream<[Change], any Error>.Continuation,
        by client: Client
    ) {
        guard !isDead(client) else { return continuation.finish() }
        let position = keys.history.firstIndex { $0.revision > revision } ?? keys.history.count
        watchers.append(
            Watcher(client: client.id, prefix: prefix, continuation: continuation, position: position))
    }

    /// Does `work` when the scheduler says so, and answers when it says so again.
    private func answer<Answer: Sendable>(
        to client: Client, ifDead nothing: Answer, _ work: @escaping @Sendable (isolated Simulation) -> Answer
    ) async -> Answer {
        guard !isDead(client) else { return nothing }
        return await withCheckedContinuation { continuation in
            let request = Step(client: client.id) { simulation in
                let answer = work(simulation)
                if simulation.random.chance(60) { return continuation.resume(returning: answer) }
                simulation.steps.append(
                    Step(client: client.id) { _ in
                        continuation.resume(returning: answer)
                    } forsake: { _ in
                        continuation.resume(returning: nothing)
                    })
            } forsake: { simulation in
                continuation.resume(returning: nothing)
                // What was sent may still arrive.
                guard simulation.random.chance(70) else { return }
                simulation.haunt(client, work)
            }
            steps.append(request)
        }
    }

    /// A message that arrives although nobody waits for its answer any more.
    private func haunt<Answer>(_ client: Client, _ work: @escaping @Sendable (isolated Simulation) -> Answer) {
        counts.ghosts += 1
        steps.append(Step(client: client.id, run: { _ = work($0) }, forsake: nil))
    }

    // MARK: Commits

    private func receive(_ transaction: Transaction, _ client: Client) -> Result<CommitOutcome, StoreError> {
        guard phase == .acting, !isDead(client) else { return .success(carryOut(transaction, client)) }
        if random.chance(scenario.refusals) {
            processes[client.host].isTroubled = true
            note(client.name, "commit \(transaction.brief): refused")
            return .failure(.unavailable("the simulation says no"))
        }
        // A Go client may leave a handle that counts too little when it is not told; nobody could tell it from ours.
        if !client.isGo, random.chance(scenario.silences) { return .failure(fallSilent(transaction, client)) }
        return .success(carryOut(transaction, client))
    }

    private func fallSilent(_ transaction: Transaction, _ client: Client) -> StoreError {
        counts.silences += 1
        note(client.name, "commit \(transaction.brief): no answer")
        switch random.below(3) {
        case 0: _ = carryOut(transaction, client)
        case 1:
            haunt(client) { simulation in
                // So late that it may have been found out to be lost: its preconditions hold again.
                if case .committed = simulation.carryOut(transaction, client) {
                    simulation.processes[client.host].isTroubled = true
                }
            }
        default: break
        }
        return .outcomeUnknown("the simulation does not say")
    }

    func carryOut(_ transaction: Transaction, _ client: Client) -> CommitOutcome {
        judgeConditions(of: transaction, by: client)
        let conflicts = keys.conflicts(of: transaction)
        guard conflicts.isEmpty else {
            counts.conflicts += 1
            note(client.name, "commit \(transaction.brief): conflict at \(conflicts.keys.sorted().map(\.brief))")
            return .conflict(conflicts)
        }
        counts.commits += 1
        let before = keys.entries
        let changes = keys.apply(transaction)
        note(client.name, "commit \(transaction.brief): @\(keys.revision)")
        judge(changes, before: before, by: client)
        return .committed(keys.revision)
    }

    /// A value as somebody reads it who did not write it.
    func asRead(_ change: Change) -> Change {
        scenario.decodes ? Change(key: change.key, value: change.value, revision: change.revision) : change
    }

    // MARK: Watches

    func deliver(to index: Int) {
        let watcher = watchers[index]
        var end = watcher.position + 1 + random.below(keys.history.count - watcher.position)
        // What was committed together arrives together.
        while end < keys.history.count, keys.history[end].revision == keys.history[end - 1].revision { end += 1 }
        let batch = keys.history[watcher.position..<end].filter { watcher.prefix.isPrefix(of: $0.key) }
        watchers[index].position = end
        note(
            processes.lazy.compactMap(\.client).first { $0.id == watcher.client }?.name ?? "?",
            "watch tells up to @\(keys.history[end - 1].revision)")
        guard !batch.isEmpty else { return }
        watcher.continuation.yield(batch.map(asTold))
    }

    private func asTold(_ change: Change) -> Change {
        guard scenario.watchTellsPresentValues else { return asRead(change) }
        let present = keys.entries[change.key]
        return asRead(
            Change(key: change.key, value: present?.value, revision: change.revision, model: present?.model))
    }
}

// MARK: - Words for the trace

extension Key {
    var brief: String {
        String(path.trimmingPrefix("/calico/").trimmingPrefix("ipam/v2/").trimmingPrefix("assignment/"))
    }
}

extension Transaction {
    var brief: String {
        writes.sorted { $0.key < $1.key }.map { write in
            "\(write.value == nil ? "delete" : "put") \(write.key.brief)"
                + (preconditions.first { $0.key == write.key }.map { " if \($0.brief)" } ?? "")
        }.joined(separator: ", ")
    }
}

extension Transaction.Precondition {
    var brief: String {
        switch self {
        case .absent: "absent"
        case .unchanged(_, let revision): "@\(revision)"
        }
    }
}
