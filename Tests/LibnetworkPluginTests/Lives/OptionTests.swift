// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Testing

@testable import LibnetworkPlugin

/// Every key a user can give, right, malformed, unknown and misspelt.
@Suite struct `Options of networks and endpoints` {
    @Test(arguments: [
        ("com.docker.network.driver.mtu", "1400"), ("com.docker.network.driver.mtu", "68"),
        ("com.docker.network.driver.mtu", "65535"), ("com.docker.network.container_iface_prefix", "web"),
        ("org.projectcalico.profile", "team"), ("org.projectcalico.profile", "none"),
        ("org.projectcalico.label.tier", "front"), ("org.projectcalico.label.tier", ""),
        ("com.docker.network.bridge.name", "br7"), ("com.docker.network.driver.mtuu", "1400"),
    ])
    func `a network takes`(_ key: String, _ value: String) async throws {
        let plugin = try await Plugin.fresh()
        let reply = try await plugin.call(
            "NetworkDriver.CreateNetwork", Sample.create(generic: #"{"\#(key)":"\#(value)"}"#))
        #expect(reply.status == 200, "\(reply)")
        #expect(plugin.record(Sample.network)?.options == [key: value])
    }

    @Test(arguments: [
        ("com.docker.network.driver.mtu", "67", "is not an MTU between 68 and 65535"),
        ("com.docker.network.driver.mtu", "65536", "is not an MTU between 68 and 65535"),
        ("com.docker.network.driver.mtu", "", "is not an MTU"),
        ("com.docker.network.container_iface_prefix", "", "is not an interface prefix of 1 to 12"),
        ("com.docker.network.container_iface_prefix", "a/b", "is not an interface prefix"),
        ("org.projectcalico.profile", "Team", "is not a profile name: that is none, or up to 253 lower-case letters,"),
        ("org.projectcalico.pool", "", "\"\" is not a pool's name"),
        ("org.projectcalico.pool", "p4,,p6", "\"\" is not a pool's name"),
        ("org.projectcalico.profil", "x", "org.projectcalico.profil (do you mean org.projectcalico.profile?)"),
        ("org.projectcalico.Profile", "x", "(do you mean org.projectcalico.profile?)"),
        ("org.projectcalico.pools", "x", "(do you mean org.projectcalico.pool?)"),
        ("org.projectcalico.labels.tier", "x", "(do you mean org.projectcalico.label.tier?)"),
        ("label.tier", "x", "(do you mean org.projectcalico.label.tier?)"),
        ("profile", "x", "(do you mean org.projectcalico.profile?)"),
        ("MTU", "1400", "(do you mean com.docker.network.driver.mtu?)"),
        (
            "org.projectcalico.x", "y",
            "does not support the flag org.projectcalico.x; it knows com.docker.network.driver.mtu, "
        ),
        ("parent", "eth0", "Calico driver does not support the flag parent; it knows"),
    ])
    func `a network refuses`(_ key: String, _ value: String, _ words: String) async throws {
        let plugin = try await Plugin.fresh()
        let reply = try await plugin.call(
            "NetworkDriver.CreateNetwork", Sample.create(generic: #"{"\#(key)":"\#(value)"}"#))
        #expect(reply.refusal?.contains(words) == true, "\(reply)")
        #expect(reply.refusal?.contains(key) == true, "\(reply)")
        try await plugin.expectNothingLeft()
    }

    @Test(arguments: [
        ("org.projectcalico.profile", "team"), ("org.projectcalico.label.tier", "front"),
        ("com.docker.network.endpoint.sysctls", "net.ipv4.conf.IFNAME.log_martians=1"), ("whatever", "x"),
        ("com.docker.network.endpoint.ifname", "eth7"), ("com.docker.network.driver.mtu", "1400"),
    ])
    func `an endpoint takes`(_ key: String, _ value: String) async throws {
        let plugin = try await Plugin.fresh()
        let reply = try await plugin.call(
            "NetworkDriver.CreateEndpoint", Sample.endpoint(options: #"{"\#(key)":"\#(value)"}"#))
        #expect(reply.status == 200, "\(reply)")
    }

    @Test(arguments: [
        ("org.projectcalico.pool", "p4", "does not support the endpoint option org.projectcalico.pool; it knows"),
        ("org.projectcalico.profil", "x", "(do you mean org.projectcalico.profile?)"),
        ("org.projectcalico.lable.tier", "x", "(do you mean org.projectcalico.label.tier?)"),
        ("org.projectcalico.profile", "a b", "is not a profile name"),
    ])
    func `an endpoint refuses`(_ key: String, _ value: String, _ words: String) async throws {
        let plugin = try await Plugin.fresh()
        let reply = try await plugin.call(
            "NetworkDriver.CreateEndpoint", Sample.endpoint(options: #"{"\#(key)":"\#(value)"}"#))
        #expect(reply.refusal?.contains(words) == true, "\(reply)")
        try await plugin.expectNothingLeft()
    }

    @Test func `an endpoint's unknown options are refused all at once, in order`() async throws {
        let plugin = try await Plugin.fresh()
        let keys = ["org.projectcalico.profil", "org.projectcalico.lable.tier", "org.projectcalico.pool"]
        let options = keys.map { #""\#($0)":"x""# }.joined(separator: ",")
        let reply = try await plugin.call("NetworkDriver.CreateEndpoint", Sample.endpoint(options: "{\(options)}"))
        let words =
            "org.projectcalico.lable.tier (do you mean org.projectcalico.label.tier?), org.projectcalico.pool, "
            + "org.projectcalico.profil (do you mean org.projectcalico.profile?); it knows"
        #expect(reply.refusal?.contains("does not support the endpoint options \(words)") == true, "\(reply)")
    }

    @Test func `an endpoint's options that are not Calico's have no effect, and the log says so`() async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(logger: log.logger)
        let options = #"""
            {"com.docker.network.endpoint.ifname":"eth7","com.docker.network.driver.mtu":"1400","profile":"team",
            "whatever":"x","org.projectcalico.profile":"team","com.docker.network.portmap":[],
            "com.docker.network.endpoint.exposedports":[],"com.docker.network.endpoint.macaddress":"AkKsEQAC",
            "com.docker.network.endpoint.dnsservers":["8.8.8.8"],
            "com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.log_martians=1"}
            """#
        let reply = try await plugin.call("NetworkDriver.CreateEndpoint", Sample.endpoint(options: options))
        #expect(reply.status == 200, "\(reply)")
        #expect(
            log.lines.filter { $0.contains("has no effect here") } == [
                "endpoint option has no effect here option=com.docker.network.driver.mtu",
                "endpoint option has no effect here option=com.docker.network.endpoint.ifname",
                "endpoint option has no effect here nearest=org.projectcalico.profile option=profile",
                "endpoint option has no effect here option=whatever",
            ])
    }

    @Test func `unknown options of Docker's own have no effect, and the log says so`() async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(logger: log.logger)
        let options = #"{"com.docker.network.driver.mtuu":"1400","com.docker.network.bridge.name":"br7"}"#
        let replies = [
            try await plugin.call("IpamDriver.RequestPool", Sample.pool("", options: options)),
            try await plugin.call("NetworkDriver.CreateNetwork", Sample.create(generic: options)),
        ]
        for reply in replies { #expect(reply.status == 200, "\(reply)") }
        #expect(
            log.lines.filter { $0.contains("has no effect here") } == [
                "IPAM option has no effect here option=com.docker.network.bridge.name",
                "IPAM option has no effect here option=com.docker.network.driver.mtuu",
                "network option has no effect here option=com.docker.network.bridge.name",
                "network option has no effect here nearest=com.docker.network.driver.mtu option=com.docker.network.driver.mtuu",
            ])
    }

    @Test(arguments: [
        ("org.projectcalico.pol", "(do you mean org.projectcalico.pool?); it knows org.projectcalico.pool"),
        ("pool", "takes no --ipam-opt pool (do you mean org.projectcalico.pool?)"),
        (
            "whatever",
            "Arbitrary options are not supported: calico-ipam takes no --ipam-opt whatever; it knows org.projectcalico.pool"
        ),
    ])
    func `IPAM refuses`(_ key: String, _ words: String) async throws {
        let plugin = try await Plugin.fresh()
        let reply = try await plugin.call("IpamDriver.RequestPool", Sample.pool("", options: #"{"\#(key)":"x"}"#))
        #expect(reply.refusal?.contains(words) == true, "\(reply)")
    }
}

@Suite struct `Pools that a network names` {
    private static let pools = [
        "p4": "192.168.0.0/16", "blue": "10.65.0.0/24", "green": "10.66.0.0/24", "blue6": "fd00:65::/64",
    ]

    private func request(
        _ plugin: Plugin, _ names: String, subnet: String = "", sub: String = "", v6: Bool = false
    ) async throws -> Reply {
        try await plugin.call(
            "IpamDriver.RequestPool",
            Sample.pool(subnet, sub: sub, options: #"{"org.projectcalico.pool":"\#(names)"}"#, v6: v6))
    }

    @Test(arguments: [
        ("blue", false, "blue", "0.0.0.0/0"), ("green,blue", false, "green,blue", "0.0.0.0/0"),
        ("green, blue, green", false, "green,blue", "0.0.0.0/0"), ("blue6,blue", false, "blue", "0.0.0.0/0"),
        ("blue6,blue", true, "blue6", "::/0"),
    ])
    func `IPAM serves those of the family that an engine asks for, in their order`(
        _ names: String, _ v6: Bool, _ id: String, _ subnet: String
    ) async throws {
        let plugin = try await Plugin.fresh(pools: Self.pools)
        let reply = try await request(plugin, names, v6: v6)
        #expect(reply["PoolID"]?.string == id && reply["Pool"]?.string == subnet, "\(reply)")
    }

    @Test(arguments: [
        ("blu", "", false, "there is no IP pool blu (do you mean blue?); the pools are"),
        ("nowhere", "", false, "green (10.66.0.0/24)"), ("Blue", "", false, "\"Blue\" is not a pool's name"),
        ("blue", "", true, "names no IPv6 pool, and the network has IPv6 addresses; add one: the IPv6 pools are blue6"),
        ("blue6", "", false, "names no IPv4 pool"),
        (
            "blue", "192.168.7.0/24", false,
            "192.168.7.0/24 lies in pool p4, which --ipam-opt org.projectcalico.pool=blue"
        ),
    ])
    func `IPAM refuses`(_ names: String, _ subnet: String, _ v6: Bool, _ words: String) async throws {
        let plugin = try await Plugin.fresh(pools: Self.pools)
        let reply = try await request(plugin, names, subnet: subnet, v6: v6)
        #expect(reply.refusal?.contains(words) == true, "\(reply)")
    }

    @Test func `a subnet may lie in one of them, and a family that has a subnet needs none`() async throws {
        let plugin = try await Plugin.fresh(pools: Self.pools)
        #expect(
            try await request(plugin, "green,blue", subnet: "10.66.0.0/25")["PoolID"]?.string == "green@10.66.0.0/25")
        #expect(try await request(plugin, "blue6", subnet: "192.168.0.0/16")["PoolID"]?.string == "p4")
    }

    @Test func `the second gives addresses once the first is full, and none other does`() async throws {
        let plugin = try await Plugin.fresh(pools: ["p4": "192.168.0.0/16"])
        for (name, cidr) in [("blue", "10.65.0.0/30"), ("green", "10.66.0.0/30")] {
            try await plugin.put(smallPool: name, cidr)
        }
        let id = try #require(try await request(plugin, "blue,green")["PoolID"]?.string)
        var addresses: [String] = []
        for number in 1...8 {
            addresses.append(try #require(try await Life(number).requestAddress(id, plugin).address))
        }
        #expect(addresses.prefix(4).allSatisfy { $0.hasPrefix("10.65.0.") })
        #expect(addresses.suffix(4).allSatisfy { $0.hasPrefix("10.66.0.") })
        let full = try await Life(9).requestAddress(id, plugin)
        #expect(
            full.refusal?.contains("no free address for node host-1 in 10.65.0.0/30, 10.66.0.0/30") == true, "\(full)")
    }

    @Test func `one that goes, or is switched off, leaves the others to serve`() async throws {
        let plugin = try await Plugin.fresh(pools: Self.pools)
        let id = try #require(try await request(plugin, "blue,green")["PoolID"]?.string)
        _ = try await plugin.store.commit(.init(writes: [.delete(Key.resource(IPPoolSpec.self, name: "blue"))]))
        await plugin.replica.refresh()
        #expect(try await Life(1).requestAddress(id, plugin).address?.hasPrefix("10.66.0.") == true)
        _ = try await plugin.store.commit(.init(writes: [.delete(Key.resource(IPPoolSpec.self, name: "green"))]))
        await plugin.replica.refresh()
        #expect(try await Life(2).requestAddress(id, plugin).status == 500)
    }

    @Test func `a subnet in one that is switched off is refused with what to do`() async throws {
        let plugin = try await Plugin.fresh(pools: Self.pools)
        var pool = IPPool(
            metadata: ResourceMetadata(name: "off").asCreated(),
            spec: IPPoolSpec(cidr: try #require(CIDR("10.67.0.0/24"))))
        pool.spec.disabled = true
        _ = try await plugin.store.commit(.init(writes: [.put(pool.key, pool)]))
        await plugin.replica.refresh()
        let reply = try await plugin.call("IpamDriver.RequestPool", Sample.pool("10.67.0.0/24"))
        let words =
            "IP pool off is disabled; no new addresses come from it. Enable it with: calico-libnetwork pool enable off; "
            + "the other enabled pools are blue, green, p4"
        #expect(reply.refusal == words, "\(reply)")
    }

    @Test func `a particular address lies in one of them or is refused`() async throws {
        let plugin = try await Plugin.fresh(pools: Self.pools)
        let life = Life(1)
        #expect(try await life.requestAddress("blue,green", plugin, address: "10.66.0.7").address == "10.66.0.7")
        let other = try await life.requestAddress("blue,green", plugin, address: "192.168.0.7")
        #expect(
            other.refusal?.contains("192.168.0.7 is in none of this network's pools 10.65.0.0/24, 10.66.0.0/24") == true
        )
    }

    @Test func `the network's record learns them from the engine`() async throws {
        let plugin = try await Plugin.fresh(pools: Self.pools)
        plugin.engine.learn(
            Sample.network, .init(name: "web", ipamOptions: ["org.projectcalico.pool": "blue,blue6"]))
        try await plugin.call("NetworkDriver.CreateNetwork", Sample.create())
        try await eventually { plugin.record(Sample.network)?.pools == ["blue", "blue6"] }
    }

    @Test func `-o names them too late, and the refusal says what to type`() async throws {
        let plugin = try await Plugin.fresh(pools: Self.pools)
        let generic = #"{"org.projectcalico.pool":"blue,blue6"}"#
        let reply = try await plugin.call("NetworkDriver.CreateNetwork", Sample.create(generic: generic))
        #expect(reply.refusal?.contains("--ipam-opt org.projectcalico.pool=blue,blue6") == true, "\(reply)")
        try await plugin.expectNothingLeft()
    }

    @Test func `-o may repeat what a subnet says`() async throws {
        let plugin = try await Plugin.fresh(pools: Self.pools)
        let generic = #"{"org.projectcalico.pool":"green"}"#
        try await plugin.createNetwork(subnet: "10.66.0.0/25", generic: generic)
        #expect(plugin.record(dockerID(0xabc))?.pools == ["green"])
        let other = try await plugin.call(
            "NetworkDriver.CreateNetwork",
            Sample.create(
                generic: generic, v4: #"{"AddressSpace":"CalicoAddressSpace","Gateway":"","Pool":"10.65.0.0/24"}"#))
        #expect(other.refusal?.contains("comes too late") == true, "\(other)")
    }
}

extension Plugin {
    /// A pool of one block.
    func put(smallPool name: String, _ cidr: String) async throws {
        var pool = IPPool(
            metadata: ResourceMetadata(name: name).asCreated(), spec: IPPoolSpec(cidr: try #require(CIDR(cidr))))
        pool.spec.blockSize = pool.spec.cidr.prefixLength
        _ = try await store.commit(.init(writes: [.put(pool.key, pool)]))
        await replica.refresh()
    }
}
