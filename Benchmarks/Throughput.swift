// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// What several clients at once get done.
struct Throughput {
    /// One run of some clients.
    private struct Run {
        let perSecond: Double
        let leave: Sample
    }

    /// What one client did.
    private struct Work: Sendable {
        var count = 0
        var leave = Sample()
        var ended = ContinuousClock.now
    }

    let plan: Plan
    let kind: StoreKind

    func measure() async throws -> [Table] {
        progress("link pairs by the kernel alone")
        let kernel = try KernelPairs.measure(seconds: plan.seconds / 3)  // before the daemon, which listens to links
        let store = try await plan.store(kind, for: "throughput")
        defer { store.stop() }
        let daemon = try Daemon(plan.program, store: store)
        try EngineCalls(client: 0).createNetwork()
        _ = try run(1, seconds: plan.seconds / 10) { engine, _ in try engine.live { _, _ in } }  // to warm up
        var tables = [try pairs(), try lives(kernel)]
        tables[1].remarks.append("Then the daemon's memory (VmRSS) is \(megabytes(try daemon.resident)) MB.")
        try daemon.stop()
        return tables
    }

    private func pairs() throws -> Table {
        var table = Table(
            "Address pairs on \(kind.rawValue): RequestAddress, ReleaseAddress", "clients", "per second",
            "against 1 client", "predecessor", "against it")
        var single: Double?
        for clients in plan.clients {
            progress("address pairs on \(kind.rawValue), \(clients) clients")
            let run = try run(clients) { engine, _ in try engine.release(try engine.requestAddress()) }
            let published = Predecessor.pairs[clients]
            table.add(
                "\(clients)", run.perSecond.text(0), (run.perSecond / (single ?? run.perSecond)).factor,
                published?.text(0) ?? "", published.map { (run.perSecond / $0).factor } ?? "")
            single = single ?? run.perSecond
        }
        return table
    }

    private func lives(_ kernel: KernelPairs.Rate) throws -> Table {
        var table = Table(
            "Whole lives on \(kind.rawValue): RequestAddress, CreateEndpoint, Join, Leave, DeleteEndpoint, "
                + "ReleaseAddress", "clients", "per second", "against 1 client", "of the kernel's", "predecessor",
            "against it", "Leave median ms", "p95 ms")
        var single: Double?
        var left = (count: 0, milliseconds: 0.0)
        for clients in plan.clients {
            progress("container lives on \(kind.rawValue), \(clients) clients")
            let run = try run(clients) { engine, work in
                try engine.live { if $0 == .leave { work.leave.add($1) } }
            }
            let published = Predecessor.lives[clients]
            table.add(
                "\(clients)", run.perSecond.text(0), (run.perSecond / (single ?? run.perSecond)).factor,
                (100 * run.perSecond / kernel.perSecond).text(0) + " %", published?.text(0) ?? "",
                published.map { (run.perSecond / $0).factor } ?? "", run.leave.median.text(2), run.leave.p95.text(2))
            single = single ?? run.perSecond
            let links = try awaitLinks()
            left = (max(left.count, links.count), max(left.milliseconds, links.milliseconds))
        }
        table.remarks = [
            "The kernel alone: \(kernel.perSecond.text(0)) link pairs per second (\(kernel.making.text(2)) ms to make one, "
                + "\(kernel.removing.text(2)) ms to remove it)",
            "over one socket, 128 at a time; no plugin with veth pairs has more lives than that.",
            "Links go after Leave has answered: \(left.count) were there after a run at most, gone within "
                + "\(left.milliseconds.text(0)) ms.",
        ]
        return table
    }

    /// Links are removed after Leave has answered; none may pile up.
    private func awaitLinks() throws -> (count: Int, milliseconds: Double) {
        let start = ContinuousClock.now
        let links = try Lab.containerLinks()
        while try Lab.containerLinks() > 0 {
            guard start.duration(to: .now) < .seconds(10) else {
                throw BenchmarkError("\(try Lab.containerLinks()) links of containers stay behind")
            }
            usleep(1000)
        }
        return (links, links == 0 ? 0 : start.duration(to: .now) / .milliseconds(1))
    }

    private func run(
        _ clients: Int, seconds: Double? = nil, _ step: @escaping @Sendable (EngineCalls, inout Work) throws -> Void
    ) throws -> Run {
        let start = ContinuousClock.now
        let deadline = start + .seconds(seconds ?? plan.seconds)
        let works = try onThreads(clients) { client in
            let engine = try EngineCalls(client: clients << 8 | client)
            var work = Work()
            while ContinuousClock.now < deadline {
                try step(engine, &work)
                work.count += 1
            }
            work.ended = .now
            return work
        }
        var leave = Sample()
        for work in works { leave.add(work.leave) }
        let ended = works.map(\.ended).max() ?? .now
        return Run(
            perSecond: Double(works.reduce(0) { $0 + $1.count }) / (start.duration(to: ended) / .seconds(1)),
            leave: leave)
    }
}
