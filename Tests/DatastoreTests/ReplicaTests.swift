// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import Logging
import Testing

/// Just texts under keys.
struct Texts: ReplicaState {
    var values: [Key: String] = [:]
    var changes = 0
    mutating func apply(_ change: Change) {
        changes += 1
        values[change.key] = change.value.map { String(decoding: $0, as: UTF8.self) }
    }
}

@Suite struct `A replica` {
    private let store: SQLiteStore
    private let replica: Replica<Texts>
    private let a = Key("/t/a")

    init() throws {
        store = try SQLiteStore(path: ":memory:")
        replica = Replica(of: store, under: [Key("/t/")], logger: Logger(label: "test"))
    }

    private func write(_ text: String?) async throws -> (Transaction, Revision) {
        let transaction = Transaction(writes: [text.map { .put(a, bytes: Data($0.utf8)) } ?? .delete(a)])
        return (transaction, try #require(try await store.commit(transaction).revision))
    }

    /// Until the watch has told everything that was written so far, by a marker written after it.
    private func awaitWatch(of replica: Replica<Texts>) async throws {
        let marker = Key("/t/z")
        _ = try await store.commit(Transaction(writes: [.put(marker, bytes: Data())]))
        while replica.read({ $0.values[marker] == nil }) { try await Task.sleep(for: .milliseconds(5)) }
    }

    private var text: String? { replica.read { $0.values[a] } }

    private func wait(for expected: String?) async throws {
        for _ in 0..<500 where text != expected { try await Task.sleep(for: .milliseconds(10)) }
        #expect(text == expected)
    }

    @Test func `starts with what it lists and follows from there`() async throws {
        _ = try await write("1")
        try await replica.load()
        #expect(text == "1")
        let following = Task { await replica.follow() }
        _ = try await write("2")
        try await wait(for: "2")
        _ = try await write(nil)
        try await wait(for: nil)
        following.cancel()
        await following.value
    }

    @Test func `sees its owner's commits at once`() async throws {
        try await replica.load()
        let (transaction, revision) = try await write("mine")
        replica.observe(transaction.changes(at: revision))
        #expect(text == "mine")
    }

    @Test func `is not set back by a change that arrives late`() async throws {
        try await replica.load()
        let first = try await write("1"), second = try await write("2"), third = try await write(nil)
        replica.observe(second.0.changes(at: second.1))
        replica.observe(first.0.changes(at: first.1))
        #expect(text == "2")
        replica.observe(third.0.changes(at: third.1))
        replica.observe(second.0.changes(at: second.1))
        #expect(text == nil)
    }

    @Test func `does not revive a key whose deletion the watch told before its owner told of the write`() async throws {
        try await replica.load()
        let following = Task { await replica.follow() }
        let own = try await write("1")
        _ = try await write(nil)
        try await awaitWatch(of: replica)
        replica.observe(own.0.changes(at: own.1))
        #expect(text == nil)
        following.cancel()
        await following.value
    }

    @Test func `takes in what a conflict reports, presence and absence`() async throws {
        try await replica.load()
        let theirs = try await write("theirs").1
        let create = Transaction(if: [.absent(a)], writes: [.put(a, bytes: Data())])
        let lost = try await store.commit(create)
        replica.observe(conflict: try #require(lost.failed), of: create)
        #expect(text == "theirs")
        replica.observe(conflict: [a: nil], of: Transaction(if: [.unchanged(a, since: theirs)]))
        #expect(text == nil)
    }

    /// Whatever is on its way while the watch goes on is older than what the watch has told.
    @Test func `is not set back by a list or a conflict that arrives late`() async throws {
        let slow = SlowStore(store)
        let replica = Replica<Texts>(of: slow, under: [Key("/t/")], logger: Logger(label: "test"))
        let first = try await write("1")
        try await replica.load()
        let following = Task { await replica.follow() }
        let lost = try #require(
            try await store.commit(Transaction(if: [.absent(a)], writes: [.put(a, bytes: Data())])).failed)
        await slow.delayNextList {
            _ = try await write(nil)
            try await awaitWatch(of: replica)
        }
        await replica.refresh()
        #expect(replica.read { $0.values[a] } == nil, "the list was read before the key was deleted")
        replica.observe(conflict: lost, of: Transaction(if: [.absent(a)]))
        #expect(replica.read { $0.values[a] } == nil, "the conflict was reported before the key was deleted")
        let second = try await write("2")
        replica.observe(second.0.changes(at: second.1))
        replica.observe(conflict: [a: nil], of: Transaction(if: [.unchanged(a, since: first.1)]))
        #expect(replica.read { $0.values[a] } == "2", "the key was made anew after the conflict")
        following.cancel()
        await following.value
    }

    /// The answer brings the value undecoded; the watch, which is often first, would have it decoded.
    @Test func `takes an own commit from its answer even when the watch is faster`() async throws {
        let slow = SlowStore(store)
        let replica = Replica<Texts>(of: slow, under: [Key("/t/")], logger: Logger(label: "test"))
        try await replica.load()
        let following = Task { await replica.follow() }
        await slow.delayNextCommit {
            try await awaitWatch(of: replica)
            #expect(replica.read { $0.values[a] } == nil)
        }
        try await replica.commit(Transaction(if: [.absent(a)], writes: [.put(a, bytes: Data("mine".utf8))]))
        #expect(replica.read { $0.values[a] } == "mine")
        #expect(replica.read { $0.changes } == 2, "the marker and the own commit, once each")
        following.cancel()
        await following.value
    }

    @Test func `takes what others wrote while its own commit failed`() async throws {
        let slow = SlowStore(store)
        let replica = Replica<Texts>(of: slow, under: [Key("/t/")], logger: Logger(label: "test"))
        try await replica.load()
        let following = Task { await replica.follow() }
        await slow.delayNextCommit {
            _ = try await write("theirs")
            _ = try await write("theirs, later")
            try await awaitWatch(of: replica)
            throw TestFailure("the answer is lost")
        }
        await #expect(throws: StoreError.self) {
            try await replica.commit(Transaction(if: [.unchanged(a, since: Revision(99))], writes: [.delete(a)]))
        }
        #expect(replica.read { $0.values[a] } == "theirs, later")
        following.cancel()
        await following.value
    }

