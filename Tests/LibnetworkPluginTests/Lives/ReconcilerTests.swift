// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM
import TestSupport
import Testing

@testable import LibnetworkPlugin

@Suite struct `What nobody asks us to give back` {
    private let later = Date.now.addingTimeInterval(Orphan.grace + 600)
    private let network = dockerID(0xabc)

    @Test func `an address whose endpoint never came is released, but not before its time`() async throws {
        let plugin = try await Plugin.fresh()
        let reply = try await Life(1).requestAddress("CalicoPoolIPv4", plugin)
        let reconciler = plugin.reconciler()
        await reconciler.sweep()
        #expect(try await plugin.contents().addresses == [try #require(reply.address)])
        await reconciler.sweep(at: later)
        #expect(try await plugin.contents().addresses.count == 1, "one look is not enough")
        await reconciler.sweep(at: later)
        try await plugin.expectNothingLeft()
    }

    @Test func `an address in use stays, however old`() async throws {
        let plugin = try await Plugin.fresh(
            engine: RecordedEngine([network: .init(name: "web", endpoints: [dockerID(1)])]))
        let addresses = try await Life(1).start(plugin)
        for _ in 0..<3 { await plugin.reconciler().sweep(at: later) }
        #expect(try await plugin.contents().addresses == Set(addresses))
    }

    @Test func `an address in use stays when the remnant of another endpoint goes that names it, too`() async throws {
        let plugin = try await Plugin.fresh(
            engine: RecordedEngine([network: .init(name: "web", endpoints: [dockerID(1)])]))
        let addresses = try await Life(1).start(plugin)
        let remnant = try plugin.network.identity(dockerID(2)).endpoint(
            addresses: addresses.compactMap { IPAddress($0) }, mac: .random(), profiles: [], labels: [:],
            annotations: [:])
        for write in [Transaction.Write.put(remnant.key, remnant), .delete(remnant.key)] {
            try await plugin.replica.commit(Transaction(writes: [write]))
        }
        let reconciler = plugin.reconciler()
        for _ in 0..<3 { await reconciler.sweep(at: later) }
        #expect(try await plugin.contents().addresses == Set(addresses))
    }

    @Test func `an address waits as long as requests may take`() async throws {
        let plugin = try await Plugin.fresh()
        _ = try await Life(1).requestAddress("p4", plugin)
        let reconciler = plugin.reconciler(requestTimeout: .seconds(120))
        for _ in 0..<2 { await reconciler.sweep(at: .now.addingTimeInterval(240)) }
        #expect(try await plugin.contents().addresses.count == 1)
        for _ in 0..<2 { await reconciler.sweep(at: later) }
        try await plugin.expectNothingLeft()
    }

    /// A plugin with one `--aux-address`, 192.168.0.5, of the pool `id`.
    private func reserving(from id: String = "p4", _ networks: [String: EngineNetwork] = [:]) async throws -> Plugin {
        let plugin = try await Plugin.fresh(engine: RecordedEngine(networks))
        #expect(try await plugin.call("IpamDriver.RequestAddress", Sample.address(id, "192.168.0.5")).status == 200)
        return plugin
    }

