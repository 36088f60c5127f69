// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Glibc
import Synchronization

/// One thread that does what it is told, until it is let go. For what belongs to a thread: its namespaces, and what it
/// starts in them.
public final class ThreadLane: Sendable {
    public typealias Work = @Sendable () -> Void

    private final class Queue: Sendable {
        private let works = Mutex<[Work?]>([])
        private let signal = DispatchSemaphore(value: 0)

        /// `nil` ends the thread.
        func add(_ work: Work?) {
            works.withLock { $0.append(work) }
            signal.signal()
        }

        func next() -> Work? {
            signal.wait()
            return works.withLock { $0.removeFirst() }
        }
    }

    private let queue = Queue()

    public init() {
        Thread.detachNewThread { [queue] in
            while let work = queue.next() { work() }
        }
    }

    deinit { queue.add(nil) }

    public func perform(_ work: @escaping Work) { queue.add(work) }

    public func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            perform { continuation.resume(with: Result { try body() }) }
        }
    }
}

/// Runs what blocks on a thread of its own: Swift's own threads are as few as the machine's cores.
public func onThread<Value: Sendable, Failure: Error>(
    _ body: @escaping @Sendable () throws(Failure) -> Value
) async throws(Failure) -> Value {
    let result = await withCheckedContinuation { continuation in
        Thread.detachNewThread { continuation.resume(returning: Result(catching: body)) }
    }
    return try result.get()
}

/// A call of the system that did not do what a test needs.
public struct SystemCallFailure: Error, CustomStringConvertible {
    public let description: String

    public init(_ call: String, errno number: Int32 = errno) {
        description = "\(call): \(String(cString: strerror(number)))"
    }
}

/// `unshare -n`, `-m`: gives the calling thread namespaces of its own. Needs root.
/// - Parameter flags: CLONE_NEW…, `<linux/sched.h>`
public func unshare(_ flags: Int32) throws {
    // Glibc's Swift module leaves out unshare, which <sched.h> declares for _GNU_SOURCE only.
    let unshare = unsafeBitCast(dlsym(nil, "unshare"), to: (@convention(c) (Int32) -> Int32).self)
    guard unshare(flags) == 0 else { throw SystemCallFailure("unshare (are you root?)") }
}
