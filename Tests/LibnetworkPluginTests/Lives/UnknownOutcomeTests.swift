// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Testing

@testable import LibnetworkPlugin

/// The engine is told that there is no endpoint. What it does then is to release the addresses; it never says
/// DeleteEndpoint (libnetwork, `network.createEndpoint`).
@Suite struct `An endpoint whose commit got no answer` {
    private let life = Life(1)
    private let dual = Life(2, pools: ["CalicoPoolIPv4", "CalicoPoolIPv6"])

    /// A plugin that has refused the endpoint, on a store that is still silent.
    private func refused(
        _ life: Life, _ fate: FaultyStore.Fate
    ) async throws -> (Plugin, addresses: [String]) {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(v6: true, name: "web")
        try await eventually { plugin.record(life.network)?.name == "web" }
        let addresses = try await life.requestAddresses(plugin)
        plugin.faults.fallSilent(fate)
        let reply = try await life.createEndpoint(addresses, plugin)
        #expect(reply.refusal?.contains("did not say") == true, "\(reply)")
        return (plugin, addresses)
    }

    private func expectNothingLeft(_ plugin: Plugin) async throws {
        let network = Contents(networks: [life.network], profiles: ["web"])
        try await eventually { try await plugin.contents() == network }
        #expect(try await plugin.deleteNetwork().status == 200)
        try await plugin.expectNothingLeft()
    }

    @Test(arguments: FaultyStore.Fate.allCases)
    func `is gone after the engine's own clean-up`(_ fate: FaultyStore.Fate) async throws {
        let (plugin, addresses) = try await refused(dual, fate)
        plugin.faults.fallSilent(nil)
        try await dual.release(addresses, plugin)
        try await expectNothingLeft(plugin)
    }

    @Test(arguments: FaultyStore.Fate.allCases)
    func `is gone though the clean-up gets no answer either`(_ fate: FaultyStore.Fate) async throws {
        let (plugin, addresses) = try await refused(life, fate)
        let reply = try await plugin.call("IpamDriver.ReleaseAddress", Sample.release(addresses[0]))
        #expect(reply.status == 500, "\(reply)")
        plugin.faults.fallSilent(nil)
        try await expectNothingLeft(plugin)
    }

    @Test(arguments: FaultyStore.Fate.allCases)
    func `stays where the engine asks for it again`(_ fate: FaultyStore.Fate) async throws {
        let (plugin, addresses) = try await refused(life, fate)
        plugin.faults.fallSilent(nil)
        #expect(try await life.createEndpoint(addresses, plugin).status == 200)
        #expect(try await life.join(plugin).status == 200)
        #expect(try await plugin.contents().endpoints == [life.endpoint])
        try await life.stop(addresses, plugin)
        try await expectNothingLeft(plugin)
    }
}
