// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// Resident memory, and the size of the program's file.
struct Memory {
    let plan: Plan

    /// Bytes.
    private struct Figures {
        let idle: Int
        let full: Int
        let released: Int
    }

    func measure() async throws -> Table { try await table(figures(.sqlite), figures(.etcd)) }

    private func figures(_ kind: StoreKind) async throws -> Figures {
        progress("memory, on \(kind.rawValue)")
        let store = try await plan.store(kind, for: "memory")
        defer { store.stop() }
        let daemon = try Daemon(plan.program, store: store)
        sleep(1)  // what the start has used is given back, and the first sweep is over
        let idle = try daemon.resident
        let engine = try EngineCalls(client: 1)
        let addresses = try (0..<plan.allocations).map { _ in try engine.requestAddress() }
        let full = try daemon.resident
        for address in addresses { try engine.release(address) }
        let released = try daemon.resident
        try daemon.stop()
        return Figures(idle: idle, full: full, released: released)
    }

    private func table(_ sqlite: Figures, _ etcd: Figures) throws -> Table {
        var table = Table(
            "Memory of the daemon (VmRSS)", "", "on SQLite MB", "more than idle", "on etcd MB", "more than idle")
        table.add("idle", megabytes(sqlite.idle), "", megabytes(etcd.idle), "")
        table.add(
            "after \(plan.allocations) allocations", megabytes(sqlite.full), megabytes(sqlite.full - sqlite.idle),
            megabytes(etcd.full), megabytes(etcd.full - etcd.idle))
        table.add(
            "after their release", megabytes(sqlite.released), megabytes(sqlite.released - sqlite.idle),
            megabytes(etcd.released), megabytes(etcd.released - etcd.idle))
        var file = stat()
        guard stat(plan.program, &file) == 0 else { throw BenchmarkError.system("look at \(plan.program)") }
        table.add("the program's file", megabytes(Int(file.st_size)), "", "", "")
        table.remarks = ["The predecessor: 27 MB idle, 52 to 66 MB after 200 requests at once, a file of 34 MB."]
        return table
    }

}

func megabytes(_ bytes: Int) -> String { (Double(bytes) / 1_000_000).text(1) }
