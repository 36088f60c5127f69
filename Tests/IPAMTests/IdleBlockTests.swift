// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM
import Testing

@Suite struct `Idle blocks` {
    private let start = Date(timeIntervalSince1970: 1_800_000_000)
    private var later: Date { start.addingTimeInterval(IdleBlocks.patience + 1) }

    /// A host with two full blocks of two addresses each.
    private func fullHost() async throws -> (Cluster, Host, [IPAddress]) {
        let cluster = try await Cluster(pools: "10.65.0.0/24", blockSize: 31)
        let host = try await cluster.host()
        var addresses: [IPAddress] = []
        for number in 0..<4 { addresses.append(try await host.assign("h\(number)")) }
        return (cluster, host, addresses.sorted())
    }

    @Test func `are given back but for one, claim and all`() async throws {
        let (cluster, host, addresses) = try await fullHost()
        for address in addresses { try await host.release(address) }
        var idle = IdleBlocks()
        #expect(idle.look(at: host.replica.snapshot, node: host.name, now: start).isEmpty)
        let blocks = idle.look(at: host.replica.snapshot, node: host.name, now: later)
        #expect(blocks.count == 1)
        for block in blocks { await host.allocator.giveBack(block) }
        _ = try await host.assign("next")
        #expect(try await cluster.state().blocks.count == 1)
        #expect(try await cluster.state().affinities.count == 1)
        try await cluster.expectInvariants()
    }

    @Test func `all go where another block of the pool is in use`() async throws {
        let (_, host, addresses) = try await fullHost()
        for address in addresses.prefix(2) { try await host.release(address) }
        var idle = IdleBlocks()
        _ = idle.look(at: host.replica.snapshot, node: host.name, now: start)
        let blocks = idle.look(at: host.replica.snapshot, node: host.name, now: later)
        #expect(blocks == [CIDR("\(addresses[0])/31")])
    }

    @Test(
        arguments: [
            { $0.spec.disabled = true }, { $0.spec.nodeSelector = "has(rack)" },
            { $0.metadata.unknown["deletionTimestamp"] = "2026-08-22T13:33:20Z" },
        ] as [@Sendable (inout IPPool) -> Void])
    func `all go where their pool serves this host no more`(change: @Sendable (inout IPPool) -> Void) async throws {
        let (cluster, host, addresses) = try await fullHost()
        for address in addresses.dropFirst() { try await host.release(address) }
        try await cluster.put(pool: "pool1", "10.65.0.0/24") {
            $0.spec.blockSize = 31
            change(&$0)
        }
        await host.replica.refresh()
        var idle = IdleBlocks()
        _ = idle.look(at: host.replica.snapshot, node: host.name, now: start)
        let blocks = idle.look(at: host.replica.snapshot, node: host.name, now: later)
        #expect(blocks == [CIDR("\(addresses[2])/31")], "the other one has an address in use")
        for block in blocks { await host.allocator.giveBack(block) }
        try await host.release(addresses[0])
        #expect(try await cluster.state().blocks[blocks[0]] == nil)
        try await cluster.expectInvariants()
    }

    @Test func `the last one goes, too, where its pool serves this host no more`() async throws {
        let (cluster, host, addresses) = try await fullHost()
        for address in addresses { try await host.release(address) }
        try await cluster.node(host.name, labels: ["rack": "b"])
        try await cluster.put(pool: "pool1", "10.65.0.0/24") {
            $0.spec.blockSize = 31
            $0.spec.nodeSelector = "rack == 'a'"
        }
        await host.replica.refresh()
        var idle = IdleBlocks()
        _ = idle.look(at: host.replica.snapshot, node: host.name, now: start)
        #expect(idle.look(at: host.replica.snapshot, node: host.name, now: later).count == 2)
        try await cluster.node(host.name, labels: ["rack": "a"])
        await host.replica.refresh()
        #expect(idle.look(at: host.replica.snapshot, node: host.name, now: later).count == 1)
    }

    @Test func `a block used between two looks starts anew`() async throws {
        let (_, host, addresses) = try await fullHost()
        for address in addresses.prefix(2) { try await host.release(address) }
        var idle = IdleBlocks()
        _ = idle.look(at: host.replica.snapshot, node: host.name, now: start)
        try await host.release(try await host.assign("passing"))
        #expect(idle.look(at: host.replica.snapshot, node: host.name, now: later).isEmpty)
    }

    @Test func `a block that filled meanwhile stays`() async throws {
        let (cluster, host, addresses) = try await fullHost()
        await host.allocator.giveBack(try #require(CIDR("\(addresses[0])/31")))
        _ = try await host.assign("next")
        #expect(try await cluster.state().blocks.count == 3)
        try await cluster.expectInvariants()
    }
}
