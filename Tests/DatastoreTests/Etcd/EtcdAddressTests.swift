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

extension EtcdTests {
    /// Two hosts with ten clients each, for a minute, while etcd's members are killed in turn.
    @Suite struct `Addresses under load` {
        private static let duration = Duration.seconds(60)

        @Test func `have one owner at a time, and none is lost, though members are killed in turn`() async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            try await createPool(in: cluster)
            let ledger = Ledger<IPAddress>()
            let hosts = try await ["host-1", "host-2"].asyncMap { try await Host($0, cluster) }
            let end = ContinuousClock.now + Self.duration
            try await withThrowingTaskGroup(of: Void.self) { group in
                for host in hosts {
                    for client in 0..<10 { group.addTask { try await live(on: host, client, ledger, until: end) } }
                }
                group.addTask { try await disturb(cluster, until: end) }
                try await group.waitForAll()
            }
            #expect(await ledger.duplicates == [])
            #expect(await ledger.count > 1000)
            #expect(try await leftovers(of: hosts, in: cluster) == [])
            for host in hosts { await host.stop() }
        }

        private func createPool(in cluster: EtcdCluster) async throws {
            let store = cluster.store(callLimit: .seconds(10))
            var pool = IPPool(
                metadata: ResourceMetadata(name: "pool").asCreated(), spec: IPPoolSpec(cidr: CIDR("10.65.0.0/26")!))
            // Small blocks are claimed, borrowed and given back all the time.
            pool.spec.blockSize = 30
            _ = try await store.commit(Transaction(if: [.absent(pool.key)], writes: [.put(pool.key, pool)]))
            await store.close()
        }

        private func disturb(_ cluster: EtcdCluster, until end: ContinuousClock.Instant) async throws {
            var turn = 0
            while ContinuousClock.now + .seconds(3) < end {
                try await Task.sleep(for: .seconds(1.5))
                cluster.members[turn % 3].kill()
                try await Task.sleep(for: .seconds(1))
                try await cluster.start(turn % 3)
                turn += 1
            }
        }

        private func live(on host: Host, _ client: Int, _ ledger: Ledger<IPAddress>, until end: ContinuousClock.Instant)
            async throws
        {
            var round = 0
            while ContinuousClock.now < end {
                round += 1
                let owner = AllocationAttributes(
                    handleID: "\(host.name).\(client)", secondary: ["node": host.name, "round": "\(round)"])
                guard let address = try? await host.allocator.assign(AddressRequest(family: .v4, owner: owner)) else {
                    continue
                }
                await ledger.take(address)
                try await Task.sleep(for: .milliseconds(Int.random(in: 5...50)))
                await ledger.giveBack(address)
                // Released for certain, as a container's end is repeated until it succeeds.
                try await release(address, of: owner, on: host)
            }
        }

        /// The store must say that the address was the owner's: an answer that it never kept is a lost one.
        private func release(_ address: IPAddress, of owner: AllocationAttributes, on host: Host) async throws {
            var isInDoubt = false
            for _ in 0..<200 {
                do throws(IPAMError) {
                    let former = try await host.allocator.release(.init(address) { $0 == owner })
                    // Where an attempt got no answer, that one may have been carried out.
                    #expect(former == owner || former == nil && isInDoubt, "\(address) was given to \(owner.words)")
                    return
                } catch {
                    if case .store(.outcomeUnknown) = error { isInDoubt = true }
                    try await Task.sleep(for: .milliseconds(50))
                }
            }
            throw TestFailure("\(address) could not be released within many attempts")
        }

        /// What is still held once those requests are undone that ended without an answer.
        private func leftovers(of hosts: [Host], in cluster: EtcdCluster) async throws -> [String] {
            let store = cluster.store(callLimit: .seconds(10))
            var held: [String] = []
            for _ in 0..<100 {
                var state = ClusterState()
                for entry in try await store.list(under: Key("/calico/")).entries { state.apply(Change(entry)) }
                held = state.blocks.values.flatMap(\.value.assignments).map { "\($0.address) of \($0.owner.words)" }
                held += state.handles.keys.map { "handle \($0)" }
                if held.isEmpty { break }
                try await Task.sleep(for: .milliseconds(100))
            }
            await store.close()
            return held
        }
    }
}

private struct Host: Sendable {
    let name: String
    let store: EtcdStore
    let allocator: AddressAllocator
    private let following: Task<Void, Never>

    init(_ name: String, _ cluster: EtcdCluster) async throws {
        self.name = name
        store = cluster.store(callLimit: .seconds(3))
        let replica = Replica<ClusterState>(of: store, under: ClusterState.ranges, logger: .silent)
        try await replica.load()
        following = Task { await replica.follow() }
        allocator = AddressAllocator(replica: replica, node: name, logger: .silent)
    }

    func stop() async {
        following.cancel()
        await store.close()
    }
}
