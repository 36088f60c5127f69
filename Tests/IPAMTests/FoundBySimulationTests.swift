// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM
import Logging
import Testing

/// What the simulation has found, each in a few lines.
@Suite struct `A copy that knows half of what it needs` {
    // As a stored property it would travel with `self`, which Swift 6.3 mishandles where an async call has many arguments.
    private var block: CIDR { CIDR("10.65.0.0/30")! }

    private func cluster() async throws -> Cluster { try await Cluster(pools: "10.65.0.0/30", blockSize: 30) }

    /// Tells `host` what `key` holds now, and nothing else, as a conflict does.
    private func tell(_ host: Host, _ key: Key, in cluster: Cluster) async throws {
        host.replica.observe(try await cluster.sqlite.list(under: key).entries.map { Change($0) })
    }

    @Test func `takes a block over: its former host keeps no claim`() async throws {
        let cluster = try await cluster()
        let host = try await cluster.host("host-1", now: .now.addingTimeInterval(120))
        let other = try await cluster.host("other")
        let address = try await other.assign("o")
        try await other.release(address)
        try await tell(host, Key.block(block), in: cluster)
        try await host.assign("h")
        #expect(try await cluster.state().claims["other"] ?? [] == [])
        try await cluster.expectInvariants()
    }

    @Test func `makes a block anew: the host's claim is there`() async throws {
        let cluster = try await cluster()
        let first = try await cluster.host()
        let address = try await first.assign("first")
        try await first.release(address)
        let second = try await cluster.host()
        let seen = try #require(second.replica.snapshot.blocks[block]).revision
        await first.allocator.giveBack(block)
        while try await !cluster.state().blocks.isEmpty { await Task.yield() }
        second.replica.observe([Change(key: Key.block(block), value: nil, revision: Revision(seen.number + 1))])
        try await second.assign("second")
        try await cluster.expectInvariants()
    }

    @Test func `releases an address: its handle is counted down`() async throws {
        let cluster = try await cluster()
        let late = try await cluster.host()
        let address = try await cluster.host().assign("h")
        try await tell(late, Key.block(block), in: cluster)
        #expect(try await late.release(address)?.handleID == "h")
        #expect(try await cluster.state().handles.isEmpty)
        try await cluster.expectInvariants()
    }
}

@Suite struct `An undo that gets no answer either` {
    @Test func `is repeated until it is known to be done`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/30", blockSize: 30)
        let other = try await cluster.host("other")
        // The assignment is carried out in silence; its undo is lost, and another host changes the block meanwhile.
        let store = ForgetfulStore(cluster.sqlite, [.silent, .answering, .lost]) { try await other.assign("o") }
        let host = try await cluster.host("host-1", through: store)
        #expect(await failure { try await host.assign("given-up") }.contains("did not say"))
        _ = await failure { try await host.assign("waits") }
        try await host.assign("last")
        #expect(try await cluster.state().handles["given-up"] == nil)
        try await cluster.expectInvariants()
    }
}

/// A store whose commits meet one fate after the other.
private actor ForgetfulStore: KeyValueStore {
    enum Fate { case answering, silent, lost }

    private let store: any KeyValueStore
    private var fates: [Fate]
    private let afterLoss: @Sendable () async throws -> Void

    init(_ store: any KeyValueStore, _ fates: [Fate], afterLoss: @escaping @Sendable () async throws -> Void) {
        self.store = store
        self.fates = fates
        self.afterLoss = afterLoss
    }

    func get(_ key: Key) async throws(StoreError) -> Entry? { try await store.get(key) }
    func list(under prefix: Key) async throws(StoreError) -> Snapshot { try await store.list(under: prefix) }

    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        switch fates.isEmpty ? .answering : fates.removeFirst() {
        case .answering: return try await store.commit(transaction)
        case .silent: _ = try await store.commit(transaction)
        case .lost:
            do { try await afterLoss() } catch { throw .unavailable("\(error)") }
        }
        throw .outcomeUnknown("the connection broke")
    }

    nonisolated func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        store.changes(under: prefix, after: revision)
    }
}
