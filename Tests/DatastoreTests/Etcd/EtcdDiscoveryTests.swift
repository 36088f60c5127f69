// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Synchronization
import Testing

@testable import calico_libnetwork

extension EtcdTests {
    @Suite struct `Members of etcd that a domain names` {
        /// Within 20 s, on a machine with other work.
        private func eventually(_ isSo: () async -> Bool) async throws -> Bool {
            let end = ContinuousClock.now + .seconds(20)
            while ContinuousClock.now < end {
                if await isSo() { return true }
                try await Task.sleep(for: .milliseconds(10))
            }
            return await isSo()
        }

        private func hears(_ replica: Replica<Texts>, of path: String) async throws -> Bool {
            try await eventually { replica.snapshot.values[Key(path)] != nil }
        }

        /// The domain names the first member, and once that is dead the two others.
        @Test(.timeLimit(.minutes(2))) func `are followed, by commits and by watches, when others take over`()
            async throws
        {
            let cluster = try await EtcdCluster.start(members: 3)
            let members = cluster.settings().endpoints
            let lookUps = Mutex(0)
            let store = DiscoveredEtcdStore(EtcdSettings(endpoints: []), lookUpInterval: .milliseconds(100)) {
                () async throws(StoreError) in
                let count = lookUps.withLock { count in
                    count += 1
                    return count
                }
                return count == 1 ? [members[0]] : [members[1], members[2]]
            } open: { settings in
                cluster.store { $0.endpoints = settings.endpoints }
            }
            #expect(try await store.commit(put("/t/before", "mine")).revision != nil)
            let replica = Replica<Texts>(of: store, under: [Key("/t/")], logger: .silent)
            try await replica.load()
            let following = Task { await replica.follow() }
            let other = cluster.store(callLimit: .seconds(10)) { $0.endpoints.removeFirst() }
            #expect(try await other.commit(put("/t/heard", "another's")).revision != nil)
            #expect(try await hears(replica, of: "/t/heard"))
            #expect(lookUps.withLock { $0 } == 1)

            cluster.members[0].kill()
            // Sent once more, what was carried out meets its own write.
            #expect(try await eventually { (try? await store.commit(put("/t/after", "mine"))) != nil })
            #expect(try await other.get(Key("/t/after"))?.value == Data("mine".utf8))
            #expect(try await other.commit(put("/t/heard-after", "another's")).revision != nil)
            #expect(try await hears(replica, of: "/t/heard-after"))
            following.cancel()
            await following.value
            await other.close()
        }
    }
}
