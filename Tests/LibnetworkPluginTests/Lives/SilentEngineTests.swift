// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Dataplane
import Datastore
import IPAM
import Testing

@testable import LibnetworkPlugin

/// What an engine does that starts its containers again: it names networks that the store may not know, and answers no
/// question before all of them run.
@Suite struct `A network that nobody told of while the engine is silent` {
    private let id = dockerID(0xabc)
    private let guessed = "network-\(dockerID(0xabc).prefix(12))"
    /// Engines send both, though they are empty, for a network that is not internal.
    private let open = #"{"com.docker.network.portmap":[],"com.docker.network.endpoint.exposedports":[]}"#

    private func silent(_ settings: NetworkDriver.Settings = .init()) async throws -> Plugin {
        let engine = RecordedEngine()
        engine.fallSilent()
        return try await Plugin.fresh(engine: engine, settings: settings)
    }

    private func life(_ number: Int, options: String? = nil) -> Life {
        var life = Life(number)
        if let options { life.options = options }
        return life
    }

    private func isInternal(_ life: Life, _ plugin: Plugin) throws -> Bool {
        try plugin.endpoint(life.endpoint)?.metadata.annotations[WorkloadEndpoint.internalAnnotation] == "true"
    }

    private func egress(_ profile: String, _ plugin: Plugin) -> [Rule]? {
        plugin.replica.read { $0.profiles[profile]?.value.spec.egress }
    }

    private func answer(_ plugin: Plugin, _ network: EngineNetwork) {
        plugin.engine.learn(id, network)
        plugin.engine.fallSilent(false)
    }

    private func expectCompletion(_ plugin: Plugin, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await eventually(sourceLocation: sourceLocation) {
            plugin.replica.read { state in
                state.networks[id]?.value.isProvisional == false
                    && !state.endpoints.values.contains {
                        $0.value.metadata.annotations[WorkloadEndpoint.provisionalAnnotation] != nil
                    }
            }
        }
    }

    @Test func `gets its containers started, and is as the engine has it once that answers`() async throws {
        let plugin = try await silent()
        let life = life(1)
        try await life.start(plugin)
        #expect(plugin.record(id)?.isProvisional == true)
        #expect(try plugin.endpoint(life.endpoint)?.spec.profiles == [guessed])
        answer(
            plugin,
            EngineNetwork(
                name: "web", isInternal: true,
                options: [
                    "com.docker.network.driver.mtu": "1400", "org.projectcalico.label.tier": "front", "unknown": "x",
                ], subnets: ["192.168.8.0/24"]))
        try await expectCompletion(plugin)
        let record = try #require(plugin.record(id))
        #expect(record.name == "web" && record.isInternal && record.profile == "web" && record.pools == ["p4"])
        #expect(record.nextHops == [Plugin.node: 1])
        let endpoint = try #require(try plugin.endpoint(life.endpoint))
        #expect(endpoint.spec.profiles == ["web"] && endpoint.networkName == "web")
        #expect(endpoint.metadata.labels["tier"] == "front")
        #expect(try isInternal(life, plugin))
        #expect(egress("web", plugin) == [Rule(action: .allow, destination: .init(selector: "has(web)"))])
        #expect(try await plugin.contents().profiles == ["web"])
        try await Life(2).start(plugin)
        #expect(plugin.dataplane.link(EndpointIdentity.interfaceName(dockerID(2)))?.mtu == 1400)
    }

    @Test func `is internal until an endpoint's ports show that it is not`() async throws {
        let plugin = try await silent()
        try await life(1).start(plugin)
        #expect(try isInternal(life(1), plugin))
        #expect(egress(guessed, plugin) == [Rule(action: .allow, destination: .init(selector: "has(\(guessed))"))])
        try await life(2, options: open).start(plugin)
        try await life(3).start(plugin)
        #expect(try !isInternal(life(2), plugin) && !isInternal(life(3), plugin))
        #expect(plugin.record(id)?.isInternal == false)
        #expect(egress(guessed, plugin) == [Rule(action: .allow)])
        answer(plugin, EngineNetwork(name: "web"))
        try await expectCompletion(plugin)
        #expect(try !isInternal(life(1), plugin))
        #expect(egress("web", plugin) == [Rule(action: .allow)])
    }

    @Test func `has its ports published while it is only taken for internal`() async throws {
        let plugin = try await silent()
        try await life(1).start(plugin)
        #expect(try isInternal(life(1), plugin))
        #expect(try await life(1).program(plugin, ports: #"[{"Proto":6,"Port":80,"HostPort":0}]"#).status == 200)
        #expect(try plugin.endpoint(life(1).endpoint)?.spec.ports.map(\.port) == [80])
    }

