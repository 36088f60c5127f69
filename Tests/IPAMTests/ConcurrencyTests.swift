// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM
import TestSupport
import Testing

@Suite struct `Counting commits` {
    @Test(arguments: [1, 5, 30], [1, 7, 20]) func `one per assignment and one per release`(
        pools: Int, blocks: Int
    ) async throws {
        let cluster = try await Cluster()
        for number in 0..<pools {
            try await cluster.put(pool: "p\(number)", "10.\(number).0.0/16") { $0.spec.blockSize = 31 }
        }
        let host = try await cluster.host()
        for number in 0..<(2 * blocks - 1) { try await host.assign("warm-up\(number)") }
        var address: IPAddress?
        #expect(try await cluster.commits { address = try await host.assign("h") } == 1)
        #expect(try await cluster.commits { try await host.release(try #require(address)) } == 1)
        try await cluster.expectInvariants()
    }

    @Test func `a crowd gets distinct addresses in fewer commits than requests`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/16")
        let host = try await cluster.host()
        let writes = CountingStore(cluster.sqlite)
        let counted = try await cluster.host(through: writes)
        _ = host
        let addresses = try await withThrowingTaskGroup(of: IPAddress.self) { group in
            for number in 0..<200 { group.addTask { try await counted.assign("h\(number)") } }
            return try await group.reduce(into: [IPAddress]()) { $0.append($1) }
        }
        #expect(Set(addresses).count == 200)
        #expect(await writes.commits < 100)
        try await cluster.expectInvariants()
    }
}

@Suite struct `A transaction of a crowd` {
    /// Small blocks need most keys: each request takes a new one. Room is kept for what a claim may cost, so their
    /// transactions are not as full.
    @Test(arguments: [(26, 100), (32, 64)])
    func `is as large as etcd accepts, and no larger`(blockSize: Int, atLeast: Int) async throws {
        let cluster = try await Cluster(
            pools: "10.65.0.0/20", blockSize: blockSize, configuration: .init(maxBlocksPerHost: 1000))
        // Claims of this host to blocks that are not its: one transaction drops some of them, too.
        let stranger = try await cluster.host("stranger")
        for number in 1...30 {
            let block = try #require(CIDR.containing(try await stranger.assign("s\(number)"), prefixLength: blockSize))
            try await cluster.put(Key.affinity(host: "host-1", block: block), BlockAffinity(.confirmed))
        }
        let store = CountingStore(cluster.sqlite)
        let host = try await cluster.host("host-1", through: store)
        let addresses = try await withThrowingTaskGroup(of: IPAddress.self) { group in
            for number in 0..<500 { group.addTask { try await host.assign("h\(number)") } }
            return try await group.reduce(into: [IPAddress]()) { $0.append($1) }
        }
        #expect(Set(addresses).count == 500)
        #expect(await store.largest <= 128)
        #expect(await store.largest > atLeast)
        try await cluster.expectInvariants()
    }
}

actor CountingStore: KeyValueStore {
    private let store: any KeyValueStore
    private(set) var commits = 0
    /// Of any transaction so far: its preconditions or its writes, whichever are more.
    private(set) var largest = 0
    init(_ store: any KeyValueStore) { self.store = store }

    func get(_ key: Key) async throws(StoreError) -> Entry? { try await store.get(key) }
    func list(under prefix: Key) async throws(StoreError) -> Snapshot { try await store.list(under: prefix) }
    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        commits += 1
        largest = max(largest, transaction.preconditions.count, transaction.writes.count)
        return try await store.commit(transaction)
    }
    nonisolated func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        store.changes(under: prefix, after: revision)
    }
}

@Suite(.timeLimit(.minutes(2))) struct `Many at once` {
    /// Each of 16 clients per host assigns and releases, now and then a particular address.
    @Test(arguments: [1, 2, 3]) func `live thousands of lives and leave nothing`(hosts: Int) async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/25", blockSize: 29)
        let ledger = Ledger<IPAddress>()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<hosts {
                let host = try await cluster.host("host-\(number)")
                for client in 0..<16 {
                    group.addTask { try await live(on: host, "\(number)-\(client)", ledger, rounds: 60) }
                }
            }
            try await group.waitForAll()
        }
        try await cluster.expectInvariants()
        let state = try await cluster.state()
        #expect(state.handles.isEmpty)
        #expect(state.blocks.values.allSatisfy { $0.value.isEmpty })
        #expect(await ledger.duplicates == [])
    }

    private func live(on host: Host, _ client: String, _ ledger: Ledger<IPAddress>, rounds: Int) async throws {
        for round in 0..<rounds {
            let owner = AllocationAttributes(handleID: client, secondary: ["node": host.name, "round": "\(round)"])
            let particular = round % 10 == 9 ? IPAddress("10.65.0.\(Int.random(in: 0...127))") : nil
            let request = AddressRequest(family: .v4, address: particular, owner: owner)
            let address: IPAddress
            do { address = try await host.allocator.assign(request) } catch IPAMError.taken { continue }
            await ledger.take(address)
            // Long enough for the others to be given it by mistake.
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...3)))
            await ledger.giveBack(address)
            let released = try await host.release(address) { $0 == owner }
            #expect(released == owner)
        }
    }
}

