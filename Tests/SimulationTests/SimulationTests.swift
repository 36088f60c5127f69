// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Synchronization
import TestSupport
import Testing

/// Seeds from `SIMULATION_SEEDS` (how many) or `SIMULATION_SEED` (just this one, with its trace).
private enum Seeds {
    static let environment = ProcessInfo.processInfo.environment
    static let one = environment["SIMULATION_SEED"].flatMap(UInt64.init)
    static let count = environment["SIMULATION_SEEDS"].flatMap(UInt64.init) ?? 10_000
}

@Suite struct `Simulation of hosts that share a datastore` {
    @Test(.enabled(if: Seeds.one == nil, "SIMULATION_SEED asks for one seed only")) func `no seed breaks an invariant`()
        async
    {
        let (failed, counts, finished) = await playAll(Seeds.count)
        print("\(finished) seeds: \(counts)")
        for verdict in failed.prefix(3) { Issue.record("\(await verdict.report())") }
        guard failed.isEmpty else { return }
        #expect(finished == Seeds.count)
        // What never happens is not tested.
        if finished >= 1000 { #expect(counts.never.isEmpty) }
        #expect(counts.requeued * 100 < counts.commits)
    }

    @Test(.enabled(if: Seeds.one != nil, "a tool: SIMULATION_SEED names the seed to replay"))
    func `one seed, with its trace`() async {
        let verdict = await Simulation.play(seed: Seeds.one ?? 0, isTracing: true)
        print(verdict.trace.joined(separator: "\n"))
        if let violation = verdict.violation { Issue.record("\(violation)") }
    }

    @Test func `a seed played again takes the same steps`() async {
        for seed: UInt64 in 1...20 {
            let first = await Simulation.play(seed: seed, isTracing: true)
            let second = await Simulation.play(seed: seed, isTracing: true)
            #expect(first.trace == second.trace)
        }
    }
}

extension Verdict {
    fileprivate func report() async -> String {
        let again = await Simulation.play(seed: seed, isTracing: true)
        return """
            seed \(seed): \(violation ?? "")
            \(again.violation == violation ? "" : "played again it says: \(again.violation ?? "nothing")")
            \(again.trace.suffix(40).joined(separator: "\n"))
            Replay it with: SIMULATION_SEED=\(seed) make test FILTER=Simulation
            """
    }
}

/// Plays seeds 1 to `count`, on as many threads as there are processors, each simulation on one of them; stops at the
/// third that fails.
private func playAll(_ count: UInt64) async -> (failed: [Verdict], counts: Simulation.Counts, finished: UInt64) {
    struct Progress {
        var next: UInt64 = 1
        var finished: UInt64 = 0
        var failed: [Verdict] = []
        var counts = Simulation.Counts()
    }
    let progress = Mutex(Progress())
    let play: @Sendable () -> Void = {
        while true {
            let seed = progress.withLock { progress -> UInt64? in
                guard progress.next <= count, progress.failed.count < 3 else { return nil }
                progress.next += 1
                return progress.next - 1
            }
            guard let seed else { return }
            let verdict = Simulation.run(seed: seed)
            progress.withLock { progress in
                progress.finished += 1
                progress.counts = progress.counts + verdict.counts
                if verdict.violation != nil { progress.failed.append(verdict) }
            }
        }
    }
    await withTaskGroup(of: Void.self) { group in
        for _ in 0..<ProcessInfo.processInfo.activeProcessorCount { group.addTask { await onThread(play) } }
    }
    return progress.withLock { ($0.failed.sorted { $0.seed < $1.seed }, $0.counts, $0.finished) }
}
