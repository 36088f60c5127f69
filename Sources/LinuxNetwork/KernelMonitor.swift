// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc
import Synchronization

/// Tells when the kernel's links, routes or nftables rules change, whoever changed them.
///
/// Events are hints to look at the state, not the state: the newest are kept, and where some were lost
/// ``Event/resyncNeeded`` says so. The equivalents are `ip monitor link route` and `nft monitor`.
public final class KernelMonitor: Sendable {
    /// What to listen to.
    public struct Subjects: OptionSet, Sendable {
        public let rawValue: Int
        public init(rawValue: Int) { self.rawValue = rawValue }

        public static let links = Subjects(rawValue: 1)
        /// IPv4 and IPv6. A route that goes because its link goes down is not reported: watch links for that.
        public static let routes = Subjects(rawValue: 2)
        public static let ruleset = Subjects(rawValue: 4)
    }

    public enum Event: Sendable, Hashable {
        /// A link is new, or something about it changed.
        case linkChanged(Link)
        case linkRemoved(Link)
        case routeChanged(Route)
        case routeRemoved(Route)
        /// A transaction changed the nftables rules.
        case rulesetChanged(RulesetGeneration)
        /// Events were lost: read everything again.
        case resyncNeeded
    }

    /// Events since this object was made, for one reader. Ends after ``close()``.
    public let events: AsyncStream<Event>
    private let closing: ClosingSignal
    private let thread: pthread_t
    private let isClosed = Atomic(false)

    /// Listens from now on, in the network namespace of the calling thread.
    /// - Parameter capacity: events kept for a reader that lags; more become ``Event/resyncNeeded``.
    /// - Throws: ``NetlinkError/system(call:errno:)``
    public init(_ subjects: Subjects, capacity: Int = 256) throws {
        let (events, continuation) = AsyncStream.makeStream(of: Event.self, bufferingPolicy: .bufferingNewest(capacity))
        let closing = try ClosingSignal()
        let listener = try EventListener(subjects, closing: closing, continuation: continuation)
        thread = try startThread { listener.run() }
        self.events = events
        self.closing = closing
    }

    deinit { close() }

    /// Ends ``events`` and waits for the thread, which is no longer than it takes to read what has arrived.
    public func close() {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        closing.send()
        pthread_join(thread, nil)
    }
}

/// One transaction's number and author, from NFT_MSG_NEWGEN.
public struct RulesetGeneration: Sendable, Hashable {
    /// Counts transactions of the network namespace; wraps.
    public let number: UInt32
    /// The author's *thread* id in the initial pid namespace: the kernel reports `task_pid_nr`.
    public let threadID: Int32
    /// The author's thread name, up to 15 bytes.
    public let threadName: String
    /// The author is a thread of this process.
    ///
    /// Judged when the event arrives: the thread exists in `/proc/self/task` under that id and name. In a pid namespace
    /// of its own a process does not find itself there, and its own changes look foreign: one check too many, never one
    /// too few.
    public let isOwn: Bool

    /// Reads NFT_MSG_NEWGEN: `struct nfgenmsg`, attributes in network byte order; `nil` for other messages.
    init?(_ message: NetlinkMessage) {
        typealias N = NetfilterNumbers
        let attributes = message.attributes(after: 4)
        guard message.type == N.NFNL_SUBSYS_NFTABLES << 8 | N.NFT_MSG_NEWGEN,
            let number = attributes.number(N.NFTA_GEN_ID, as: UInt32.self)
        else { return nil }
        self.number = UInt32(bigEndian: number)
        threadID = Int32(bigEndian: attributes.number(N.NFTA_GEN_PROC_PID) ?? 0)
        threadName = attributes.text(N.NFTA_GEN_PROC_NAME) ?? ""
        isOwn = Self.isOwnThread(threadID, named: threadName) || threadName == Self.processName
    }

    /// In a pid namespace of its own, as in any container, the process cannot recognise the kernel's thread numbers. Its
    /// name is then what is left; nobody else's tool that changes rules bears it.
    private static let processName: String = {
        var buffer = [UInt8](repeating: 0, count: 32)
        let descriptor = open("/proc/self/comm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { Glibc.close(descriptor) }
        let length = Glibc.read(descriptor, &buffer, buffer.count)
        return length > 0 ? String(decoding: buffer[..<(length - 1)], as: UTF8.self) : ""
    }()

    private static func isOwnThread(_ id: Int32, named name: String) -> Bool {
        guard let descriptor = Optional(open("/proc/self/task/\(id)/comm", O_RDONLY | O_CLOEXEC)), descriptor >= 0
        else {
            return false
        }
        defer { Glibc.close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 32)
        let length = Glibc.read(descriptor, &buffer, buffer.count)
        return length > 0 && String(decoding: buffer[..<(length - 1)], as: UTF8.self) == name
    }
}
