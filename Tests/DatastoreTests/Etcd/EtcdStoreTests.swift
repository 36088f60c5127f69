// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Testing

extension EtcdTests {
    @Suite struct `The etcd store` {
        @Test func `keeps the contract`() async throws {
            let cluster = try await EtcdCluster.start()
            for (name, check) in StoreContract.checks {
                try await cluster.empty()
                do { try await check(StoreContract { cluster.store() }) } catch { Issue.record("\(name): \(error)") }
            }
        }

        @Test(arguments: [false, true]) func `makes any number of calls on one connection`(tls: Bool) async throws {
            let cluster = try await EtcdCluster.start(certificates: tls ? try Certificates() : nil)
            let store = cluster.store(callLimit: .seconds(20))
            // Without the raised limit for PINGs, the connection ends after 200.
            for number in 0..<250 {
                #expect(try await store.commit(put("/t/\(number)", "x")).revision != nil)
                #expect(try await store.get(Key("/t/\(number)")) != nil)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<250 { group.addTask { _ = try #require(try await store.get(Key("/t/\(number)"))) } }
                try await group.waitForAll()
            }
            await store.close()
        }

        @Test func `lists thousands of keys as of one revision, and carries large values`() async throws {
            let cluster = try await EtcdCluster.start()
            let store = cluster.store()
            let value = Data(repeating: 7, count: 1_000)
            for start in stride(from: 0, to: 5_000, by: 100) {
                let writes = (start..<start + 100).map { Transaction.Write.put(Key("/many/\($0)"), bytes: value) }
                _ = try await store.commit(Transaction(writes: writes))
            }
            let large = Data(repeating: 8, count: 1_400_000)
            _ = try await store.commit(Transaction(writes: [.put(Key("/many/large"), bytes: large)]))
            let listed = try await store.list(under: Key("/many/"))
            #expect(listed.entries.count == 5_001)
            #expect(listed.entries.map(\.key) == listed.entries.map(\.key).sorted())
            #expect(listed.entries.last?.value == large)
            #expect(listed.revision == listed.entries.map(\.revision).max())
            await store.close()
        }

        @Test func `says which transaction etcd refuses, and why`() async throws {
            let cluster = try await EtcdCluster.start()
            let store = cluster.store()
            let writes = (0..<200).map { Transaction.Write.put(Key("/many/\($0)"), bytes: Data()) }
            await #expect {
                try await store.commit(Transaction(writes: writes))
            } throws: { "\($0)".contains("too many operations") && "\($0)".contains("/many/0") }
            let large = Data(count: 1_700_000)
            await #expect {
                try await store.commit(Transaction(writes: [.put(Key("/large"), bytes: large)]))
            } throws: { "\($0)".contains("too large") }
            await store.close()
        }

        @Test func `says that etcd's disk quota is used up`() async throws {
            let cluster = try await EtcdCluster.start(arguments: ["--quota-backend-bytes", "2000000"])
            let store = cluster.store()
            await #expect {
                for number in 0..<60 {
                    _ = try await store.commit(
                        Transaction(writes: [.put(Key("/\(number)"), bytes: Data(repeating: 1, count: 500_000))]))
                }
            } throws: {
                guard case .full(let text)? = $0 as? StoreError else { return false }
                return text.contains("space exceeded")
            }
            #expect(try await store.get(Key("/0")) != nil)
            await store.close()
        }
    }
}

/// One after the other: each starts members that elect leaders within half a second, on two cores.
@Suite(.serialized) struct EtcdTests {}
