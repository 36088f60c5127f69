// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM
import Logging
import TestSupport
import Testing

@Suite struct `A store that does not say whether it committed` {
    /// What becomes of a commit that gets no answer.
    enum Fate: CaseIterable { case done, lost }

    @Test(arguments: Fate.allCases)
    func `fails the request and leaves no address`(_ fate: Fate) async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let host = try await cluster.host("host-1", through: SilentStore(cluster.sqlite, [fate]))
        #expect(await failure { try await host.assign("given-up") }.contains("did not say"))
        // The next request is planned only once the first one's fate is known.
        let address = try await host.assign("next")
        let state = try await cluster.state()
        #expect(state.handles.keys.sorted() == ["next"])
        #expect(state.owner(of: address)?.handleID == "next")
        try await cluster.expectInvariants()
    }

    @Test(arguments: Fate.allCases)
    func `fails a release, which is carried out all the same`(_ fate: Fate) async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let address = try await cluster.host("host-1").assign("h")
        let host = try await cluster.host("host-1", through: SilentStore(cluster.sqlite, [fate]))
        #expect(await failure { try await host.release(address) }.contains("did not say"))
        _ = try await host.assign("next")
        #expect(try await cluster.state().handles.keys.sorted() == ["next"])
        try await cluster.expectInvariants()
    }

    @Test func `is asked until it answers, and fails whoever waits meanwhile`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let host = try await cluster.host(
            "host-1", through: SilentStore(cluster.sqlite, [.done, .lost, .lost, .done]))
        let requests = (0..<20).map { number in
            Task { await failure { try await host.assign("h\(number)") } }
        }
        let failures = await requests.asyncMap { await $0.value }.filter { $0 != "no error" }
        #expect(!failures.isEmpty)
        #expect(failures.allSatisfy { $0.contains("did not say") })
        let settled = try await oncePossible { try await host.assign("last") }
        let state = try await cluster.state()
        #expect(state.owner(of: settled)?.handleID == "last")
        #expect(state.handles.count == 20 - failures.count + 1)
        try await cluster.expectInvariants()
    }

    @Test func `an address somebody else took meanwhile is left alone`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/32", blockSize: 32)
        let other = try await cluster.host("other")
        let store = SilentStore(cluster.sqlite, [.lost]) { try await other.assign("theirs") }
        let host = try await cluster.host("host-1", through: store)
        #expect(await failure { try await host.assign("given-up") }.contains("did not say"))
        #expect(await failure { try await host.assign("next") }.contains("no free address"))
        #expect(try await cluster.state().handles.keys.sorted() == ["theirs"])
        try await cluster.expectInvariants()
    }
}

/// The first answer that is no error, within ten seconds.
private func oncePossible<Result: Sendable>(_ attempt: () async throws -> Result) async throws -> Result {
    for _ in 0..<500 {
        if let result = try? await attempt() { return result }
        try await Task.sleep(for: .milliseconds(20))
    }
    return try await attempt()
}

/// A store whose first commits get no answer.
private actor SilentStore: KeyValueStore {
    typealias Fate = `A store that does not say whether it committed`.Fate
    private let store: any KeyValueStore
    private var fates: [Fate]
    private let afterwards: @Sendable () async throws -> Void

    init(_ store: any KeyValueStore, _ fates: [Fate], then afterwards: @escaping @Sendable () async throws -> Void = {})
    {
        self.store = store
        self.fates = fates
        self.afterwards = afterwards
    }

    func get(_ key: Key) async throws(StoreError) -> Entry? { try await store.get(key) }
    func list(under prefix: Key) async throws(StoreError) -> Snapshot { try await store.list(under: prefix) }

    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        guard !fates.isEmpty else { return try await store.commit(transaction) }
        if fates.removeFirst() == .done { _ = try await store.commit(transaction) }
        do { try await afterwards() } catch { throw .unavailable("\(error)") }
        throw .outcomeUnknown("the connection broke")
    }

    nonisolated func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        store.changes(under: prefix, after: revision)
    }
}
