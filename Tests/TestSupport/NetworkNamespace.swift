// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc
import LinuxNetwork

/// Runs `body` on a thread of its own in a new network namespace with `lo` up. The namespace lives as long as that
/// thread and the sockets made in it. Needs root; without it the test fails.
public func inNewNetworkNamespace<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        let box = Unmanaged.passRetained(
            Work {
                continuation.resume(
                    with: Swift.Result {
                        try enterNewNetworkNamespace()
                        return try body()
                    })
            })
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, box.toOpaque())
        precondition(result == 0, "pthread_create: \(result)")
        pthread_detach(thread)
    }
}

private func enterNewNetworkNamespace() throws {
    // Glibc's Swift module leaves out unshare, which <sched.h> declares for _GNU_SOURCE only.
    let unshare = unsafeBitCast(dlsym(nil, "unshare"), to: (@convention(c) (Int32) -> Int32).self)
    let cloneNewNetwork: Int32 = 0x4000_0000  // CLONE_NEWNET, <linux/sched.h>
    guard unshare(cloneNewNetwork) == 0 else {
        throw NetlinkError.system(call: "unshare (are you root?)", errno: errno)
    }
    try RouteSocket().perform(.setLink(index: 1, up: true))
}

private final class Work: Sendable {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) {
        self.run = run
    }
}