    @Test func `a reserved address goes once none of the engine's networks has named it twice in a row`() async throws {
        var web = EngineNetwork(name: "web")
        web.auxiliaryAddresses = [try #require(IPAddress("192.168.0.5"))]
        let plugin = try await reserving([network: web])
        let reconciler = plugin.reconciler()
        for _ in 0..<3 { await reconciler.sweep(at: later) }
        #expect(try await Life(1).requestAddress("p4", plugin, address: "192.168.0.5").status == 500)
        plugin.engine.learn(network, nil)
        await reconciler.sweep(at: later)
        plugin.engine.learn(network, web)
        await reconciler.sweep(at: later)
        plugin.engine.learn(network, nil)
        await reconciler.sweep(at: later)
        #expect(try await plugin.contents().addresses == ["192.168.0.5"])
        await reconciler.sweep(at: later)
        try await plugin.expectNothingLeft()
    }

    @Test(arguments: ["it is young", "the engine is silent", "the engine does not tell", "a network names its pool"])
    func `a reserved address stays where`(_ sign: String) async throws {
        let named = EngineNetwork(name: "web", ipamOptions: ["org.projectcalico.pool": "p4"])
        let plugin = try await reserving(
            from: sign == "the engine does not tell" ? "CalicoPoolIPv4" : "p4",
            sign == "a network names its pool" ? [network: named] : [:])
        if sign == "the engine is silent" { plugin.engine.fallSilent() }
        let reconciler = plugin.reconciler()
        for _ in 0..<3 { await reconciler.sweep(at: sign == "it is young" ? .now : later) }
        #expect(try await plugin.contents().addresses == ["192.168.0.5"])
    }

    /// What `docs/troubleshooting.md` advises, "Something is left over".
    @Test func `a reserved address that stays is free once the daemon is told so as Docker would`() async throws {
        let plugin = try await reserving(from: "CalicoPoolIPv4")
        #expect(try await plugin.call("IpamDriver.ReleaseAddress", #"{"Address":"192.168.0.5"}"#).status == 200)
        try await plugin.expectNothingLeft()
    }

    @Test func `another node's reserved address stays`() async throws {
        let neighbour = try await reserving().neighbour("host-2")
        let reconciler = neighbour.reconciler()
        for _ in 0..<2 { await reconciler.sweep(at: later) }
        #expect(try await neighbour.contents().addresses == ["192.168.0.5"])
    }

    @Test func `no address is released while an endpoint cannot be read`() async throws {
        let plugin = try await Plugin.fresh()
        let addresses = try await Life(1).start(plugin)
        let key = try plugin.network.identity(dockerID(1)).key()
        _ = try await plugin.store.commit(Transaction(writes: [.put(key, bytes: Data("{}}".utf8))]))
        let next = try await plugin.restarted()
        await next.reconciler().sweep(at: later)
        #expect(next.replica.read { $0.owner(of: IPAddress(addresses[0]) ?? IPAddress(family: .v4, value: 0)) } != nil)
    }

    @Test func `another node's addresses and other orchestrators' stay`() async throws {
        let plugin = try await Plugin.fresh()
        let old = ["node": "host-2", "mac": "02:42:00:00:00:01", "timestamp": "2020-01-01T00:00:00Z"]
        let handles = ["libnetwork.host-2.024200000001", "k8s.web", "libnetwork.host-1.example.com.024200000001"]
        for (number, handle) in handles.enumerated() {
            let owner = AllocationAttributes(handleID: handle, secondary: old)
            _ = try await plugin.allocator.assign(
                .init(family: .v4, address: IPAddress("192.168.0.\(number + 5)"), owner: owner))
        }
        let reconciler = plugin.reconciler()
        for _ in 0..<2 { await reconciler.sweep(at: later) }
        #expect(try await plugin.contents().addresses.count == 3)
    }

    @Test func `an endpoint that the engine does not know goes at the second sweep`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([network: .init(name: "web")]))
        try await Life(1).start(plugin)
        let reconciler = plugin.reconciler()
        await reconciler.sweep()
        #expect(try await plugin.contents().endpoints.count == 1)
        await reconciler.sweep()
        #expect(try await plugin.contents() == Contents(networks: [network], profiles: ["web"]))
        #expect(plugin.dataplane.interfaces.isEmpty)
    }

    @Test func `an endpoint found again in between stays`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([network: .init(name: "web")]))
        try await Life(1).start(plugin)
        let reconciler = plugin.reconciler()
        await reconciler.sweep()
        plugin.engine.learn(network, .init(name: "web", endpoints: [dockerID(1)]))
        await reconciler.sweep()
        plugin.engine.learn(network, .init(name: "web"))
        await reconciler.sweep()
        #expect(try await plugin.contents().endpoints.count == 1)
    }

    @Test func `an endpoint with somebody behind its interface stays`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([network: .init(name: "web")]))
        try await Life(1).start(plugin)
        plugin.dataplane.keepAlive(EndpointIdentity.interfaceName(dockerID(1)))
        let reconciler = plugin.reconciler()
        for _ in 0..<3 { await reconciler.sweep(at: later) }
        #expect(try await plugin.contents().endpoints.count == 1)
    }

    @Test func `an engine that does not answer costs nobody anything`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([network: .init(name: "web")]))
        try await Life(1).start(plugin)
        plugin.engine.fallSilent()
        let before = try await plugin.contents()
        let reconciler = plugin.reconciler()
        for _ in 0..<3 { await reconciler.sweep(at: later) }
        #expect(try await plugin.contents() == before)
    }

    @Test func `a network that the engine twice does not know goes`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork()
        let reconciler = plugin.reconciler()
        await reconciler.sweep()
        #expect(try await plugin.contents().networks == [network])
        await reconciler.sweep()
        try await plugin.expectNothingLeft()
    }

    @Test func `a stale endpoint's removal leaves its address to the container that has it now`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([network: .init(name: "web")]))
        let stale = Life(1)
        let addresses = try await stale.start(plugin)
        // The engine released the address while the endpoint was being written, and gave it to another container.
        try await stale.release(addresses, plugin)
        #expect(try await stale.createEndpoint(addresses, plugin).status == 200)
        #expect(try await Life(2).requestAddress("p4", plugin, address: addresses[0]).status == 200)
        let reconciler = plugin.reconciler()
        for _ in 0..<2 { await reconciler.sweep() }
        let contents = try await plugin.contents()
        #expect(contents.endpoints.isEmpty)
        #expect(contents.addresses == Set(addresses))
    }

    @Test func `a stale endpoint's removal leaves its address to the same container's next endpoint`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([network: .init(name: "web")]))
        let stale = Life(1, pools: ["p4"])
        let addresses = try await stale.start(plugin)
        let reconciler = plugin.reconciler()
        await reconciler.sweep()
        // With --ip and --mac-address it comes again under the same ones, while a sweep asks the engine.
        let asked = plugin.engine.questions.count
        plugin.engine.hang()
        async let sweep: Void = reconciler.sweep()
        try await eventually { plugin.engine.questions.count > asked }
        try await stale.stop(addresses, plugin)
        let next = Life(2, mac: stale.mac)
        #expect(try await next.requestAddress("p4", plugin, address: addresses[0]).status == 200)
        #expect(try await next.createEndpoint(addresses, plugin).status == 200)
        plugin.engine.hang(false)
        await sweep
        let contents = try await plugin.contents()
        #expect(contents.endpoints == [next.endpoint] && contents.addresses == Set(addresses))
    }

    @Test func `an address whose endpoint never came may be asked for by number`() async throws {
        let plugin = try await Plugin.fresh()
        let old = ["node": Plugin.node, "mac": "02:42:00:00:00:01", "timestamp": "2020-01-01T00:00:00Z"]
        _ = try await plugin.allocator.assign(
            .init(
                family: .v4, address: IPAddress("192.168.5.5"),
                owner: .init(handleID: "libnetwork.host-1.024200000001", secondary: old)))
        #expect(try await Life(2).requestAddress("p4", plugin, address: "192.168.5.5").status == 200)
        let contents = try await plugin.contents()
        #expect(contents.addresses == ["192.168.5.5"] && contents.handled == 1)
    }

    @Test func `blocks that have been empty for ten minutes are given back with their claims, but for one`()
        async throws
    {
        let plugin = try await Plugin.fresh(pools: [:])
        var small = IPPool(
            metadata: ResourceMetadata(name: "small").asCreated(),
            spec: IPPoolSpec(cidr: try #require(CIDR("10.65.0.0/24"))))
        small.spec.blockSize = 31
        try await plugin.replica.commit(Transaction(writes: [.put(small.key, small)]))
        let lives = (1...4).map { Life($0, pools: ["small"]) }
        let addresses = try await lives.asyncMap { try await $0.requestAddresses(plugin) }
        for (life, held) in zip(lives, addresses) { try await life.release(held, plugin) }
        let reconciler = plugin.reconciler()
        let start = Date.now
        for now in [start, start.addingTimeInterval(IdleBlocks.patience - 1)] {
            await reconciler.sweep(at: now)
            #expect(try await blocksAndClaims(plugin) == [2, 2])
        }
        await reconciler.sweep(at: start.addingTimeInterval(IdleBlocks.patience + 1))
        // Nobody waits for it.
        try await eventually { try await blocksAndClaims(plugin) == [1, 1] }
    }

    /// How many of each the store holds.
    private func blocksAndClaims(_ plugin: Plugin) async throws -> [Int] {
        try await [Key.blocks, Key.affinities].asyncMap { try await plugin.store.list(under: $0).entries.count }
    }
}
