// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
import Foundation
import Testing

@testable import LibnetworkPlugin

/// What Felix and other hosts learn of a container that is on several networks.
@Suite struct `A container on several networks` {
    private let blue = dockerID(0xb1)
    private let red = dockerID(0xed)
    private let first: Life
    private let second: Life

    init() {
        first = Life(1, network: blue)
        var second = Life(2, network: red)
        second.sandbox = first.sandbox
        self.second = second
    }

    private func plugin() async throws -> Plugin {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(blue, name: "blue")
        try await plugin.createNetwork(red, name: "red")
        return plugin
    }

    private func profiles(_ life: Life, _ plugin: Plugin) throws -> [String]? {
        try plugin.endpoint(life.endpoint)?.spec.profiles
    }

    private func sources(_ life: Life, _ plugin: Plugin) throws -> [String]? {
        try plugin.endpoint(life.endpoint)?.spec.allowSpoofedSourcePrefixes
    }

    @Test func `is a member of all with each of its addresses, until it leaves`() async throws {
        let plugin = try await plugin()
        let own = try await first.start(plugin)
        #expect(try profiles(first, plugin) == ["blue"])
        let others = try await second.start(plugin)
        #expect(try profiles(first, plugin) == ["blue", "red"])
        #expect(try profiles(second, plugin) == ["red", "blue"])
        #expect(Set(plugin.dataplane.changes.suffix(2).map(\.key)).count == 2, "in force for both")
        try await first.stop(own, plugin)
        #expect(try profiles(second, plugin) == ["red"])
        #expect(
            try plugin.endpoint(second.endpoint)?.metadata.annotations.keys.contains { $0.contains("sandbox") } == false
        )
        try await second.stop(others, plugin)
        for network in [blue, red] { try await plugin.deleteNetwork(network) }
        try await plugin.expectNothingLeft()
    }

    @Test func `can be on any of a node's first 254; later ones share next hops evenly, and the log says so once`()
        async throws
    {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(logger: log.logger)
        for number in 1...256 { try await plugin.createNetwork(dockerID(number), subnet: "192.168.0.0/16") }
        let hops = (1...256).compactMap { plugin.record(dockerID($0))?.nextHops[Plugin.node] }
        #expect(hops == Array(1...254) + [1, 2])
        let facts = "network=\(dockerID(255).prefix(12)) nextHop=169.254.1.1"
        #expect(
            log.lines.filter { $0.contains("next hop") } == [
                "next hops repeat past 254 networks; no container can be on two networks that have the same one \(facts)"
            ])
    }

    @Test func `costs one commit more for its second network, none for its first, and none when it leaves`()
        async throws
    {
        let plugin = try await plugin()
        for life in [first, second] { _ = try await life.createEndpoint(life.requestAddresses(plugin), plugin) }
        let before = plugin.faults.commits
        #expect(try await first.join(plugin).status == 200)
        #expect(plugin.faults.commits == before)
        #expect(try await second.join(plugin).status == 200)
        #expect(plugin.faults.commits == before + 1)
        #expect(try await second.join(plugin).status == 200, "repeated")
        #expect(plugin.faults.commits == before + 1)
        #expect(try await first.deleteEndpoint(plugin).status == 200)
        #expect(plugin.faults.commits == before + 2)
        #expect(try profiles(second, plugin) == ["red"])
    }

    @Test func `names its other addresses where Felix accepts that, and only there`() async throws {
        let plugin = try await plugin()
        let addresses = [try await first.start(plugin), try await second.start(plugin)]
        // A Felix that is not told otherwise ignores endpoints that name some.
        #expect(try sources(first, plugin) == [])
        try await configureFelix("Any", plugin)
        await plugin.reconciler().sweep()
        #expect(try sources(first, plugin) == addresses[1].map { $0 + "/32" })
        #expect(try sources(second, plugin) == addresses[0].map { $0 + "/32" })
        try await second.stop(addresses[1], plugin)
        #expect(try sources(first, plugin) == [])
        _ = try await second.start(plugin)
        #expect(try sources(first, plugin)?.count == 1)
        try await configureFelix("Disabled", plugin)
        await plugin.reconciler().sweep()
        #expect(try sources(first, plugin) == [])
    }

    @Test(arguments: ["a sweep", "its addresses' return", "a request for its address", "its address's next endpoint"])
    func `leaves nothing with its other endpoint, whatever tells of its end`(_ sign: String) async throws {
        let plugin = try await plugin()
        try await configureFelix("Any", plugin)
        var first = first
        first.pools = ["CalicoPoolIPv4", "CalicoPoolIPv6"]
        let own = try await first.start(plugin)
        try await second.start(plugin)
        #expect(try sources(second, plugin) == [own[0] + "/32", own[1] + "/128"])
        plugin.engine.learn(red, .init(name: "red", endpoints: [second.endpoint]))
        try await plugin.age(first.endpoint)
        switch sign {
        case "a sweep":
            let reconciler = plugin.reconciler()
            for _ in 0..<2 { await reconciler.sweep() }
        case "its addresses' return": try await first.release(own, plugin)
        case "a request for its address":
            #expect(try await Life(3, network: blue).requestAddress("p4", plugin, address: own[0]).status == 200)
        default:
            // The engine released the address while the endpoint was being written, and gave it to another container.
            try await first.release(own, plugin)
            #expect(try await first.createEndpoint(own, plugin).status == 200)
            #expect(try await first.join(plugin).status == 200)
            let third = Life(3, network: blue)
            #expect(try await third.requestAddress("p4", plugin, address: own[0]).status == 200)
            #expect(try await third.createEndpoint([own[0]], plugin).status == 200)
        }
        #expect(try plugin.endpoint(first.endpoint) == nil)
        #expect(plugin.dataplane.interfaces == [EndpointIdentity.interfaceName(second.endpoint)])
        #expect(try profiles(second, plugin) == ["red"])
        #expect(try sources(second, plugin) == [])
    }

    @Test func `follows Felix's configuration in commits that etcd accepts, however many there are`() async throws {
        let plugin = try await plugin()
        for number in 0..<33 {
            for (index, network) in [blue, red].enumerated() {
                var life = Life(100 + 2 * number + index, network: network)
                life.sandbox = "container\(number)"
                try await life.start(plugin)
            }
        }
        try await configureFelix("Any", plugin)
        await plugin.reconciler().sweep()
        #expect(plugin.faults.largestTransaction <= 50)
        let sources = plugin.replica.read { $0.endpoints.values.map(\.value.spec.allowSpoofedSourcePrefixes.count) }
        #expect(sources == Array(repeating: 1, count: 66))
    }

    private func configureFelix(_ spoofing: String, _ plugin: Plugin) async throws {
        let configuration = FelixConfiguration(
            metadata: ResourceMetadata(name: "default").asCreated(), spec: .init(workloadSourceSpoofing: spoofing))
        _ = try await plugin.store.commit(Transaction(writes: [.put(configuration.key, configuration)]))
        await plugin.replica.refresh()
    }

    @Test func `keeps what somebody else wrote, and stays closed where it has no profile`() async throws {
        let plugin = try await plugin()
        try await first.start(plugin)
        var closed = second
        closed.options = #"{"org.projectcalico.profile":"none"}"#
        try await closed.start(plugin)
        #expect(try profiles(first, plugin) == ["blue"])
        #expect(try profiles(closed, plugin) == [])
        try await plugin.network.commit { state in
            let key = try plugin.network.identity(first.endpoint).key()
            guard let seen = state.endpoints[key] else { return nil }
            var endpoint = seen.value
            endpoint.spec.profiles.append("extra")
            endpoint.spec.allowSpoofedSourcePrefixes = ["10.9.0.0/16"]
            return Transaction(if: [.unchanged(key, since: seen.revision)], writes: [.put(key, endpoint)])
        }
        var third = Life(3, network: red)
        third.sandbox = first.sandbox
        try await third.start(plugin)
        #expect(try profiles(first, plugin) == ["blue", "extra", "red"])
        #expect(try profiles(third, plugin) == ["red", "blue", "extra"])
        _ = try await third.deleteEndpoint(plugin)
        #expect(try profiles(first, plugin) == ["blue", "extra"])
        #expect(try sources(first, plugin) == ["10.9.0.0/16"])
    }

    @Test func `does not join where that cannot be written`() async throws {
        let plugin = try await plugin()
        try await first.start(plugin)
        _ = try await second.createEndpoint(second.requestAddresses(plugin), plugin)
        plugin.faults.fail(after: 0)
        #expect(try await second.join(plugin).refusal?.contains("on fire") == true)
        #expect(plugin.dataplane.interfaces.count == 1)
        plugin.faults.fail(after: nil)
        #expect(try await second.join(plugin).status == 200)
    }
}