@Suite struct `Another writer between plan and commit` {
    @Test func `takes the address: the plan is made anew`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/30", blockSize: 30)
        let other = try await cluster.host("other")
        let store = InterleavingStore(cluster.sqlite, before: [{ try await other.assign("o") }])
        let host = try await cluster.host("host-1", through: store)
        let address = try await host.assign("h")
        #expect(await store.conflicts == 1)
        let state = try await cluster.state()
        #expect(state.owner(of: address)?.handleID == "h")
        #expect(state.blocks.values.first?.value.assignments.count == 2)
        try await cluster.expectInvariants()
    }

    @Test func `takes the last one: the answer is no, and nothing is left`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/32", blockSize: 32)
        let other = try await cluster.host("other")
        let store = InterleavingStore(cluster.sqlite, before: [{ try await other.assign("o") }])
        let host = try await cluster.host("host-1", through: store)
        #expect(await failure { try await host.assign("h") }.contains("no free address"))
        #expect(try await cluster.state().handles.keys.sorted() == ["o"])
        try await cluster.expectInvariants()
    }

    @Test func `changes pool, configuration or lock: each is noticed`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let store = InterleavingStore(
            cluster.sqlite,
            before: [
                { try await cluster.put(.ipamConfiguration, IPAMConfiguration(maxBlocksPerHost: 7)) },
                { try await cluster.put(pool: "pool1", "10.65.0.0/24") { $0.spec.natOutgoing = true } },
                { try await cluster.put(Key.affinity(host: "other", block: CIDR("10.65.0.0/26")!), text: "") },
                { try await cluster.put(Key.handle("h"), text: #"{"block":{"10.9.0.0/26":1}}"#) },
            ])
        let host = try await cluster.host("host-1", through: store)
        try await host.assign("h")
        #expect(await store.conflicts == 2)
        try await host.assign("h2")
        try await host.assign("h")
        #expect(await store.conflicts == 3)
        #expect(try await cluster.state().handles["h"]?.value.blocks.count == 2)
    }

    @Test func `releases the same address: it is freed once`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let address = try await cluster.host("other").assign("h")
        let other = try await cluster.host("other")
        let store = InterleavingStore(cluster.sqlite, before: [{ try await other.release(address) }])
        let host = try await cluster.host("host-1", through: store)
        #expect(try await host.release(address) == nil)
        try await cluster.expectInvariants()
    }

    @Test func `never stops: the request gives up and says so`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let disturb: @Sendable () async throws -> Void = {
            try await cluster.put(.ipamConfiguration, IPAMConfiguration(maxBlocksPerHost: Int.random(in: 2...999)))
        }
        let store = InterleavingStore(cluster.sqlite, before: Array(repeating: disturb, count: 200))
        let host = try await cluster.host("host-1", through: store)
        #expect(await failure { try await host.assign("h") }.contains("100 attempts"))
        #expect(try await cluster.state().blocks.isEmpty)
    }

    @Test func `a store that fails fails the request, and the next one works`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let store = InterleavingStore(cluster.sqlite, before: [{ throw StoreError.full("disk") }])
        let host = try await cluster.host("host-1", through: store)
        #expect(await failure { try await host.assign("h") }.contains("disk is full"))
        try await host.assign("h")
        try await cluster.expectInvariants()
    }
}

@Suite struct `A caller that goes away` {
    @Test func `leaves no address behind`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let (reached, arrive) = AsyncStream<Void>.makeStream()
        let (gate, open) = AsyncStream<Void>.makeStream()
        let store = InterleavingStore(
            cluster.sqlite,
            before: [
                {
                    arrive.finish()
                    for await _ in gate {}
                }
            ])
        let host = try await cluster.host("host-1", through: store)
        let caller = Task { try await host.assign("abandoned") }
        for await _ in reached {}
        let queued = Task { try await host.assign("queued") }
        caller.cancel()
        queued.cancel()
        open.finish()
        for task in [caller, queued] {
            #expect(await failure { try await task.value }.contains("given up"))
        }
        for _ in 0..<500 where try await !cluster.state().handles.isEmpty {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(try await cluster.state().handles.isEmpty)
        try await cluster.expectInvariants()
    }
}
