// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import Testing

@testable import calico_libnetwork

@Suite struct `Deleting a pool` {
    private let store: SteppedStore
    private let pool: IPPool
    private static let blocks = 100

    /// A pool with 100 empty blocks, each claimed by one of two hosts.
    init() async throws {
        store = SteppedStore(on: try SQLiteStore(path: ":memory:"))
        var spec = IPPoolSpec(cidr: try #require(CIDR("10.65.0.0/24")))
        spec.blockSize = 31
        pool = IPPool(metadata: ResourceMetadata(name: "blue").asCreated(), spec: spec)
        var writes: [Transaction.Write] = [.put(pool.key, pool)]
        for cidr in try (0..<Self.blocks).map(block) {
            let host = "host-\(cidr.address.value & 2)"
            writes.append(.put(Key.block(cidr), IPAMBlock(cidr: cidr, host: host, now: .now)))
            writes.append(.put(Key.affinity(host: host, block: cidr), BlockAffinity(.confirmed)))
        }
        try await store.put(writes)
    }

    private func block(_ number: Int) throws -> CIDR { try #require(CIDR("10.65.0.\(2 * number)/31")) }

    private func command() async throws -> CommandStore {
        let configuration = try Configuration(environment: [:], readFile: { _ in nil }, hostName: "host-1")
        return try await CommandStore(configuration, store)
    }

    @Test func `takes its blocks and their claims along, in transactions that etcd accepts`() async throws {
        try await command().delete(pool, pause: .zero)
        #expect(try await store.list(under: Key("/calico/")).entries.isEmpty)
        #expect(store.largest <= 128)
    }

    @Test func `is refused where a block cannot be read`() async throws {
        let key = Key.block(try block(7))
        try await store.put([.put(key, bytes: Data("new format".utf8))])
        await #expect { try await command().delete(pool, pause: .zero) } throws: {
            "\($0)".hasPrefix("\(key) cannot be read")
        }
        #expect(try await command().state.pools["blue"]?.value.spec.disabled == false)
    }

    @Test(arguments: [false, true])
    func `is called off when an address is given meanwhile, and the pool is as it was`(isDisabled: Bool) async throws {
        var pool = pool
        pool.spec.disabled = isDisabled
        try await store.put([.put(pool.key, pool)])
        let last = try block(Self.blocks - 1)
        store.beforeCommit = { [store] in
            guard store.deletions == 1 else { return }
            var block = IPAMBlock(cidr: last, host: "host-2", now: .now)
            _ = block.assign(last.address, to: AllocationAttributes(handleID: "h", secondary: ["node": "host-2"]))
            try await store.put([.put(Key.block(last), block)])
        }
        let deletion = try await command()
        await #expect { try await deletion.delete(pool, pause: .zero) } throws: {
            "\($0)".hasPrefix("1 addresses of pool blue are in use")
        }
        let state = try await command().state
        #expect(state.pools["blue"]?.value.spec.disabled == isDisabled)
        #expect(state.blocks[last]?.value.allocations.contains { $0 != nil } == true)
        #expect(Set(state.blocks.keys) == Set(state.affinities.keys.compactMap(\.blockCIDR)))
    }

    @Test func `says so where the pool could not be switched on again`() async throws {
        store.beforeCommit = { [store] in
            if store.deletions == 1 { try await store.lock() }
        }
        await #expect { try await command().delete(pool, pause: .zero) } throws: {
            "\($0)".hasPrefix("the datastore is locked") && "\($0)".contains("; and pool blue stays disabled: ")
        }
        #expect(try await command().state.pools["blue"]?.value.spec.disabled == true)
    }
}
