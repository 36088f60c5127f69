// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import FoundationEssentials
import Logging

/// An etcd whose members a domain names: looked up with the first call, and again when they do not answer.
///
/// So the daemon starts without a name server, and follows a cluster whose members move.
actor DiscoveredEtcdStore: KeyValueStore {
    typealias Discovery = @Sendable () async throws(StoreError) -> [EtcdSettings.Endpoint]

    private let settings: EtcdSettings
    /// Between look-ups, while members are known.
    private let lookUpInterval: Duration
    private let discover: Discovery
    private let open: @Sendable (EtcdSettings) -> EtcdStore
    private var members: [EtcdSettings.Endpoint] = []
    private var store: EtcdStore?
    private var lastLookUp: ContinuousClock.Instant?
    private var isInDoubt = false

    /// - Parameter settings: without endpoints.
    init(
        _ settings: EtcdSettings, lookUpInterval: Duration = .seconds(10), discover: @escaping Discovery,
        open: @escaping @Sendable (EtcdSettings) -> EtcdStore
    ) {
        self.settings = settings
        self.lookUpInterval = lookUpInterval
        self.discover = discover
        self.open = open
    }

    func get(_ key: Key) async throws(StoreError) -> Entry? {
        try await call { (store) async throws(StoreError) in try await store.get(key) }
    }

    func list(under prefix: Key) async throws(StoreError) -> Snapshot {
        try await call { (store) async throws(StoreError) in try await store.list(under: prefix) }
    }

    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        try await call { (store) async throws(StoreError) in try await store.commit(transaction) }
    }

    nonisolated func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        AsyncThrowingStream { continuation in
            let watch = Task {
                do {
                    let store = try await current()
                    async let _ = replace(whenLost: store)
                    for try await changes in store.changes(under: prefix, after: revision) {
                        continuation.yield(changes)
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in watch.cancel() }
        }
    }

    /// A watch tries its members for ever, and on an idle host no call fails in its place. Until cancelled.
    private func replace(whenLost store: EtcdStore) async {
        while (try? await Task.sleep(for: lookUpInterval)) != nil {
            guard store.isLost else { continue }
            isInDoubt = true
            _ = try? await current()
        }
    }

    private func call<Answer: Sendable>(
        _ body: @Sendable (EtcdStore) async throws(StoreError) -> Answer
    ) async throws(StoreError) -> Answer {
        let store = try await current()
        do throws(StoreError) { return try await body(store) } catch {
            if case .unavailable = error { isInDoubt = true }
            throw error
        }
    }

    /// The store on the members that are known now. Its watches end with it and begin anew on the next.
    func current() async throws(StoreError) -> EtcdStore {
        if let store, !isInDoubt || lastLookUp.map({ $0.duration(to: .now) < lookUpInterval }) ?? false {
            return store
        }
        lastLookUp = .now
        let found: [EtcdSettings.Endpoint]
        do throws(StoreError) { found = try await discover() } catch {
            guard let store else { throw error }
            return store
        }
        isInDoubt = false
        // Records of equal weight come in any order.
        if let store, Set(found) == Set(members) { return store }
        let former = store
        var settings = settings
        settings.endpoints = found
        let next = open(settings)
        members = found
        store = next
        await former?.close()
        return next
    }
}
