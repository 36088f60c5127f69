// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import NIOCore
import Testing

extension EtcdTests {
    @Suite struct `When members of etcd fail` {
        private let key = Key("/t/a")

        @Test func `a member that is down at the start is passed over`() async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            cluster.members[0].kill()
            let store = cluster.store()
            #expect(try await store.commit(put("/t/a", "1")).revision != nil)
            await store.close()
        }

        @Test func `the loss of the leader costs no call its answer`() async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            let leader = try await cluster.leader()
            // Connected to the leader, so that both the connection and the cluster's head are lost.
            let store = cluster.store { $0.endpoints.swapAt(0, leader) }
            let first = try #require(try await store.commit(put("/t/a", "1")).revision)
            cluster.members[leader].kill()
            let second = try await store.commit(put("/t/a", "2", since: first)).revision
            #expect(second != nil)
            #expect(try await store.get(key)?.revision == second)
            await store.close()
        }

        @Test func `a frozen member is noticed and left within one call`() async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            let leader = try await cluster.leader()
            let follower = (leader + 1) % 3
            let store = cluster.store { $0.endpoints.swapAt(0, follower) }
            let first = try await store.commit(put("/t/a", "1")).revision
            cluster.members[follower].freeze()
            defer { cluster.members[follower].thaw() }
            #expect(try await store.commit(put("/t/a", "2", since: first)).revision != nil)
            await store.close()
        }

        @Test(arguments: [1, 3])
        func `with all down calls fail in time, and succeed soon after they are back`(members: Int) async throws {
            let cluster = try await EtcdCluster.start(members: members)
            let store = cluster.store(callLimit: .seconds(1))
            _ = try await store.commit(put("/t/a", "1"))
            for member in cluster.members { member.kill() }
            let clock = ContinuousClock()
            let failing = await clock.measure {
                await #expect {
                    try await store.get(key)
                } throws: { "\($0)".contains("http://127.0.0.1:23791: connection refused; is etcd running there?") }
            }
            #expect(failing < .seconds(1.5))
            for index in cluster.members.indices { try await cluster.start(index) }
            try await cluster.awaitReady()
            let back = clock.now
            #expect(try await store.get(key) != nil)
            #expect(clock.now - back < .seconds(1))
            await store.close()
        }

        @Test func `closing returns at once though the peer is frozen`() async throws {
            for certificates in [nil, try Certificates()] {
                let cluster = try await EtcdCluster.start(certificates: certificates)
                let store = cluster.store(callLimit: .seconds(30))
                _ = try await store.commit(put("/t/a", "1"))
                cluster.members[0].freeze()
                defer { cluster.members[0].thaw() }
                let call = Task { try? await store.get(key) }
                try await Task.sleep(for: .milliseconds(100))
                #expect(await ContinuousClock().measure { await store.close() } < .seconds(1))
                #expect(await ContinuousClock().measure { _ = await call.value } < .seconds(1))
                await #expect { try await store.get(key) } throws: { "\($0)".contains("closed by this program") }
            }
        }

        @Test func `a cancelled call returns promptly`() async throws {
            let cluster = try await EtcdCluster.start()
            let store = cluster.store(callLimit: .seconds(30))
            _ = try await store.get(key)
            cluster.members[0].freeze()
            let call = Task { try await store.commit(put("/t/a", "1")) }
            try await Task.sleep(for: .milliseconds(100))
            call.cancel()
            let time = await ContinuousClock().measure { _ = await call.result }
            #expect(time < .milliseconds(500))
            await #expect {
                try await call.value
            } throws: { if case .outcomeUnknown? = $0 as? StoreError { true } else { false } }
            cluster.members[0].thaw()
            // Whether the abandoned one was carried out after all, the same transaction tells.
            try await Task.sleep(for: .milliseconds(300))
            switch try await store.commit(put("/t/a", "1")) {
            case .committed: break
            case .conflict(let keys): #expect(keys[key]??.value == Data("1".utf8))
            }
            await store.close()
        }

        /// The commit is sent to a frozen member and sent again to another. Then the first one thaws and brings its
        /// copy in late, or the other way round: whichever comes first, the change is made once.
        @Test(arguments: [0, 200]) func `a commit that is sent twice is carried out once`(thawAfter: Int) async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            let follower = (try await cluster.leader() + 1) % 3
            let store = cluster.store(callLimit: .seconds(10)) { $0.endpoints.swapAt(0, follower) }
            var last = try await store.commit(put("/t/a", "start")).revision
            for round in 0..<2 {
                let transaction = put("/t/a", "round \(round)", since: last)
                cluster.members[follower].freeze()
                async let outcome = store.commit(transaction)
                // The connection is given up after 1.5 s of silence at the earliest.
                try await Task.sleep(for: .milliseconds(1_300 + thawAfter * (round + 1)))
                cluster.members[follower].thaw()
                let revision = try await outcome.revision
                #expect(revision != nil)
                let entry = try await store.get(key)
                #expect(entry?.value == Data("round \(round)".utf8))
                #expect(entry?.revision == revision)
                last = revision
            }
            await store.close()
        }

        @Test func `members tell of themselves, those that are down by why`() async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            let leader = try await cluster.leader()
            let down = (leader + 1) % 3
            cluster.members[down].kill()
            let store = cluster.store(callLimit: .seconds(2))
            let status = await store.status()
            #expect(status.map(\.endpoint) == cluster.settings().endpoints)
            #expect(try status[leader].result.get().isLeader)
            #expect(try status[leader].result.get().version.hasPrefix("3."))
            #expect { try status[down].result.get() } throws: { "\($0)".contains("connection refused") }
            await store.close()
        }
    }
}
