// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import TestSupport

/// What a seed's run came to.
struct Verdict: Sendable {
    let seed: UInt64
    let violation: String?
    let trace: [String]
    let steps: Int
    let counts: Simulation.Counts
}

extension Simulation {
    static func play(seed: UInt64, isTracing: Bool = false) async -> Verdict {
        await onThread { run(seed: seed, isTracing: isTracing) }
    }

    /// Plays one seed to its end, on this thread, which must not be one of Swift's: a task's jobs cannot be pumped
    /// from within another task.
    static func run(seed: UInt64, isTracing: Bool = false) -> Verdict {
        let simulation = Simulation(seed: seed, scenario: Scenario(seed: seed), isTracing: isTracing)
        simulation.assumeIsolated { $0.populate() }
        repeat { simulation.executor.drain() } while simulation.assumeIsolated { $0.step() }
        // What still waits has been told that all is over.
        simulation.executor.drain()
        return simulation.assumeIsolated { simulation in
            Verdict(
                seed: seed, violation: simulation.violation, trace: simulation.trace, steps: simulation.stepsTaken,
                counts: simulation.counts)
        }
    }
}
