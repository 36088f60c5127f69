// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Testing

extension EtcdTests {
    /// A member's answers are dropped on their way: it carries a commit out, and we do not learn of it.
    @Suite struct `A commit whose answer was lost` {
        private let key = Key("/t/a")
        private let cluster: EtcdCluster
        /// Speaks to the member that falls silent.
        private let store: EtcdStore
        private let other: EtcdStore

        init() async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            self.cluster = cluster
            store = cluster.store(callLimit: .seconds(5))
            other = cluster.store { $0.endpoints.removeFirst() }
            _ = try await other.commit(put("/t/start", "x"))
            _ = try await store.get(Key("/t/start"))
        }

        private func silence() async throws {
            try await cluster.inside {
                let rules = "table inet t { chain c { type filter hook input priority 0; tcp sport 23791 drop; }; }"
                try NamespaceThread.run(["nft", rules])
            }
        }

        /// Waits until `other` sees that the key has changed.
        private func change(from revision: Revision?) async throws -> Entry? {
            for _ in 0..<100 {
                let entry = try await other.get(key)
                if entry?.revision != revision { return entry }
                try await Task.sleep(for: .milliseconds(20))
            }
            throw TestFailure("the commit was not carried out")
        }

        @Test func `is recognized by the history of what it created`() async throws {
            try await silence()
            async let outcome = store.commit(put("/t/a", "mine"))
            let mine = try await change(from: nil)
            _ = try await other.commit(put("/t/a", "another's", since: mine?.revision))
            #expect(try await outcome.revision == mine?.revision)
        }

        @Test func `is recognized by the history of what it changed, whatever came after`() async throws {
            let first = try await store.commit(put("/t/a", "first")).revision
            try await silence()
            async let outcome = store.commit(put("/t/a", "mine", since: first))
            let mine = try await change(from: first)
            _ = try await other.commit(put("/t/a", "another's", since: mine?.revision))
            _ = try await other.commit(Transaction(writes: [.delete(key)]))
            #expect(try await outcome.revision == mine?.revision)
        }

        @Test func `is recognized by a deletion`() async throws {
            let first = try #require(try await store.commit(put("/t/a", "first")).revision)
            try await silence()
            async let outcome = store.commit(Transaction(if: [.unchanged(key, since: first)], writes: [.delete(key)]))
            #expect(try await change(from: first) == nil)
            #expect(try #require(try await outcome.revision) > first)
        }

        @Test func `is told apart from another's that came before it`() async throws {
            let first = try await store.commit(put("/t/a", "first")).revision
            _ = try await other.commit(put("/t/a", "another's", since: first))
            try await silence()
            let failed = try await store.commit(put("/t/a", "mine", since: first)).failed
            #expect(failed?[key]??.value == Data("another's".utf8))
        }
    }
}
