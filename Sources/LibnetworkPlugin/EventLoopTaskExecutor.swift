// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import NIOCore
import NIOPosix

/// Runs tasks on an event loop, between its own work: a request, its commit to etcd and its answer then stay on one
/// thread, where each step would otherwise wake another. Nothing that blocks or computes for long may run here.
public final class EventLoopTaskExecutor: TaskExecutor {
    public let loop: any EventLoop

    /// On one of the process's event loops.
    public init() { loop = MultiThreadedEventLoopGroup.singleton.next() }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { [self] in job.runSynchronously(on: asUnownedTaskExecutor()) }
    }
}