    @Test func `tells each change once, own ones at once, and what a list found`() async throws {
        try await replica.load()
        var news = replica.news(under: Key("/t/")).makeAsyncIterator()
        let own = Transaction(writes: [.put(a, bytes: Data("mine".utf8))])
        let revision = try #require(try await replica.commit(own).revision)
        #expect(await news.next()?.map(\.revision) == [revision])
        let following = Task { await replica.follow() }
        let second = try await write("theirs").1
        #expect(await news.next()?.map(\.revision) == [second], "the watch's copy of the own commit is no news")
        following.cancel()
        await following.value
        _ = try await write(nil)
        _ = try await store.commit(Transaction(writes: [.put(Key("/t/b"), bytes: Data("b".utf8))]))
        await replica.refresh()
        let found = try #require(await news.next())
        #expect(Set(found.map(\.key)) == [a, Key("/t/b")] && found.count { $0.value == nil } == 1)
    }
}

/// A store whose next answers can be made to arrive late, or not at all.
private actor SlowStore: KeyValueStore {
    private let store: SQLiteStore
    private var beforeAnswer: (@Sendable () async throws -> Void)?
    private var beforeOutcome: (@Sendable () async throws -> Void)?

    init(_ store: SQLiteStore) { self.store = store }

    /// What happens while the next list is on its way.
    func delayNextList(_ body: @escaping @Sendable () async throws -> Void) { beforeAnswer = body }

    /// What happens while the outcome of the next commit is on its way; it gets lost if `body` throws.
    func delayNextCommit(_ body: @escaping @Sendable () async throws -> Void) { beforeOutcome = body }

    func get(_ key: Key) async throws(StoreError) -> Entry? { try await store.get(key) }

    func list(under prefix: Key) async throws(StoreError) -> Snapshot {
        let snapshot = try await store.list(under: prefix)
        let body = beforeAnswer
        beforeAnswer = nil
        do { try await body?() } catch { throw .unavailable("\(error)") }
        return snapshot
    }

    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        let outcome = try await store.commit(transaction)
        let body = beforeOutcome
        beforeOutcome = nil
        do { try await body?() } catch { throw .outcomeUnknown("\(error)") }
        return outcome
    }

    nonisolated func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        store.changes(under: prefix, after: revision)
    }
}

