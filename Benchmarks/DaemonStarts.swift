// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// How long the daemon takes to start and to stop.
struct DaemonStarts {
    let plan: Plan

    func measure() throws -> Table {
        progress("starts")
        var table = Table(
            "Start of the daemon (n=\(plan.starts)), and its end after SIGTERM; medians", "", "both sockets ms",
            "state ready ms", "end ms")
        try add("on no store", to: &table) { "\(plan.folder)/start-\($0).sqlite" }
        try add("on a store with pools", to: &table) { _ in "\(plan.folder)/start-0.sqlite" }
        table.remarks = ["The predecessor: 36 ms to both sockets."]
        return table
    }

    private func add(_ what: String, to table: inout Table, store: (Int) -> String) throws {
        var accepting = Sample()
        var ready = Sample()
        var end = Sample()
        for number in 0..<plan.starts {
            let daemon = try Daemon(plan.program, store: .sqlite(store(number)))
            accepting.add(daemon.start.accepting)
            ready.add(daemon.start.ready)
            try end.time { try daemon.stop() }
        }
        table.add(what, accepting.median.text(1), ready.median.text(1), end.median.text(1))
    }
}
