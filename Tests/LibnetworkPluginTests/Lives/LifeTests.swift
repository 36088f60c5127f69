// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import TestSupport
import Testing

@testable import LibnetworkPlugin

@Suite struct `A container's life` {
    private let dual = ["CalicoPoolIPv4", "CalicoPoolIPv6"]

    @Test func `a MAC given to two containers leads to two addresses`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork()
        let one = Life(1, mac: "02:42:ac:11:22:33")
        let two = Life(2, mac: "02:42:ac:11:22:33")
        let first = try await one.start(plugin)
        let second = try await two.start(plugin)
        #expect(first != second)
        try await one.stop(first, plugin)
        #expect(try await plugin.contents().addresses == Set(second))
        try await two.stop(second, plugin)
        try await plugin.deleteNetwork()
        try await plugin.expectNothingLeft()
    }

    @Test func `every step may be repeated, as after a lost answer`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(v6: true)
        let life = Life(1, pools: dual)
        let addresses = try await life.requestAddresses(plugin)
        for step in [life.join, life.leave, life.revoke] as [(Plugin) async throws -> Reply] {
            let created = try await life.createEndpoint(addresses, plugin)
            let again = try await life.createEndpoint(addresses, plugin)
            #expect(created.json == again.json)
            let first = try await step(plugin)
            let second = try await step(plugin)
            #expect(first.status == 200 && first.json == second.json)
        }
        for _ in 0..<2 { try await life.stop(addresses, plugin) }
        try await plugin.deleteNetwork()
        try await plugin.expectNothingLeft()
    }

    @Test func `a repeated CreateEndpoint keeps published ports`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        let addresses = try await life.start(plugin)
        _ = try await life.program(plugin, ports: #"[{"Proto":6,"Port":80,"HostPort":0}]"#)
        let ports = try plugin.endpoint(life.endpoint)?.spec.ports
        #expect(try await life.createEndpoint(addresses, plugin).status == 200)
        #expect(try plugin.endpoint(life.endpoint)?.spec.ports == ports)
        #expect(ports?.count == 1)
    }

    @Test func `an endpoint that loses its IPv6 address goes on with IPv4`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1, pools: dual)
        let addresses = try await life.start(plugin)
        _ = try await plugin.call("IpamDriver.ReleaseAddress", Sample.release(addresses[1], pool: "CalicoPoolIPv6"))
        #expect(try plugin.endpoint(life.endpoint)?.spec.ipNetworks.map(\.description) == [addresses[0] + "/32"])
        #expect(plugin.dataplane.interfaces == [EndpointIdentity.interfaceName(life.endpoint)])
        #expect(try await life.join(plugin)["GatewayIPv6"] == nil)
        try await life.stop(addresses, plugin)
        try await plugin.deleteNetwork(life.network)
        try await plugin.expectNothingLeft()
    }

    @Test func `after an engine's crash only addresses are released, and nothing stays`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1, pools: dual)
        let addresses = try await life.start(plugin)
        try await life.release(addresses, plugin)
        #expect(plugin.dataplane.interfaces.isEmpty)
        try await plugin.deleteNetwork(life.network)
        try await plugin.expectNothingLeft()
    }

    /// Each number of steps done before the plugin is killed.
    @Test(arguments: 0...7)
    func `a plugin that is killed between any two steps goes on`(_ killedAfter: Int) async throws {
        var plugin = try await Plugin.fresh()
        let life = Life(1, pools: dual)
        var addresses: [String] = []
        let steps: [(Plugin) async throws -> Void] = [
            { try await $0.createNetwork(life.network, v6: true) },
            { addresses = try await life.requestAddresses($0) },
            { plugin async throws in #expect(try await life.createEndpoint(addresses, plugin).status == 200) },
            { plugin async throws in #expect(try await life.join(plugin)["GatewayIPv6"]?.string == "fe80::1") },
            { plugin async throws in
                #expect(try await life.program(plugin, ports: #"[{"Proto":17,"Port":53,"HostPort":0}]"#).status == 200)
            },
            { plugin async throws in #expect(try await life.leave(plugin).status == 200) },
            { plugin async throws in #expect(try await life.deleteEndpoint(plugin).status == 200) },
            { try await life.release(addresses, $0) },
        ]
        for (number, step) in steps.enumerated() {
            if number == killedAfter { plugin = try await plugin.restarted() }
            try await step(plugin)
        }
        try await plugin.deleteNetwork(life.network)
        try await plugin.expectNothingLeft()
    }

    @Test func `32 at a time, round after round, share no address and leave no trace, in four commits each`()
        async throws
    {
        let plugin = try await Plugin.fresh()
        let rounds = 8
        let ledger = Ledger<String>()
        try await plugin.createNetwork(name: "web")
        try await eventually { plugin.record(dockerID(0xabc))?.name == "web" }
        let before = plugin.faults.commits
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in 0..<32 {
                group.addTask {
                    for round in 0..<rounds { try await live(Life(client * rounds + round), plugin, ledger) }
                }
            }
            try await group.waitForAll()
        }
        #expect(plugin.faults.commits - before <= 32 * rounds * 4)
        #expect(await ledger.duplicates == [])
        #expect(await ledger.count == 32 * rounds)
        // Reading it checks the blocks' invariants.
        #expect(try await plugin.contents() == Contents(networks: [dockerID(0xabc)], profiles: ["web"]))
        try await plugin.deleteNetwork()
        try await plugin.expectNothingLeft()
    }

    private func live(_ life: Life, _ plugin: Plugin, _ ledger: Ledger<String>) async throws {
        let addresses = try await life.start(plugin)
        for address in addresses { await ledger.take(address) }
        try await life.end(plugin)
        for address in addresses { await ledger.giveBack(address) }
        try await life.release(addresses, plugin)
    }

    @Test func `one life costs four commits, the first on a network too`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(name: "web")
        try await eventually { plugin.record(dockerID(0xabc))?.name == "web" }
        for number in 1...2 {
            let life = Life(number)
            let before = plugin.faults.commits
            try await life.stop(try await life.start(plugin), plugin)
            #expect(plugin.faults.commits - before == 4)
        }
    }

    @Test func `200 requests at once get 200 addresses in fewer commits`() async throws {
        let plugin = try await Plugin.fresh()
        let before = plugin.faults.commits
        #expect(try await Set(plugin.manyAddresses(200)).count == 200)
        #expect(plugin.faults.commits - before < 200)
        let contents = try await plugin.contents()
        #expect(contents.addresses.count == 200 && contents.handled == 200)
    }
}
