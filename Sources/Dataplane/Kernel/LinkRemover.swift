// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import BlockingExecutor
import LinuxNetwork
import Logging

/// Removes links that are done with, many at a time.
///
/// Each removal keeps the kernel's one lock for networks for 15 to 20 ms; a group of links shares that wait. So links
/// are put into a group of their own first and go together a moment later.
actor LinkRemover {
    private let executor = BlockingExecutor(label: "link-removal")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let namespace: NetworkNamespace
    private let logger: Logger
    private var socket: RouteSocket?
    private var conntrack: Conntrack?
    /// Addresses that somebody has again and waits to use.
    private var inherited: Set<IPAddress> = []
    private var nextLook: Task<Void, Never>?

    init(namespace: NetworkNamespace, logger: Logger) {
        self.namespace = namespace
        self.logger = logger
    }

    /// Removes the links in the group, and what connection tracking knows of their addresses. One of the two may fail
    /// without the other.
    /// - Returns: whether all of it is gone.
    func removeLinks(of addresses: Set<IPAddress>) -> Bool {
        let areRemoved = attempt("links of containers that are gone could not be removed") {
            let socket = try socket ?? RouteSocket()
            self.socket = socket
            try socket.perform(.deleteLinks(inGroup: LinkGroup.retired))
        }
        return forgetConnections(of: addresses) && areRemoved
    }

    /// The next container with one of these addresses must not inherit a connection that no rule is asked about any
    /// more.
    /// - Returns: whether the kernel has forgotten them.
    private func forgetConnections(of addresses: Set<IPAddress>) -> Bool {
        attempt("connections of containers that are gone could not be forgotten") {
            let conntrack = try conntrack ?? Conntrack()
            self.conntrack = conntrack
            try conntrack.deleteEntries(of: addresses)
        }
    }

    /// Returns once the connections of `addresses` were looked for. Each look reads the kernel's whole table, so that all
    /// who come while one is under way share the next: its job queues behind their calls.
    func forgetInherited(_ addresses: Set<IPAddress>) async {
        inherited.formUnion(addresses)
        let look = nextLook ?? Task { self.look() }
        nextLook = look
        await look.value
    }

    private func look() {
        nextLook = nil
        _ = forgetConnections(of: inherited)
        inherited = []
    }

    private func attempt(_ failure: String, _ body: () throws -> Void) -> Bool {
        do {
            try namespace.run(body)
            return true
        } catch {
            logger.error("\(failure); trying again soon", metadata: ["error": "\(error)"])
            return false
        }
    }
}

/// Groups of links (`ip link show group N`); the numbers are ours alone.
enum LinkGroup {
    /// "cali" in ASCII.
    static let endpoints: UInt32 = 0x6361_6c69
    /// Waiting to be removed.
    static let retired: UInt32 = 0x6361_6c6a
}
