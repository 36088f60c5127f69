// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc
import LinuxNetwork

/// The network namespace in which the dataplane works: this process's, or, in tests, one of their own.
///
/// A namespace belongs to a thread, and Dispatch chooses the thread, so each piece of work enters it and leaves it
/// again.
public final class NetworkNamespace: Sendable {
    /// This process's.
    public static let own = NetworkNamespace(descriptor: nil)
    private let descriptor: Int32?

    /// - Parameter descriptor: an open `/proc/…/ns/net`, closed with this object.
    public init(descriptor: Int32?) { self.descriptor = descriptor }

    deinit { if let descriptor { close(descriptor) } }

    /// Runs `body` on this thread, in this namespace.
    public func run<Result>(_ body: () throws -> Result) throws -> Result {
        guard let descriptor else { return try body() }
        let home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
        guard home >= 0 else { throw NetlinkError.system(call: "open /proc/thread-self/ns/net", errno: errno) }
        defer { close(home) }
        try Self.enter(descriptor)
        // A thread that cannot go home must not serve others.
        defer { if (try? Self.enter(home)) == nil { fatalError("cannot return to the network namespace") } }
        return try body()
    }

    private static func enter(_ descriptor: Int32) throws {
        guard setns(descriptor, cloneNewNetwork) == 0 else { throw NetlinkError.system(call: "setns", errno: errno) }
    }

    private static let cloneNewNetwork: Int32 = 0x4000_0000  // CLONE_NEWNET, <linux/sched.h>
    // <sched.h> declares setns for _GNU_SOURCE only, so Swift's Glibc leaves it out.
    private static let setns = unsafeBitCast(dlsym(nil, "setns"), to: (@convention(c) (Int32, Int32) -> Int32).self)
}