@Suite struct `The cluster's state` {
    private let block = IPAMBlock(cidr: CIDR("10.0.0.0/30")!, host: "h", now: .now)

    private func change(_ key: Key, _ text: String?, _ revision: Int64 = 1) -> Change {
        Change(key: key, value: text.map { Data($0.utf8) }, revision: Revision(revision))
    }

    @Test func `indexes blocks by affinity, claims by host and endpoints by address`() throws {
        var state = ClusterState()
        let key = Key.block(block.cidr), claim = Key.affinity(host: "h", block: block.cidr)
        let json = String(decoding: StoreJSON.encode(block), as: UTF8.self)
        state.apply(change(key, json))
        state.apply(change(claim, ""))
        #expect(state.blocksByAffinity["host:h"] == [block.cidr])
        #expect(state.claims["h"] == [block.cidr] && state.affinities[claim]?.value.state == .confirmed)
        state.apply(change(key, json.replacing("host:h", with: "host:i"), 2))
        #expect(state.blocksByAffinity["host:h"] == [] && state.blocksByAffinity["host:i"] == [block.cidr])
        state.apply(change(key, nil, 3))
        state.apply(change(claim, nil, 3))
        #expect(state.blocks.isEmpty && state.claims["h"] == [])
    }

    @Test func `an address that several endpoints name is in use until the last of them is gone`() throws {
        let address = try #require(IPAddress("10.0.0.1"))
        let endpoints = ["a", "b", "c"].map { name in
            WorkloadEndpoint(
                metadata: ResourceMetadata(name: name, namespace: "libnetwork"),
                spec: WorkloadEndpointSpec(
                    orchestrator: "libnetwork", workload: "libnetwork", node: "h", endpoint: name,
                    ipNetworks: [CIDR(host: address)], profiles: [], interfaceName: "cali\(name)", mac: nil))
        }
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            var state = ClusterState()
            var left = endpoints.map(\.key)
            for endpoint in endpoints + [endpoints[0]] {
                state.apply(Change(Entry(key: endpoint.key, value: StoreJSON.encode(endpoint), revision: Revision(1))))
                #expect(state.endpointsByAddress[address] == endpoint.key)
            }
            for index in order {
                state.apply(change(endpoints[index].key, nil, 2))
                left.removeAll { $0 == endpoints[index].key }
                #expect(state.endpointsByAddress[address].map(left.contains) ?? left.isEmpty)
            }
        }
    }

    @Test(arguments: [
        (Key("/calico/ipam/v2/assignment/ipv4/block/10.0.0.4-30"), "the value of another block"),
        (Key("/calico/ipam/v2/assignment/ipv4/block/10.0.0.1-30"), "a key with host bits"),
    ])
    func `keeps out a block that does not belong to its key`(key: Key, why: String) {
        var state = ClusterState()
        state.apply(change(key, String(decoding: StoreJSON.encode(block), as: UTF8.self)))
        #expect(state.blocks.isEmpty && state.unreadable[key] != nil)
        state.apply(change(key, nil, 2))
        #expect(state.unreadable.isEmpty)
    }

    @Test func `forgets a value that has become unreadable`() {
        var state = ClusterState()
        let keys = [Key.ipamConfiguration, Key.handle("a"), Key.affinity(host: "h", block: block.cidr)]
        for key in keys {
            state.apply(change(key, key == keys[2] ? #"{"state":"confirmed"}"# : "{}"))
            state.apply(change(key, "broken", 2))
            #expect(state.unreadable[key] != nil)
        }
        #expect(state.ipamConfiguration == nil && state.handles.isEmpty && state.affinities.isEmpty)
    }

    @Test func `is locked only by an explicit false`() {
        var state = ClusterState()
        let key = Key.resource(ClusterInformationSpec.self, name: "default")
        #expect(state.isReady)
        for (spec, isReady) in [
            ("{}", true), (#"{"datastoreReady":false}"#, false), (#"{"datastoreReady":true}"#, true),
        ] {
            state.apply(change(key, #"{"metadata":{"name":"default"},"spec":\#(spec)}"#))
            #expect(state.isReady == isReady)
        }
    }
}
