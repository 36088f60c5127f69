// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// The monitor's work: waits for datagrams and yields events, on a thread of its own.
///
/// It is handed to that thread whole and touched by no other.
struct EventListener: Sendable {
    private let closing: ClosingSignal
    private let continuation: AsyncStream<KernelMonitor.Event>.Continuation
    private let sources: [Source]

    private struct Source: Sendable {
        // Sockets are used by the listening thread only, once they are made.
        nonisolated(unsafe) let socket: KernelSocket
        let events: @Sendable (NetlinkMessage) throws -> KernelMonitor.Event?
    }

    init(
        _ subjects: KernelMonitor.Subjects, closing: ClosingSignal,
        continuation: AsyncStream<KernelMonitor.Event>.Continuation
    ) throws {
        self.closing = closing
        self.continuation = continuation
        var sources: [Source] = []
        var groups: [Int32] = subjects.contains(.links) ? [RTNetlink.RTNLGRP_LINK] : []
        if subjects.contains(.routes) { groups += [RTNetlink.RTNLGRP_IPV4_ROUTE, RTNetlink.RTNLGRP_IPV6_ROUTE] }
        if !groups.isEmpty {
            let socket = try KernelSocket(family: Netlink.NETLINK_ROUTE, groups: groups)
            sources.append(Source(socket: socket, events: Self.routeEvent))
        }
        if subjects.contains(.ruleset) {
            let groups = [NetfilterNumbers.NFNLGRP_NFTABLES]
            let socket = try KernelSocket(family: Netlink.NETLINK_NETFILTER, groups: groups)
            sources.append(Source(socket: socket) { RulesetGeneration($0).map { .rulesetChanged($0) } })
        }
        self.sources = sources
    }

    /// Returns once the closing signal was sent and what had arrived before is read.
    func run() {
        var polled = (sources.map(\.socket.descriptor) + [closing.descriptor]).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        var readable: [Source] = []
        repeat {
            _ = retryingInterrupts { poll(&polled, nfds_t(polled.count), -1) }
            readable = zip(sources, polled).filter { $1.revents != 0 }.map(\.0)
            readable.forEach(read)
        } while polled.last?.revents == 0 || !readable.isEmpty
        continuation.finish()
    }

    private func read(_ source: Source) {
        do {
            for message in try NetlinkMessage.all(in: source.socket.receive()) {
                if let event = try source.events(message) { yield(event) }
            }
        } catch {
            // ENOBUFS: the kernel had more than the buffer held. Unreadable messages are losses as well.
            yield(.resyncNeeded)
        }
    }

    /// A full buffer drops its oldest event, so the news of the loss goes in as the newest.
    private func yield(_ event: KernelMonitor.Event) {
        if case .dropped = continuation.yield(event) { continuation.yield(.resyncNeeded) }
    }

    private static func routeEvent(_ message: NetlinkMessage) throws -> KernelMonitor.Event? {
        switch message.type {
        case RTNetlink.RTM_NEWLINK: .linkChanged(try Link(message))
        case RTNetlink.RTM_DELLINK: .linkRemoved(try Link(message))
        case RTNetlink.RTM_NEWROUTE: Route(message).map { .routeChanged($0) }
        case RTNetlink.RTM_DELROUTE: Route(message).map { .routeRemoved($0) }
        default: nil
        }
    }
}

/// Wakes a thread that polls it, once.
final class ClosingSignal: Sendable {
    /// Readable from ``send()`` on.
    let descriptor: Int32
    private let sender: Int32

    /// - Throws: ``NetlinkError/system(call:errno:)``
    init() throws {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw NetlinkError.system(call: "socketpair", errno: errno)
        }
        (descriptor, sender) = (ends[0], ends[1])
    }

    deinit {
        close(descriptor)
        close(sender)
    }

    func send() {
        shutdown(sender, Int32(SHUT_WR))
    }
}

/// Runs `body` on a new thread, in the calling thread's network namespace.
/// - Throws: ``NetlinkError/system(call:errno:)``
func startThread(_ body: @escaping @Sendable () -> Void) throws -> pthread_t {
    let box = Unmanaged.passRetained(ThreadBody(run: body))
    var thread = pthread_t()
    let result = pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<ThreadBody>.fromOpaque(argument!).takeRetainedValue().run()
            return nil
        }, box.toOpaque())
    guard result == 0 else {
        box.release()
        throw NetlinkError.system(call: "pthread_create", errno: result)
    }
    return thread
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void

    init(run: @escaping @Sendable () -> Void) {
        self.run = run
    }
}
