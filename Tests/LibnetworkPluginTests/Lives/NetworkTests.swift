// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
import Testing

@testable import LibnetworkPlugin

@Suite struct `A network's profile` {
    private func profile(_ name: String, _ plugin: Plugin) -> Profile? {
        plugin.replica.read { $0.profiles[name]?.value }
    }

    @Test func `the first endpoint makes it, with the rule and label that let members meet`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(name: "web")
        try await eventually { plugin.record(dockerID(0xabc))?.name == "web" }
        #expect(profile("web", plugin) == nil)
        try await Life(1).start(plugin)
        let made = try #require(profile("web", plugin))
        #expect(made.spec.labelsToApply == ["web": ""])
        #expect(made.spec.ingress.map(\.source.selector) == ["has(web)"])
        #expect(made.spec.egress == [Rule(action: .allow)])
        #expect(try plugin.endpoint(dockerID(1))?.spec.profiles == ["web"])
    }

    @Test func `an internal network's lets members out to members only, and the endpoint says what it is`()
        async throws
    {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([dockerID(0xabc): .init(name: "web")]))
        try await plugin.createNetwork(isInternal: true)
        try await Life(1).start(plugin)
        let made = try #require(profile("web", plugin))
        #expect(made.spec.egress == [Rule(action: .allow, destination: .init(selector: "has(web)"))])
        #expect(made.spec.ingress == [Rule(action: .allow, source: .init(selector: "has(web)"))])
        let annotations = try plugin.endpoint(dockerID(1))?.metadata.annotations
        #expect(annotations?[WorkloadEndpoint.internalAnnotation] == "true")
    }

    @Test func `one that an internal network names is as any other's, since others may name it too`() async throws {
        let plugin = try await Plugin.fresh()
        let options = #"{"org.projectcalico.profile":"team"}"#
        try await plugin.createNetwork(dockerID(0xa1), isInternal: true, generic: options)
        try await plugin.createNetwork(dockerID(0xa2), generic: options)
        try await Life(1, network: dockerID(0xa1)).start(plugin)
        try await Life(2, network: dockerID(0xa2)).start(plugin)
        #expect(profile("team", plugin)?.spec.egress == [Rule(action: .allow)])
        let key = WorkloadEndpoint.internalAnnotation
        #expect(try plugin.endpoint(dockerID(1))?.metadata.annotations[key] == "true")
        #expect(try plugin.endpoint(dockerID(2))?.metadata.annotations[key] == nil)
    }

    @Test func `the last network that uses it takes it along, and none before`() async throws {
        let plugin = try await Plugin.fresh()
        let networks = [dockerID(0xa1), dockerID(0xa2)]
        for (number, network) in networks.enumerated() {
            plugin.engine.learn(network, .init(name: "web"))
            try await plugin.createNetwork(network)
            let life = Life(number, network: network)
            try await life.stop(try await life.start(plugin), plugin)
        }
        try await plugin.deleteNetwork(networks[0])
        #expect(profile("web", plugin) != nil)
        try await plugin.deleteNetwork(networks[1])
        try await plugin.expectNothingLeft()
    }

    @Test func `an endpoint that outlives its network takes it along`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([dockerID(0xabc): .init(name: "web")]))
        let life = Life(1)
        let addresses = try await life.start(plugin)
        try await plugin.deleteNetwork()
        #expect(profile("web", plugin) != nil)
        try await life.stop(addresses, plugin)
        try await plugin.expectNothingLeft()
    }

    /// The plugin has not seen yet what another hand of it does, or what another host does.
    @Test(arguments: [false, true])
    func `goes though its network and its last endpoint end at the same moment`(isNetworkFirst: Bool) async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(name: "web")
        let life = Life(1)
        let addresses = try await life.start(plugin)
        let other = try await plugin.restarted()
        if isNetworkFirst { try await plugin.deleteNetwork() }
        try await life.stop(addresses, isNetworkFirst ? other : plugin)
        if !isNetworkFirst { try await other.deleteNetwork() }
        try await other.expectNothingLeft()
    }

    @Test func `somebody else's profile of that name is used and stays`() async throws {
        let plugin = try await Plugin.fresh()
        let theirs = Profile(
            metadata: ResourceMetadata(name: "web").asCreated(), spec: ProfileSpec(egress: [Rule(action: .deny)]))
        _ = try await plugin.store.commit(Transaction(writes: [.put(theirs.key, theirs)]))
        await plugin.replica.refresh()
        plugin.engine.learn(dockerID(0xabc), .init(name: "web"))
        let life = Life(1)
        try await life.stop(try await life.start(plugin), plugin)
        try await plugin.deleteNetwork()
        #expect(profile("web", plugin)?.spec == theirs.spec)
    }

    @Test(arguments: [false, true])
    func `another host's network that has just come to use it keeps it`(_ namesIt: Bool) async throws {
        let here = try await Plugin.fresh(engine: RecordedEngine([dockerID(0xa1): .init(name: "app")]))
        let generic = namesIt ? #"{"org.projectcalico.profile":"app"}"# : "{}"
        try await here.createNetwork(dockerID(0xa1), generic: generic)
        let life = Life(1, network: dockerID(0xa1))
        try await life.stop(try await life.start(here), here)
        // What this one writes the other does not see in time.
        let there = try await here.neighbour("host-2")
        try await there.createNetwork(dockerID(0xa2), generic: generic, name: "app")
        if !namesIt {
            try await eventually { there.record(dockerID(0xa2))?.name == "app" }
            let commits = there.faults.commits
            try await Life(2, network: dockerID(0xa2)).start(there)
            #expect(there.faults.commits == commits + 2)
        }
        try await here.deleteNetwork(dockerID(0xa1))
        #expect(try await here.contents().profiles == ["app"])
    }

    @Test func `only the first endpoint writes it`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([dockerID(0xabc): .init(name: "web")]))
        try await plugin.createNetwork()
        try await Life(1).start(plugin)
        let revision = plugin.replica.read { $0.profiles["web"]?.revision }
        try await Life(2).start(plugin)
        #expect(plugin.replica.read { $0.profiles["web"]?.revision } == revision)
    }

    @Test func `an endpoint's own profile is its own alone, and the log says that it does not exist`() async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(
            engine: RecordedEngine([dockerID(0xabc): .init(name: "web")]), logger: log.logger)
        try await plugin.createNetwork()
        var first = Life(1)
        first.options = #"{"org.projectcalico.profile":"special"}"#
        try await first.start(plugin)
        try await Life(2).start(plugin)
        var third = Life(3)
        third.options = #"{"org.projectcalico.profile":"none"}"#
        try await third.start(plugin)
        #expect(try plugin.endpoint(first.endpoint)?.spec.profiles == ["special"])
        #expect(try plugin.endpoint(dockerID(2))?.spec.profiles == ["web"])
        #expect(try plugin.endpoint(third.endpoint)?.spec.profiles == [])
        #expect(plugin.record(dockerID(0xabc))?.profile == "web")
        #expect(profile("special", plugin) == nil)
        let ids = "endpoint=\(first.endpoint.prefix(12)) network=\(first.network.prefix(12))"
        #expect(
            log.lines.filter { $0.contains("does not exist") } == [
                "a profile that does not exist lets nothing pass; create it, or name another \(ids) profile=special"
            ])
    }

    @Test func `Calico's own profile is used, never made, and not missed`() async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(logger: log.logger)
        try await plugin.createNetwork(
            dockerID(0xa1), generic: #"{"org.projectcalico.profile":"projectcalico-default-allow"}"#)
        let life = Life(1, network: dockerID(0xa1))
        try await life.start(plugin)
        #expect(try plugin.endpoint(life.endpoint)?.spec.profiles == ["projectcalico-default-allow"])
        #expect(try await plugin.contents().profiles == [])
        #expect(!log.lines.contains { $0.contains("does not exist") })
        #expect(ProfileName.make(network: "projectcalico-default-allow") != "projectcalico-default-allow")
    }

    @Test func `a network may name its profile, or have none`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(dockerID(0xa1), generic: #"{"org.projectcalico.profile":"team"}"#)
        try await plugin.createNetwork(dockerID(0xa2), generic: #"{"org.projectcalico.profile":"none"}"#)
        try await Life(1, network: dockerID(0xa1)).start(plugin)
        try await Life(2, network: dockerID(0xa2)).start(plugin)
        #expect(try plugin.endpoint(dockerID(1))?.spec.profiles == ["team"])
        #expect(try plugin.endpoint(dockerID(2))?.spec.profiles == [])
        #expect(try await plugin.contents().profiles == ["team"])
    }

    @Test func `no profile is made where the host wants none`() async throws {
        var settings = NetworkDriver.Settings()
        settings.createsProfiles = false
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(settings: settings, logger: log.logger)
        try await plugin.createNetwork(dockerID(0xa1), generic: #"{"org.projectcalico.profile":"team"}"#)
        #expect(log.lines.contains { $0.hasSuffix("network=\(dockerID(0xa1).prefix(12)) profile=team") })
        try await Life(1, network: dockerID(0xa1)).start(plugin)
        try await Life(2).start(plugin)
        #expect(try plugin.endpoint(dockerID(1))?.spec.profiles == ["team"])
        #expect(try plugin.endpoint(dockerID(2))?.spec.profiles == [])
        #expect(try await plugin.contents().profiles.isEmpty)
    }

    /// Digests: `printf %s NAME | sha256sum | cut -c1-8`.
    @Test(arguments: [
        ("web", "web"), ("web-1.prod", "web-1.prod"), ("9lives", "9lives"), ("Web", "web-NN"),
        ("my_net", "my-net-NN"), ("a..b", "a--b-NN"), ("___", "network-NN"), ("web_", "web-NN"),
        (String(repeating: "x", count: 63), String(repeating: "x", count: 63)),
        (String(repeating: "x", count: 64), String(repeating: "x", count: 54) + "-NN"),
    ])
    func `it is named after the network, in the nearest legal form`(_ network: String, _ expected: String) throws {
        let name = ProfileName.make(network: network)
        #expect(name == expected.replacing("NN", with: Self.digests[network] ?? ""))
        #expect(Validation.isResourceName(name) && Validation.isLabelKey(name))
        #expect(throws: Never.self) { try Selector("has(\(name))") }
    }

    private static let digests = [
        "Web": "29751047",
        "my_net": "01e69565",
        "a..b": "f62b4241",
        "___": "bda25155",
        "web_": "a2a7447b",
        String(repeating: "x", count: 64): "7ce10097",
    ]
}

@Suite struct `A network's next hop and options` {
    @Test func `networks made at once have different next hops, and a deleted one's is used again`() async throws {
        let plugin = try await Plugin.fresh()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<20 { group.addTask { try await plugin.createNetwork(dockerID(0x100 + number)) } }
            try await group.waitForAll()
        }
        let hops = (0..<20).compactMap { plugin.record(dockerID(0x100 + $0))?.nextHops[Plugin.node] }
        #expect(hops.sorted() == Array(1...20))
        let freed = hops[7]
        try await plugin.deleteNetwork(dockerID(0x107))
        try await plugin.createNetwork(dockerID(0x200))
        #expect(plugin.record(dockerID(0x200))?.nextHops[Plugin.node] == freed)
    }

    @Test func `networks that nobody told us of have different next hops too`() async throws {
        let plugin = try await Plugin.fresh()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<8 {
                group.addTask { try await Life(number, network: dockerID(0x100 + number)).start(plugin) }
            }
            try await group.waitForAll()
        }
        #expect(
            (0..<8).compactMap { plugin.record(dockerID(0x100 + $0))?.nextHops[Plugin.node] }.sorted() == Array(1...8))
    }

    @Test func `an internal network's containers have the routes of any other, in each family they have`() async throws
    {
        let plugin = try await Plugin.fresh()
        let pools = try await plugin.createNetwork(subnet: "192.168.8.0/24", v6: true, isInternal: true)
        let life = Life(1, pools: pools)
        try await life.start(plugin)
        let reply = try await life.join(plugin)
        #expect(reply["Gateway"]?.string == "169.254.1.1" && reply["GatewayIPv6"]?.string == "fe80::1")
        let routes = reply["StaticRoutes"]?.array ?? []
        #expect(routes.map { $0["Destination"]?.string } == ["169.254.1.1/32", "fe80::1/128"])
    }

    @Test func `options of a network reach its endpoints`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(
            generic: #"{"com.docker.network.driver.mtu":"1400","com.docker.network.container_iface_prefix":"web","#
                + #""org.projectcalico.label.tier":"front","com.docker.network.unknown":"x"}"#)
        var life = Life(1)
        life.options = #"{"org.projectcalico.label.role":"db"}"#
        try await life.start(plugin)
        #expect(try await life.join(plugin)["InterfaceName"]?["DstPrefix"]?.string == "web")
        #expect(plugin.dataplane.link(EndpointIdentity.interfaceName(life.endpoint))?.mtu == 1400)
        let labels = try plugin.endpoint(life.endpoint)?.metadata.labels
        #expect(labels?["tier"] == "front" && labels?["role"] == "db")
    }

    @Test func `encapsulation of an endpoint's pools is left free on its link`() async throws {
        let plugin = try await Plugin.fresh(pools: ["plain": "192.168.0.0/16", "tunnel": "fd00:1::/64"])
        for name in ["plain", "tunnel"] {
            var pool = try #require(plugin.replica.read { $0.pools[name]?.value })
            if pool.spec.family == .v6 { pool.spec.vxlanMode = .crossSubnet }
            _ = try await plugin.store.commit(Transaction(writes: [.put(pool.key, pool)]))
        }
        await plugin.replica.refresh()
        try await plugin.createNetwork(v6: true)
        for (number, pools, overhead) in [(1, ["CalicoPoolIPv4"], 0), (2, ["CalicoPoolIPv4", "CalicoPoolIPv6"], 70)] {
            let life = Life(number, pools: pools)
            try await life.start(plugin)
            _ = try await life.join(plugin)
            let link = try #require(plugin.dataplane.link(EndpointIdentity.interfaceName(life.endpoint)))
            #expect(link.overhead == overhead && link.mtu == nil)
            #expect(try link.mtu(onUplink: 1500) == 1500 - overhead)
        }
    }

    @Test(arguments: [
        (nil, nil, nil), (1280, nil, nil), (1279, nil, "com.docker.network.driver.mtu=1279"),
        (nil, 1279, "CALICO_LIBNETWORK_VETH_MTU=1279"), (1400, 1279, nil),
        (1279, 1400, "com.docker.network.driver.mtu"),
    ])
    func `an MTU that the kernel has no IPv6 with is refused for a network with IPv6`(
        own: Int?, setting: Int?, refusal: String?
    ) async throws {
        var settings = NetworkDriver.Settings()
        settings.mtu = setting
        let plugin = try await Plugin.fresh(settings: settings)
        let generic = own.map { #"{"com.docker.network.driver.mtu":"\#($0)"}"# } ?? "{}"
        let reply = try await plugin.call(
            "NetworkDriver.CreateNetwork", Sample.create(generic: generic, v6: Sample.subnet6))
        if let refusal {
            #expect(reply.refusal?.hasPrefix(refusal) == true, "\(reply)")
            #expect(reply.refusal?.contains("too small for a network with IPv6") == true, "\(reply)")
            try await plugin.expectNothingLeft()
        } else {
            #expect(reply.status == 200, "\(reply)")
        }
        let v4 = try await plugin.call(
            "NetworkDriver.CreateNetwork", Sample.create(dockerID(0xdef), generic: generic))
        #expect(v4.status == 200, "\(v4)")
    }

    @Test func `a profile whose name is too long for a label is made with a shorter one`() async throws {
        let name = String(repeating: "team.", count: 20) + "a"
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(generic: #"{"org.projectcalico.profile":"\#(name)"}"#)
        try await Life(1).start(plugin)
        let profile = try #require(plugin.replica.read { $0.profiles[name]?.value })
        try profile.validate()
        let label = try #require(profile.spec.labelsToApply.keys.first)
        #expect(label.utf8.count <= 63 && label.hasPrefix("team-team-"))
        #expect(profile.spec.ingress.first?.source.selector == "has(\(label))")
        #expect(try plugin.endpoint(Life(1).endpoint)?.spec.profiles == [name])
    }

    @Test(arguments: [
        (#"{"com.docker.network.driver.mtu":"67"}"#, "not an MTU"),
        (#"{"com.docker.network.driver.mtu":"big"}"#, "not an MTU"),
        (#"{"com.docker.network.container_iface_prefix":"much-too-long"}"#, "not an interface prefix"),
        (#"{"org.projectcalico.profile":"Not Legal"}"#, "not a profile name"),
        (#"{"org.projectcalico.label.-":"x"}"#, "not a label"),
        (#"{"org.projectcalico.label.a":"b c"}"#, "not a label"),
        (#"{"zeta":"1","alpha":"2","com.docker.network.fine":"3"}"#, "does not support the flags alpha, zeta;"),
    ])
    func `a malformed or unknown option is refused by name`(_ generic: String, _ words: String) async throws {
        let plugin = try await Plugin.fresh()
        let reply = try await plugin.call("NetworkDriver.CreateNetwork", Sample.create(generic: generic))
        #expect(reply.refusal?.contains(words) == true, "\(reply)")
        try await plugin.expectNothingLeft()
    }

    @Test(arguments: [
        "CalicoPoolIPv4", "CalicoPoolIPv6", "p4", "p4@192.168.8.0/24", "p4#192.168.8.0/24",
        "p4@192.168.8.0/22#192.168.8.0/24", "p6@fd00:1::/80#fd00:1::/96", "p4,p5", "p6,a-b.c,p4",
    ])
    func `a pool's id is read back as it was given`(_ text: String) {
        #expect(PoolID(text)?.description == text)
    }

    @Test(arguments: [
        "", "@192.168.8.0/24", "#192.168.8.0/24", "p4@", "p4#x", "p4@10.0.0.0/8#", "p4,", ",p4", "p4,,p5",
        "p4,p5#10.0.0.0/8",
    ])
    func `what is no pool's id is none`(_ text: String) { #expect(PoolID(text) == nil) }
}