    @Test func `costs its endpoints one question, and one commit each`() async throws {
        let plugin = try await silent()
        plugin.engine.fallSilent(false)
        let one = life(1)
        let addresses = try await one.requestAddresses(plugin)
        plugin.engine.fallSilent()
        let before = plugin.faults.commits
        #expect(try await one.createEndpoint(addresses, plugin).status == 200)
        #expect(plugin.faults.commits == before + 1)
    }

    @Test func `leaves an endpoint what it has chosen itself`() async throws {
        let plugin = try await silent()
        let own = life(
            1, options: #"{"org.projectcalico.profile":"special","org.projectcalico.label.tier":"back"}"#)
        let closed = life(2, options: #"{"org.projectcalico.profile":"none"}"#)
        for life in [own, closed, life(3)] { try await life.start(plugin) }
        answer(plugin, EngineNetwork(name: "web", options: ["org.projectcalico.label.tier": "front"]))
        try await expectCompletion(plugin)
        #expect(try plugin.endpoint(own.endpoint)?.spec.profiles == ["special"])
        #expect(try plugin.endpoint(own.endpoint)?.metadata.labels["tier"] == "back")
        #expect(try plugin.endpoint(closed.endpoint)?.spec.profiles == [])
        #expect(try plugin.endpoint(dockerID(3))?.spec.profiles == ["web"])
    }

    @Test(arguments: [("team", ["team"]), ("none", [])])
    func `may name its profile, or want none`(_ option: String, _ profiles: [String]) async throws {
        let plugin = try await silent()
        try await life(1).start(plugin)
        answer(plugin, EngineNetwork(name: "web", options: ["org.projectcalico.profile": option]))
        try await expectCompletion(plugin)
        #expect(try plugin.endpoint(dockerID(1))?.spec.profiles == profiles)
        #expect(try await plugin.contents().profiles == Set(profiles))
    }

    @Test func `is completed with more endpoints than a transaction takes, and with those that come meanwhile`()
        async throws
    {
        let plugin = try await silent()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1...150 {
                group.addTask {
                    try await life(number, options: open).start(plugin)
                    if number == 120 { answer(plugin, EngineNetwork(name: "web")) }
                }
            }
            try await group.waitForAll()
        }
        try await expectCompletion(plugin)
        for number in 1...150 { #expect(try plugin.endpoint(dockerID(number))?.spec.profiles == ["web"]) }
        #expect(try await plugin.contents().profiles == ["web"])
    }

    @Test func `gives a container's other endpoints its right profile too`() async throws {
        let plugin = try await silent()
        let first = life(1)
        var second = Life(2, network: dockerID(0xdef))
        second.sandbox = first.sandbox
        plugin.engine.learn(second.network, EngineNetwork(name: "blue"))
        try await first.start(plugin)
        try await second.start(plugin)
        answer(plugin, EngineNetwork(name: "red"))
        try await eventually {
            try plugin.endpoint(first.endpoint)?.spec.profiles == ["red", "blue"]
                && plugin.endpoint(second.endpoint)?.spec.profiles == ["blue", "red"]
        }
        #expect(try await plugin.contents().profiles == ["red", "blue"])
    }

    @Test func `is completed by a sweep where the plugin was restarted, once the engine knows it`()
        async throws
    {
        let before = try await silent()
        try await life(1).start(before)
        before.dataplane.keepAlive(EndpointIdentity.interfaceName(dockerID(1)))
        let engine = RecordedEngine()
        let plugin = try await Plugin(on: before.store, dataplane: before.dataplane, engine: engine)
        let reconciler = Reconciler(
            driver: plugin.network, allocator: plugin.allocator, engine: engine, logger: .silent)
        await reconciler.sweep()
        #expect(plugin.record(id)?.isProvisional == true)
        engine.learn(id, EngineNetwork(name: "web"))
        await reconciler.sweep()
        #expect(plugin.record(id)?.isProvisional == false)
        #expect(try plugin.endpoint(dockerID(1))?.spec.profiles == ["web"])
    }

    @Test func `goes without a trace, still a guess`() async throws {
        let plugin = try await silent()
        let life = life(1)
        try await life.stop(try await life.start(plugin), plugin)
        try await plugin.deleteNetwork()
        try await plugin.expectNothingLeft()
    }

    @Test func `is no guess where the engine denies it`() async throws {
        let plugin = try await Plugin.fresh()
        try await life(1).start(plugin)
        #expect(plugin.record(id)?.isProvisional == false)
        #expect(try !isInternal(life(1), plugin))
    }
}
