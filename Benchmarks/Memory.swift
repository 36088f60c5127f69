// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// Resident memory, and the size of the program's file.
struct Memory {
    let plan: Plan

    func measure() throws -> Table {
        progress("memory")
        let daemon = try Daemon(plan.program, store: "\(plan.folder)/memory.sqlite")
        sleep(1)  // what the start has used is given back, and the first sweep is over
        let idle = try daemon.resident
        let engine = try EngineCalls(client: 1)
        let addresses = try (0..<plan.allocations).map { _ in try engine.requestAddress() }
        let full = try daemon.resident
        for address in addresses { try engine.release(address) }
        let released = try daemon.resident
        try daemon.stop()
        return try table(idle: idle, full: full, released: released)
    }

    private func table(idle: Int, full: Int, released: Int) throws -> Table {
        var table = Table("Memory of the daemon (VmRSS)", "", "MB", "more than idle")
        table.add("idle", megabytes(idle), "")
        table.add("after \(plan.allocations) allocations", megabytes(full), megabytes(full - idle))
        table.add("after their release", megabytes(released), megabytes(released - idle))
        var file = stat()
        guard stat(plan.program, &file) == 0 else { throw BenchmarkError.system("look at \(plan.program)") }
        table.add("the program's file", megabytes(Int(file.st_size)), "")
        table.remarks = ["The predecessor: 27 MB idle, 52 to 66 MB after 200 requests at once, a file of 34 MB."]
        return table
    }

    private func megabytes(_ bytes: Int) -> String { (Double(bytes) / 1_000_000).text(1) }
}
