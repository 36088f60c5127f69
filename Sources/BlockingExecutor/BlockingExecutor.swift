// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Dispatch

/// A serial executor on a thread of Dispatch's, for actors whose work blocks: SQLite commits, netlink, libnftables.
///
/// Swift's cooperative pool has as many threads as the machine has cores; a blocking call there stalls everybody. An
/// actor that owns such a resource returns one of these from `unownedExecutor`.
public final class BlockingExecutor: SerialExecutor {
    private let queue: DispatchQueue

    /// - Parameter label: names the queue in debuggers and crash reports.
    public init(label: String) {
        queue = DispatchQueue(label: label, qos: .userInitiated)
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { [self] in job.runSynchronously(on: asUnownedSerialExecutor()) }
    }

    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    public func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }
}
