// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Dataplane
import Testing

@testable import LibnetworkPlugin

@Suite struct `A container's labels` {
    private let label = "org.projectcalico.label."
    private let life = Life(1)

    private func settings(
        patience: Duration = .seconds(60), poll: Duration = .seconds(60)
    ) -> NetworkDriver.Settings {
        var settings = NetworkDriver.Settings()
        settings.labelsEndpoints = true
        settings.labelPatience = patience
        settings.labelPollTimeout = poll
        return settings
    }

    private func labels(_ plugin: Plugin) throws -> [String: String] {
        try #require(try plugin.endpoint(life.endpoint)).metadata.labels
    }

    @Test func `are in the store and in force when Join answers, for one commit more`() async throws {
        let plugin = try await Plugin.fresh(settings: settings())
        try await plugin.createNetwork(name: "web")
        try await eventually { plugin.record(dockerID(0xabc))?.name == "web" }
        plugin.engine.learn("db-1", of: life, labels: [label + "role": "db", "com.example.other": "x"])
        let before = plugin.faults.commits
        try await life.start(plugin)
        #expect(plugin.faults.commits - before == 3)
        let stored = try await plugin.restarted().endpoint(life.endpoint)
        #expect(stored?.metadata.labels["role"] == "db")
        #expect(stored?.containerName == "db-1" && stored?.containerID == "id-of-db-1")
        let linked = plugin.dataplane.link(EndpointIdentity.interfaceName(life.endpoint))?.endpoint
        #expect(linked?.metadata.labels == stored?.metadata.labels)
        #expect(linked?.metadata.labels.keys.contains("com.example.other") == false)
    }

    @Test func `win over the network's and give way to the endpoint's own options`() async throws {
        let plugin = try await Plugin.fresh(settings: settings())
        try await plugin.createNetwork(
            generic: #"{"\#(label)a":"network","\#(label)b":"network","\#(label)c":"network","\#(label)d":"same"}"#)
        plugin.engine.learn(
            "db-1", of: life,
            labels: [label + "b": "container", label + "c": "container", label + "d": "container"])
        var life = life
        life.options = #"{"\#(label)c":"endpoint","\#(label)d":"same"}"#
        try await life.start(plugin)
        let labels = try labels(plugin)
        #expect(["a", "b", "c", "d"].map { labels[$0] } == ["network", "container", "endpoint", "same"])
    }

    @Test func `that are none are left out one by one, each with a warning that names it`() async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(settings: settings(), logger: log.logger)
        let illegal = [
            "": "x", "-a": "x", "a": "b c", "long": String(repeating: "x", count: 64), "a/b/c": "x",
            "projectcalico.org/namespace": "kube-system", "pcns.team": "x",
        ]
        plugin.engine.learn(
            "db-1", of: life,
            labels: Dictionary(uniqueKeysWithValues: illegal.map { (label + $0.key, $0.value) })
                .merging([label + "role": "db", label + "example.org/tier": ""]) { _, new in new })
        try await life.start(plugin)
        let labels = try labels(plugin)
        #expect(labels["role"] == "db" && labels["example.org/tier"] == "")
        #expect(labels["projectcalico.org/namespace"] == "libnetwork")
        #expect(labels.count == 4, "\(labels)")
        let warnings = log.lines.filter { $0.contains("a label of a container is left out") }
        #expect(warnings.count == illegal.count)
        for (key, value) in illegal { #expect(warnings.contains { $0.contains("\(label)\(key)=\(value) is no") }) }
    }

    @Test func `cost nothing where nobody asked for them`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(name: "web")
        try await eventually { plugin.record(dockerID(0xabc))?.name == "web" }
        plugin.engine.learn("db-1", of: life, labels: [label + "role": "db"])
        let questions = plugin.engine.questions
        try await life.start(plugin)
        #expect(plugin.engine.questions == questions)
        #expect(try labels(plugin)["role"] == nil)
    }

    @Test func `survive a repeated CreateEndpoint and are not asked for again by a repeated Join`() async throws {
        let plugin = try await Plugin.fresh(settings: settings())
        plugin.engine.learn("db-1", of: life, labels: [label + "role": "db"])
        let addresses = try await life.start(plugin)
        let (questions, commits) = (plugin.engine.questions, plugin.faults.commits)
        #expect(try await life.createEndpoint(addresses, plugin).status == 200)
        #expect(try await life.join(plugin).status == 200)
        #expect(plugin.engine.questions == questions && plugin.faults.commits == commits)
        #expect(try labels(plugin)["role"] == "db")
    }

