// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import FoundationEssentials

/// Latency of each call, compared with a bare transaction: the least that a durable change can take. They take turns,
/// so that both see the same disk and the same load.
struct Requests {
    let plan: Plan
    let kind: StoreKind

    func measure() async throws -> Table {
        progress("requests, one at a time, on \(kind.rawValue)")
        let store = try await plan.store(kind, for: "requests")
        defer { store.stop() }
        let daemon = try Daemon(plan.program, store: store)
        var bare = BareTransactions(store: try store.client())
        let engine = try EngineCalls(client: 1)
        try engine.createNetwork()
        try await bare.commit()  // connects
        var transactions = Sample()
        var calls: [Call: Sample] = [:]
        for _ in 0..<plan.rounds {
            transactions.add(try await bare.commit())
            let record: EngineCalls.Record = { calls[$0, default: Sample()].add($1) }
            try engine.prepare(record)
            try engine.live(record)
        }
        try daemon.stop()
        return table(transactions, calls)
    }

    private func table(_ transactions: Sample, _ calls: [Call: Sample]) -> Table {
        var table = Table(
            "Requests over the socket, one at a time, on \(kind.rawValue) (n=\(transactions.count))", "", "median ms",
            "p95 ms", "median/bare", "predecessor ms")
        table.add(
            "bare transaction: compare, put 2 kB", transactions.median.text(2), transactions.p95.text(2), "1.00", "")
        for call in Call.allCases {
            let sample = calls[call] ?? Sample()
            table.add(
                call.name, sample.median.text(2), sample.p95.text(2), (sample.median / transactions.median).text(2),
                Predecessor.milliseconds[call].map { $0.text(2) } ?? "")
        }
        let socketsShare = calls[.getCapabilities]?.median ?? 0
        let beyond = ((calls[.requestAddress]?.median ?? 0) - socketsShare) / transactions.median
        table.remarks = [
            "RequestAddress less what the socket takes (GetCapabilities): \(beyond.text(2)) of the bare transaction.",
            "The predecessor's figures were published for another 2-core machine, with etcd.",
        ]
        return table
    }
}

/// Transactions of the kind that every change of ours is: a key's value, unless the key has changed.
private struct BareTransactions {
    let store: any KeyValueStore
    private var round = 0
    private var seen: [Key: Revision] = [:]

    init(store: any KeyValueStore) { self.store = store }

    /// - Returns: how long it took.
    @discardableResult
    mutating func commit() async throws -> Duration {
        round += 1
        let key = Key("/bench/\(round % 100)")
        let transaction = Transaction(
            if: [.asSeen(key, seen[key])], writes: [.put(key, bytes: Data(count: 2048))])
        let start = ContinuousClock.now
        guard case .committed(let revision) = try await store.commit(transaction) else {
            throw BenchmarkError("somebody else has changed \(key)")
        }
        seen[key] = revision
        return start.duration(to: .now)
    }
}
