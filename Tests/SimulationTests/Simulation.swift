// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM
import Synchronization

/// One seed's run: a store, some hosts, and a scheduler that lets one thing happen at a time.
///
/// Every operation on the store waits in `steps` until chance picks it, and so does its answer; in between, others
/// act, watches deliver, processes die. All code runs on one executor, all time and chance come from here: the same
/// seed gives the same run.
actor Simulation {
    /// One life of one process.
    struct Client: Sendable {
        let id: Int
        let host: Int
        let name: String
        let isGo: Bool
    }

    /// Something that can happen next.
    struct Step {
        let client: Int
        let run: @Sendable (isolated Simulation) -> Void
        /// What happens to it when its process dies; `nil` for what is on its way in any case.
        let forsake: (@Sendable (isolated Simulation) -> Void)?
    }

    /// Changes on their way to one replica.
    struct Watcher {
        let client: Int
        let prefix: Key
        let continuation: AsyncThrowingStream<[Change], any Error>.Continuation
        /// How much of the history it has been told.
        var position: Int
    }

    /// What a host runs at the moment.
    struct Process {
        let plan: Scenario.Host
        var client: Client?
        var plugin: PluginHost?
        var follower: Task<Void, Never>?
        var requestsUnderWay = 0
        /// It met a fault that may have kept it from cleaning up.
        var isTroubled = false
        var isReady = false
    }

    enum Phase { case acting, settling, over }

    nonisolated let executor = SimulationExecutor()
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.serial.asUnownedSerialExecutor() }
    nonisolated let scenario: Scenario
    nonisolated let clock = Mutex(Date(timeIntervalSince1970: 1_800_000_000))
    nonisolated let isTracing: Bool

    var random: SeededRandom
    var keys = StoredKeys()
    var ledger = Ledger()
    var phase = Phase.acting
    var steps: [Step] = []
    var watchers: [Watcher] = []
    /// Who wrote, or deleted, a key last.
    var lastWriters: [Key: Client] = [:]
    /// Each block under every number it has had, through all its lives.
    var numbered: [CIDR: [UInt64: IPAMBlock]] = [:]
    var processes: [Process] = []
    var dead: Set<Int> = []
    /// How fast each process's messages and its watch travel: the slow ones meet an older world.
    var speeds: [Int: (messages: Int, watch: Int)] = [:]
    /// Callers that may still change their mind.
    var cancellable: [(id: String, task: Task<Void, Never>)] = []
    var actionsLeft: Int
    var stepsTaken = 0
    var nextClient = 0
    var nextRequest = 0
    private(set) var violation: String?
    private(set) var trace: [String] = []
    var counts = Counts()

    /// How often what happened, so that a test can show that it does happen.
    struct Counts: Sendable {
        var commits = 0, conflicts = 0, crashes = 0, ghosts = 0, silences = 0
        var assigned = 0, refused = 0, reclaimed = 0, borrowed = 0, remade = 0, locks = 0,
            requeued = 0, abandoned = 0

        /// What did not happen at all.
        var never: [String] {
            Mirror(reflecting: self).children.compactMap { $0.value as? Int == 0 ? $0.label : nil }
        }

        static func + (a: Counts, b: Counts) -> Counts {
            Counts(
                commits: a.commits + b.commits, conflicts: a.conflicts + b.conflicts, crashes: a.crashes + b.crashes,
                ghosts: a.ghosts + b.ghosts, silences: a.silences + b.silences, assigned: a.assigned + b.assigned,
                refused: a.refused + b.refused, reclaimed: a.reclaimed + b.reclaimed,
                borrowed: a.borrowed + b.borrowed, remade: a.remade + b.remade, locks: a.locks + b.locks,
                requeued: a.requeued + b.requeued, abandoned: a.abandoned + b.abandoned)
        }
    }

    init(seed: UInt64, scenario: Scenario, isTracing: Bool) {
        self.scenario = scenario
        self.isTracing = isTracing
        random = SeededRandom(seed: seed)
        actionsLeft = scenario.actions
    }

    /// The time as a process reads it. A microsecond passes with each reading: no two see the same, as is true of real
    /// clocks, on which the first numbers of blocks rest.
    nonisolated var now: Date {
        clock.withLock { clock in
            clock.addTimeInterval(0.000_001)
            return clock
        }
    }

    func fail(_ words: String) {
        guard violation == nil else { return }
        violation = words
        note("VIOLATION", words)
    }

    func check(_ words: String?) { if let words { fail(words) } }

    func note(_ who: @autoclosure () -> String, _ what: @autoclosure () -> String) {
        guard isTracing else { return }
        // Not `now`: a run with a trace must be the same run.
        let seconds = clock.withLock { $0.timeIntervalSince1970 } - 1_800_000_000
        trace.append(String(format: "%5d %9.3fs  ", stepsTaken, seconds) + "\(who()): \(what())")
    }

    func advance(milliseconds: Int) { clock.withLock { $0.addTimeInterval(Double(milliseconds) / 1000) } }
}

