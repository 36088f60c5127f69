// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import LinuxNetwork
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct `The kernel monitor` {
    @Test func `tells of links that come, change and go`() async throws {
        let events = try await collect([.links]) {
            let socket = try RouteSocket()
            let (host, _) = try connectedPair(socket)
            try socket.perform(.deleteLink(index: host.index))
        }
        let changes = events.compactMap { if case .linkChanged(let link) = $0 { link } else { nil } }
        #expect(changes.contains { $0.name == "cali0" && $0.isUp && !$0.hasCarrier })
        let removed = events.compactMap { if case .linkRemoved(let link) = $0 { link.name } else { nil } }
        #expect(Set(removed) == ["cali0", "temp0"])
    }

    @Test func `tells of the carrier that comes when the container sets its end up`() async throws {
        let monitor = try await inNewNetworkNamespace {
            let monitor = try KernelMonitor([.links])
            _ = try connectedPair(try RouteSocket())
            return monitor
        }
        let event = await monitor.events.first {
            if case .linkChanged(let link) = $0 { link.name == "cali0" && link.hasCarrier } else { false }
        }
        #expect(event != nil)
        monitor.close()
    }

    @Test func `tells of routes`() async throws {
        let route = Route(destination: network("10.65.0.0/26"), kind: .blackhole, protocolNumber: 80)
        let events = try await collect([.routes]) {
            try RouteSocket().perform([.replaceRoute(route), .deleteRoute(route)])
        }
        #expect(events == [.routeChanged(route), .routeRemoved(route)])
    }

    @Test func `knows this process's own ruleset changes from those of others`() async throws {
        let events = try await collect([.ruleset]) {
            try Nftables().run("add table inet ours; add table inet more")
            let nft = Process()
            nft.executableURL = URL(fileURLWithPath: "/usr/sbin/nft")
            nft.arguments = ["add table inet theirs"]
            try nft.run()
            nft.waitUntilExit()
        }
        let generations = events.compactMap { if case .rulesetChanged(let change) = $0 { change } else { nil } }
        #expect(generations.map(\.isOwn) == [true, false])
        #expect(generations.last?.threadName == "nft")
        #expect(generations.map(\.number) == generations.first.map { [$0.number, $0.number + 1] })
    }

    @Test func `says that events were lost when its reader lags`() async throws {
        let events = try await collect([.routes], capacity: 4) {
            try RouteSocket().perform(
                (0..<100).map {
                    .replaceRoute(
                        Route(
                            destination: network("10.\($0).0.0/16"), kind: .blackhole, protocolNumber: 80))
                })
        }
        #expect(events.count <= 4)
        #expect(events.contains(.resyncNeeded))
    }

    @Test func `ends its events when closed, twice over`() async throws {
        let monitor = try await inNewNetworkNamespace { try KernelMonitor([.links, .routes, .ruleset]) }
        monitor.close()
        monitor.close()
        for await _ in monitor.events { Issue.record("nothing happened in the namespace") }
    }

    @Test func `a reader that waits is woken by the end`() async throws {
        let monitor = try await inNewNetworkNamespace { try KernelMonitor([.links]) }
        async let count = monitor.events.reduce(0) { count, _ in count + 1 }
        monitor.close()
        #expect(await count == 0)
    }

    /// The events of `change`, up to the end of the monitor, which has read what had arrived by then.
    private func collect(
        _ subjects: KernelMonitor.Subjects, capacity: Int = 256, _ change: @escaping @Sendable () throws -> Void
    ) async throws -> [KernelMonitor.Event] {
        let monitor = try await inNewNetworkNamespace {
            let monitor = try KernelMonitor(subjects, capacity: capacity)
            try change()
            monitor.close()
            return monitor
        }
        return await monitor.events.reduce(into: []) { $0.append($1) }
    }
}
