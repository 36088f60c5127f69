// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import LinuxNetwork

/// Runs `body` on a thread of its own in a new network namespace with `lo` up. The namespace lives as long as that
/// thread and the sockets made in it. Needs root; without it the test fails.
public func inNewNetworkNamespace<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await onThread {
        try enterNewNetworkNamespace()
        return try body()
    }
}

/// Puts the calling thread, and all that it starts, into a new network namespace with `lo` up.
public func enterNewNetworkNamespace() throws {
    try unshare(0x4000_0000)  // CLONE_NEWNET
    try RouteSocket().perform(.setLink(index: 1, up: true))
}