// MARK: - Scheduling

extension Simulation {
    private enum Choice {
        case step(Int)
        case deliver(Int)
        case act(Int)
        case start(Int)
        case cancel(Int)
    }

    /// Lets one thing happen.
    ///
    /// - Returns: false when the run is over.
    func step() -> Bool {
        guard violation == nil, phase != .over else { return false }
        stepsTaken += 1
        guard stepsTaken < 20_000 else {
            fail("the hosts do not come to rest")
            return false
        }
        advance(milliseconds: random.below(20))
        if phase == .acting { meetMishaps() }
        let choices = self.choices()
        guard let choice = pick(choices) else { return enterNextPhase() }
        carryOut(choice)
        return true
    }

    private func choices() -> [(choice: Choice, weight: Int)] {
        var choices: [(Choice, Int)] = []
        for (index, step) in steps.enumerated() { choices.append((.step(index), speeds[step.client]?.messages ?? 8)) }
        for (index, watcher) in watchers.enumerated() where watcher.position < keys.history.count {
            choices.append((.deliver(index), speeds[watcher.client]?.watch ?? 4))
        }
        guard phase == .acting else { return choices }
        for (index, process) in processes.enumerated() {
            if process.client == nil {
                choices.append((.start(index), 4))
            } else if process.isReady, actionsLeft > 0, process.requestsUnderWay < scenario.inFlight {
                choices.append((.act(index), 8))
            }
        }
        for index in cancellable.indices { choices.append((.cancel(index), 4)) }
        return choices
    }

    private func pick(_ choices: [(choice: Choice, weight: Int)]) -> Choice? {
        let total = choices.reduce(0) { $0 + $1.weight }
        guard total > 0 else { return nil }
        var rest = random.below(total)
        for (choice, weight) in choices {
            if rest < weight { return choice }
            rest -= weight
        }
        return nil
    }

    private func carryOut(_ choice: Choice) {
        switch choice {
        case .step(let index): steps.remove(at: index).run(self)
        case .deliver(let index): deliver(to: index)
        case .act(let index): act(index)
        case .start(let index): start(index)
        case .cancel(let index):
            let (id, task) = cancellable.remove(at: index)
            guard ledger[id] == .open else { return }
            ledger[id] = .cancelled
            note(id, "its caller goes away")
            task.cancel()
        }
    }

    private func meetMishaps() {
        if random.below(1000) < scenario.crashes {
            let alive = processes.indices.filter { processes[$0].client != nil }
            if !alive.isEmpty { crash(random.pick(alive)) }
        }
        if random.below(1000) < scenario.leaps { advance(milliseconds: 1000 * (20 + random.below(60))) }
        if scenario.isAdministered, random.below(1000) < 15 { administer() }
    }

    /// Nothing is left to do: the run is over, or begins to settle.
    private func enterNextPhase() -> Bool {
        switch phase {
        case .acting:
            // All are to hear of it before they make good what is half done.
            guard !isLocked else {
                setLocked(false)
                return true
            }
            phase = .settling
            cancellable = []
            checkLeftovers()
            settle()
            return violation == nil
        case .settling:
            phase = .over
            checkFinalState()
            for process in processes { process.follower?.cancel() }
            return false
        case .over: return false
        }
    }
}
