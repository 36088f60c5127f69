// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Synchronization

/// Runs all jobs of one simulation on the thread that pumps it, in the order in which they became ready.
///
/// Nothing else decides an order: between two steps of the simulation's scheduler, every task runs until it waits.
/// The simulation itself is an actor on ``serial``; everybody else's tasks prefer ``tasks``. Both share one queue.
struct SimulationExecutor: Sendable {
    let serial: Serial
    let tasks: Tasks
    private let queue: Queue

    init() {
        queue = Queue()
        serial = Serial(queue: queue)
        tasks = Tasks(queue: queue)
    }

    /// Runs jobs until none is ready. To be called from one thread only, and not from a task.
    func drain() {
        while let (job, isSerial) = queue.take() {
            if isSerial {
                job.runSynchronously(on: serial.asUnownedSerialExecutor())
            } else {
                job.runSynchronously(on: tasks.asUnownedTaskExecutor())
            }
        }
    }

    /// Starts a task that runs here, and all it awaits and starts.
    @discardableResult
    func start(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        Task(executorPreference: tasks, priority: .medium) { await body() }
    }

    final class Queue: Sendable {
        private struct Jobs {
            var list: [(UnownedJob, isSerial: Bool)] = []
            var next = 0
        }

        private let jobs = Mutex(Jobs())

        func add(_ job: UnownedJob, isSerial: Bool) { jobs.withLock { $0.list.append((job, isSerial)) } }

        func take() -> (UnownedJob, isSerial: Bool)? {
            jobs.withLock { jobs in
                guard jobs.next < jobs.list.count else {
                    jobs.list.removeAll(keepingCapacity: true)
                    jobs.next = 0
                    return nil
                }
                jobs.next += 1
                return jobs.list[jobs.next - 1]
            }
        }
    }

    final class Serial: SerialExecutor {
        private let queue: Queue
        init(queue: Queue) { self.queue = queue }

        func enqueue(_ job: consuming ExecutorJob) { queue.add(UnownedJob(job), isSerial: true) }
        /// The pumping thread is the only one to run anything here.
        func checkIsolated() {}
    }

    final class Tasks: TaskExecutor {
        private let queue: Queue
        init(queue: Queue) { self.queue = queue }

        func enqueue(_ job: consuming ExecutorJob) { queue.add(UnownedJob(job), isSerial: false) }
    }
}
