// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import FoundationEssentials

/// Latency of each call, compared with a bare commit to a store on the same disk. They take turns, so that both see
/// the same disk.
struct Requests {
    let plan: Plan

    func measure() async throws -> Table {
        let daemon = try Daemon(plan.program, store: "\(plan.folder)/requests.sqlite")
        let store = try SQLiteStore(path: "\(plan.folder)/bare.sqlite")
        let engine = try EngineCalls(client: 1)
        try engine.createNetwork()
        var commits = Sample()
        var calls: [Call: Sample] = [:]
        for round in 0..<plan.rounds {
            commits.add(try await commit(to: store, round))
            let record: EngineCalls.Record = { calls[$0, default: Sample()].add($1) }
            try engine.prepare(record)
            try engine.live(record)
        }
        try daemon.stop()
        return table(commits, calls)
    }

    private func commit(to store: SQLiteStore, _ round: Int) async throws -> Duration {
        let start = ContinuousClock.now
        _ = try await store.commit(
            Transaction(writes: [.put(Key("/bench/\(round % 100)"), bytes: Data(count: 2048))]))
        return start.duration(to: .now)
    }

    private func table(_ commits: Sample, _ calls: [Call: Sample]) -> Table {
        var table = Table(
            "Requests over the socket, one at a time (n=\(commits.count))", "", "median ms", "p95 ms", "median/commit",
            "predecessor ms")
        table.add("bare SQLite commit of 2 kB, synced", commits.median.text(2), commits.p95.text(2), "1.00", "")
        for call in Call.allCases {
            let sample = calls[call] ?? Sample()
            table.add(
                call.name, sample.median.text(2), sample.p95.text(2), (sample.median / commits.median).text(2),
                Predecessor.milliseconds[call].map { $0.text(2) } ?? "")
        }
        table.remarks = ["The predecessor's figures were published for another 2-core machine, with etcd."]
        return table
    }
}
