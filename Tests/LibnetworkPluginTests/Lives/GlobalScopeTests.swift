// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Dataplane
import Datastore
import Foundation
import Testing

@testable import LibnetworkPlugin

/// Engines up to 20.10 with a cluster store: all of them know a network, and only the one that makes it says so.
@Suite struct `A network of global scope` {
    private let network = dockerID(0xabc)
    private let labelled = #"{"org.projectcalico.label.tier":"front","com.docker.network.driver.mtu":"1400"}"#

    private static var settings: NetworkDriver.Settings {
        var settings = NetworkDriver.Settings()
        settings.scope = "global"
        return settings
    }

    private func first(_ engine: RecordedEngine = RecordedEngine()) async throws -> Plugin {
        try await Plugin.fresh(engine: engine, settings: Self.settings)
    }

    /// The plugin of another host on the same datastore. It knows what the store holds now, and no later news.
    private func second(_ other: Plugin, _ engine: RecordedEngine = RecordedEngine()) async throws -> Plugin {
        try await Plugin(on: other.store, node: "host-2", engine: engine, settings: Self.settings)
    }

    @Test func `the engine is told of its scope`() async throws {
        #expect(try await first().call("NetworkDriver.GetCapabilities")["Scope"]?.string == "global")
    }

    @Test func `its options hold on a host that never heard of it, though the engine there keeps silent`() async throws
    {
        let here = try await first()
        try await here.createNetwork(generic: labelled, name: "web")
        try await eventually { here.record(network)?.name == "web" }
        let there = try await second(here)
        there.engine.fallSilent()
        try await expectOptionsHold(there, besides: here)
    }

    @Test func `its options hold where news of it has not arrived yet`() async throws {
        let here = try await first()
        let options = ["org.projectcalico.label.tier": "front", "com.docker.network.driver.mtu": "1400"]
        let there = try await second(
            here, RecordedEngine([network: .init(name: "web", isGlobal: true, options: options)]))
        try await here.createNetwork(generic: labelled, name: "web")
        try await expectOptionsHold(there, besides: here)
    }

    private func expectOptionsHold(_ there: Plugin, besides here: Plugin) async throws {
        let life = Life(2)
        let addresses = try await life.start(there)
        let endpoint = try #require(try there.endpoint(life.endpoint))
        #expect(endpoint.spec.node == "host-2" && endpoint.spec.profiles == ["web"])
        #expect(endpoint.metadata.labels["tier"] == "front")
        #expect(there.dataplane.link(EndpointIdentity.interfaceName(life.endpoint))?.mtu == 1400)
        let record = try #require(there.record(network))
        #expect(record.created == here.record(network)?.created, "one record for all hosts")
        try await life.stop(addresses, there)
        try await there.deleteNetwork(network)
        try await here.expectNothingLeft()
    }

    @Test func `a pool that was just made on another host is known`() async throws {
        let here = try await first()
        let there = try await second(here)
        try await here.faults.put(pool: "p9", "10.9.0.0/16")
        let pools = try await here.createNetwork(subnet: "10.9.1.0/24")
        #expect(pools == ["p9@10.9.1.0/24"])
        let reply = try await Life(2).requestAddress(pools[0], there, address: "10.9.1.7")
        #expect(reply.address == "10.9.1.7", "\(reply)")
    }

    @Test func `an address that one host holds is refused on another, by the holder's name`() async throws {
        let here = try await first()
        let there = try await second(here)
        #expect(try await Life(1).requestAddress("p4", here, address: "192.168.7.7").status == 200)
        let refused = try await Life(2).requestAddress("p4", there, address: "192.168.7.7")
        #expect(refused.refusal?.contains(Plugin.node) == true, "\(refused)")
    }

    @Test func `a reserved address goes with the network, whichever host removes that; a container's does not`()
        async throws
    {
        let here = try await first()
        _ = try await here.call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.0.7"))
        _ = try await Life(1).requestAddress("p4", here, address: "192.168.0.8")
        let there = try await second(here)
        for address in ["192.168.0.7", "192.168.0.8"] {
            #expect(try await there.call("IpamDriver.ReleaseAddress", Sample.release(address)).status == 200)
        }
        #expect(try await here.contents().addresses == ["192.168.0.8"])
    }

    @Test func `of local scope another host's reserved address stays`() async throws {
        let here = try await Plugin.fresh()
        _ = try await here.call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.0.7"))
        let there = try await Plugin(on: here.store, node: "host-2")
        _ = try await there.call("IpamDriver.ReleaseAddress", Sample.release("192.168.0.7"))
        #expect(try await here.contents().addresses == ["192.168.0.7"])
    }

    @Test func `next hops differ between networks of different hosts, for a container may join both`() async throws {
        let here = try await first()
        try await here.createNetwork(dockerID(1))
        let there = try await second(here)
        try await there.createNetwork(dockerID(2))
        var gateways: Set<String> = []
        for number in 1...2 {
            let life = Life(10 + number, network: dockerID(number))
            try await life.start(there)
            gateways.insert(try #require(try await life.join(there)["Gateway"]?.string))
        }
        #expect(gateways.count == 2)
    }

    @Test func `it stays while any host has an endpoint on it`() async throws {
        let other = EngineNetwork(name: "other", isGlobal: true)
        let here = try await first(RecordedEngine([dockerID(2): other]))
        for id in [network, dockerID(2)] { try await here.createNetwork(id) }
        let there = try await second(here)
        let addresses = try await Life(3).start(there)
        try await sweepTwice(here)
        #expect(here.record(network) != nil)
        try await Life(3).stop(addresses, there)
        try await sweepTwice(here)
        #expect(here.record(network) == nil && here.record(dockerID(2)) != nil)
    }

    /// Engine 20.10 then answers 404 for each of them.
    @Test func `it stays while the engine knows no network of the cluster store, which may be away`() async throws {
        let here = try await first(RecordedEngine([dockerID(3): .init(name: "bridge-like")]))
        for id in [network, dockerID(3)] { try await here.createNetwork(id) }
        try await sweepTwice(here)
        #expect(here.record(network) != nil)
    }

    @Test func `its reserved address stays while the engine knows no network of the cluster store`() async throws {
        let here = try await first(RecordedEngine([dockerID(3): .init(name: "bridge-like")]))
        _ = try await here.call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.0.7"))
        let reconciler = here.reconciler()
        let later = Date.now.addingTimeInterval(Orphan.grace + 600)
        for _ in 0..<2 { await reconciler.sweep(at: later) }
        #expect(try await here.contents().addresses == ["192.168.0.7"])
        here.engine.learn(dockerID(4), .init(name: "blue", isGlobal: true))
        for _ in 0..<2 { await reconciler.sweep(at: later) }
        #expect(try await here.contents().addresses == [])
    }

    /// As a process that has seen all news would.
    private func sweepTwice(_ plugin: Plugin) async throws {
        await plugin.replica.refresh()
        let reconciler = plugin.reconciler()
        for _ in 0..<2 { await reconciler.sweep() }
    }
}