    @Test func `do not hold a start up for longer than the engine may take, and follow when it answers`() async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(settings: settings(patience: .milliseconds(50)), logger: log.logger)
        try await plugin.createNetwork(generic: #"{"org.projectcalico.profile":"none"}"#)
        plugin.engine.learn("db-1", of: life, labels: [label + "role": "db"])
        plugin.engine.hang()
        let start = ContinuousClock.now
        try await life.start(plugin)
        #expect(start.duration(to: .now) < .seconds(30))
        #expect(try labels(plugin)["role"] == nil)
        #expect(log.lines.contains { $0.contains("starts without its labels") && $0.contains("no answer came") })
        plugin.engine.hang(false)
        try await eventually { log.lines.contains { $0.hasPrefix("labels learnt late") } }
        #expect(try labels(plugin)["role"] == "db")
    }

    @Test(arguments: ["the engine gives no answer", "the engine does not know the endpoint", "the store fails"])
    func `that cannot be had within Join are looked for afterwards`(_ obstacle: String) async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(settings: settings(), logger: log.logger)
        try await plugin.createNetwork(generic: #"{"org.projectcalico.profile":"none"}"#)
        let addresses = try await life.requestAddresses(plugin)
        #expect(try await life.createEndpoint(addresses, plugin).status == 200)
        if !obstacle.contains("not know") { plugin.engine.learn("db-1", of: life, labels: [label + "role": "db"]) }
        if obstacle.contains("no answer") { plugin.engine.fallSilent() }
        if obstacle.contains("store") { plugin.faults.fail(after: 0) }
        #expect(try await life.join(plugin).status == 200)
        #expect(try labels(plugin)["role"] == nil)
        #expect(log.lines.contains { $0.contains("starts without its labels") })
        plugin.engine.fallSilent(false)
        plugin.faults.fail(after: nil)
        plugin.engine.learn("db-1", of: life, labels: [label + "role": "db"])
        try await eventually { try labels(plugin)["role"] == "db" }
    }

    @Test func `of an endpoint that is gone meanwhile bring nothing back`() async throws {
        let plugin = try await Plugin.fresh(settings: settings(patience: .milliseconds(50)))
        try await plugin.createNetwork(generic: #"{"org.projectcalico.profile":"none"}"#)
        plugin.engine.learn("db-1", of: life, labels: [label + "role": "db"])
        plugin.engine.hang()
        try await life.stop(try await life.start(plugin), plugin)
        plugin.engine.hang(false)
        #expect(try await plugin.network.learnContainer(of: life.endpoint, network: life.network) == nil)
        try await plugin.deleteNetwork()
        try await plugin.expectNothingLeft()
    }

    @Test func `that nobody told in time are learnt by the reconciler`() async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(
            settings: settings(patience: .milliseconds(20), poll: .milliseconds(50)), logger: log.logger)
        try await life.start(plugin)
        try await eventually { log.lines.contains { $0.contains("could not be learnt") } }
        plugin.engine.learn("db-1", of: life, labels: [label + "role": "db"], isRunning: true)
        await plugin.reconciler().sweep()
        #expect(try labels(plugin)["role"] == "db")
    }

    @Test func `are found by the name that engine 29 tells, without asking for the network`() async throws {
        let plugin = try await Plugin.fresh(settings: settings())
        try await plugin.createNetwork(generic: #"{"org.projectcalico.profile":"none"}"#)
        plugin.engine.learn("db-1", of: life, labels: [label + "role": "db"])
        var life = life
        life.container = "db-1"
        let before = plugin.engine.questions.count
        try await life.start(plugin)
        #expect(plugin.engine.questions[before...].filter { !$0.hasPrefix("network") } == ["container db-1"])
        #expect(try labels(plugin)["role"] == "db")
    }
}

@Suite struct `Labels among an endpoint's driver options` {
    /// Docker's client writes options of `docker run --network` in lower case; `docker network connect` does not.
    @Test func `hold from the first commit on, whatever the other options`() async throws {
        let plugin = try await Plugin.fresh()
        var life = Life(1)
        life.options =
            #"{"org.projectcalico.label.Role":"Db","org.projectcalico.label.example.org/tier":"","#
            + #""com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.rp_filter=1","com.docker.network.portmap":[]}"#
        let addresses = try await life.requestAddresses(plugin)
        #expect(try await life.createEndpoint(addresses, plugin).status == 200)
        let labels = try plugin.endpoint(life.endpoint)?.metadata.labels
        #expect(labels?["Role"] == "Db" && labels?["example.org/tier"] == "")
    }

