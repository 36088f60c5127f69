// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Testing

extension EtcdTests {
    @Suite struct `Under load` {
        /// What one client did to the shared counters.
        struct Tally {
            var committed = [0, 0, 0, 0]
            var unknown = [0, 0, 0, 0]
            var failed = 0

            static func + (a: Self, b: Self) -> Self {
                Self(
                    committed: zip(a.committed, b.committed).map(+), unknown: zip(a.unknown, b.unknown).map(+),
                    failed: a.failed + b.failed)
            }
        }

        @Test func `every answered change is made exactly once though members are killed in turn`() async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            let end = ContinuousClock.now + .seconds(8.5)
            let total = try await withThrowingTaskGroup(of: Tally.self) { group in
                for client in 0..<20 {
                    let store = cluster.store(callLimit: .seconds(5)) { $0.endpoints.swapAt(0, client % 3) }
                    group.addTask { await count(on: store, as: client, until: end) }
                }
                for turn in 0..<6 {
                    try await Task.sleep(for: .milliseconds(700))
                    cluster.members[turn % 3].kill()
                    try await Task.sleep(for: .milliseconds(500))
                    try await cluster.start(turn % 3)
                }
                return try await group.reduce(Tally(), +)
            }
            let store = cluster.store(callLimit: .seconds(10))
            for counter in 0..<4 {
                let value = try #require(try await store.get(Key("/counter/\(counter)"))).number
                #expect(value >= total.committed[counter])
                #expect(value <= total.committed[counter] + total.unknown[counter])
            }
            #expect(total.committed.reduce(0, +) > 200)
            // A leader's election takes about a second and a call may take five: most calls live through it.
            #expect(total.unknown.reduce(0, +) + total.failed < total.committed.reduce(0, +) / 4)
            await store.close()
        }

        /// Counts up, with values that name their writer.
        private func count(on store: EtcdStore, as client: Int, until end: ContinuousClock.Instant) async -> Tally {
            var tally = Tally()
            var turn = client
            while ContinuousClock.now < end {
                turn += 1
                let counter = turn % 4
                let key = Key("/counter/\(counter)")
                do throws(StoreError) {
                    let present = try await store.get(key)
                    let value = "\((present?.number ?? 0) + 1) by \(client) in \(turn)"
                    let outcome = try await store.commit(put(key.path, value, since: present?.revision))
                    if outcome.revision != nil { tally.committed[counter] += 1 }
                } catch {
                    if case .outcomeUnknown = error { tally.unknown[counter] += 1 } else { tally.failed += 1 }
                }
            }
            await store.close()
            return tally
        }
    }
}

extension Entry {
    /// The number that the value begins with.
    fileprivate var number: Int {
        Int(String(decoding: value, as: UTF8.self).split(separator: " ").first ?? "") ?? -1
    }
}