    @Test(arguments: [
        (#""org.projectcalico.label.a":"b c""#, "org.projectcalico.label.a=b c is not a label"),
        (#""org.projectcalico.label.":"x""#, "is not a label"),
        (#""org.projectcalico.label.projectcalico.org/namespace":"x""#, "is not allowed: Calico keeps such labels"),
        (#""org.projectcalico.labels.a":"b""#, "does not support the endpoint option org.projectcalico.labels.a"),
    ])
    func `that are none are refused by name, and nothing is written`(_ option: String, _ words: String) async throws {
        let plugin = try await Plugin.fresh()
        var life = Life(1)
        life.options = "{\(option)}"
        let reply = try await life.createEndpoint(["192.168.0.5"], plugin)
        #expect(reply.refusal?.contains(words) == true, "\(reply)")
        #expect(try await plugin.contents().endpoints.isEmpty)
    }
}

@Suite struct `Whose an endpoint is` {
    private let lives = (1...3).map { Life($0) }

    @Test func `stands in the first commit where the engine tells it with the address`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([dockerID(0xabc): .init(name: "web")]))
        var life = lives[0]
        life.container = "web-1"
        let before = plugin.faults.commits
        try await life.start(plugin)
        #expect(plugin.faults.commits - before == 2)
        #expect(try plugin.endpoint(life.endpoint)?.containerName == "web-1")
    }

    @Test func `is written for all by one sweep, in one commit`() async throws {
        let plugin = try await Plugin.fresh()
        for (number, life) in lives.enumerated() {
            plugin.engine.learn("web-\(number)", of: life, isRunning: true)
            try await life.start(plugin)
        }
        let before = plugin.faults.commits
        for _ in 0..<2 { await plugin.reconciler().sweep() }
        #expect(plugin.faults.commits - before == 1)
        let stored = try await plugin.restarted()
        #expect(try lives.map { try stored.endpoint($0.endpoint)?.containerName } == ["web-0", "web-1", "web-2"])
        #expect(try stored.endpoint(lives[0].endpoint)?.containerID == "id-of-web-0")
    }

    @Test func `follows a renamed container, and waits for one that still starts`() async throws {
        let plugin = try await Plugin.fresh()
        for life in lives[0...1] { try await life.start(plugin) }
        plugin.engine.learn("old", of: lives[0], isRunning: true)
        plugin.engine.learn("starting", of: lives[1])
        await plugin.reconciler().sweep()
        plugin.engine.learn("new", of: lives[0], isRunning: true)
        await plugin.reconciler().sweep()
        #expect(try plugin.endpoint(lives[0].endpoint)?.containerName == "new")
        #expect(try plugin.endpoint(lives[1].endpoint)?.containerName == nil)
    }

    @Test func `is not written for one that is gone`() async throws {
        let plugin = try await Plugin.fresh()
        for life in lives[0...1] { try await life.start(plugin) }
        let keys = try lives.map { try plugin.network.identity($0.endpoint).key() }
        #expect(try await lives[0].deleteEndpoint(plugin).status == 200)
        try await plugin.network.record(
            Dictionary(uniqueKeysWithValues: keys.map { ($0, .init(name: "web", id: "x")) }))
        #expect(try await plugin.contents().endpoints == [lives[1].endpoint])
        #expect(try plugin.endpoint(lives[1].endpoint)?.containerName == "web")
    }

    @Test func `is said where its address is asked for by another`() async throws {
        let plugin = try await Plugin.fresh()
        var life = lives[0]
        life.container = "web-1"
        let addresses = try await life.start(plugin)
        let reply = try await lives[1].requestAddress("p4", plugin, address: addresses[0])
        #expect(reply.refusal?.contains("is already assigned to container web-1, endpoint 000") == true, "\(reply)")
    }
}
