// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Foundation
import LinuxNetwork
import Testing

@Suite(.serialized) struct `The Linux dataplane` {
    static let blue = ClusterChange(Cluster.network("blue"))
    static let red = ClusterChange(Cluster.network("red"))
    static let pools = [
        ClusterChange(Cluster.pool("v4", "10.65.0.0/16")), ClusterChange(Cluster.pool("v6", "fd00:65::/64")),
    ]
    static let base = pools + [blue, red]

    static func endpoint(_ id: String, _ number: Int, _ network: String, dual: Bool = true) -> WorkloadEndpoint {
        Cluster.endpoint(
            id, ["10.65.0.\(number)"] + (dual ? ["fd00:65::\(number)"] : []), profiles: [network],
            mac: MACAddress(bytes: [2, 0, 0, 0, 0, UInt8(number)]))
    }

    private func connect(_ dataplane: LinuxDataplane, _ endpoint: WorkloadEndpoint) async throws {
        try await dataplane.connect(EndpointLink(endpoint: endpoint, nextHop6: IPAddress("fe80::1")))
    }

    @Test func `connects containers of one network, keeps out others, and drops spoofed sources`() async throws {
        let lab = try Lab()
        try lab.host.run("ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo")
        let dataplane = lab.dataplane()
        try await dataplane.start(Self.base)
        let (one, two, other) = (
            Self.endpoint("b1aaaaaaaaaa", 2, "blue"), Self.endpoint("b2aaaaaaaaaa", 3, "blue"),
            Self.endpoint("r1aaaaaaaaaa", 4, "red")
        )
        for endpoint in [one, two, other] { try await connect(dataplane, endpoint) }
        let (a, b, c) = (try lab.container(one), try lab.container(two), try lab.container(other))
        defer { lab.end(a, b, c) }
        #expect(await !dataplane.isIdle(interfaceName: one.spec.interfaceName))
        #expect(await dataplane.isIdle(interfaceName: "caliunknown"))
        #expect(try a.reaches("10.65.0.3"))
        #expect(try a.reaches("fd00:65::3"))
        #expect(try b.reaches("10.65.0.2"))
        #expect(try !a.reaches("10.65.0.4"))
        #expect(try !a.reaches("fd00:65::4"))
        #expect(try !c.reaches("10.65.0.2"))
        #expect(try lab.host.reaches("10.65.0.2"))
        #expect(try lab.host.reaches("fd00:65::4"))
        try a.run("ip addr add 10.65.0.77/32 dev eth0")
        #expect(try !a.reaches("10.65.0.3", from: "10.65.0.77"))
        #expect(try lab.host.run("ip -d link show calib1aaaaaaaaa").contains("ee:ee:ee:ee:ee:ee"))
        #expect(try a.run("ip link show eth0").contains("02:00:00:00:00:02"))
        #expect(try lab.host.run("cat /proc/sys/net/ipv4/conf/calib1aaaaaaaaa/rp_filter") == "0\n")
        await dataplane.stop()
    }

    @Test func `restarts without losing a packet, and removes what no endpoint claims`() async throws {
        let lab = try Lab()
        let first = lab.dataplane()
        try await first.start(Self.base)
        let (one, two, orphan) = (
            Self.endpoint("b1aaaaaaaaaa", 2, "blue"), Self.endpoint("b2aaaaaaaaaa", 3, "blue"),
            Self.endpoint("b3aaaaaaaaaa", 5, "blue")
        )
        for endpoint in [one, two, orphan] { try await connect(first, endpoint) }
        let (a, b) = (try lab.container(one), try lab.container(two))
        defer { lab.end(a, b) }
        #expect(try a.reaches("10.65.0.3"))
        await first.stop()
        // Often enough that a packet is on its way whenever the rules change.
        let pings = [
            Task.detached { try a.run("ping -i 0.0005 -c 10000 -W 1 -q 10.65.0.3") },
            Task.detached { try a.run("ping -i 0.0005 -c 10000 -W 1 -q fd00:65::3") },
        ]
        let second = lab.dataplane()
        for _ in 0..<20 { try await second.start(Self.base + [ClusterChange(one), ClusterChange(two)]) }
        for ping in pings {
            let report = try await ping.value
            #expect(report.contains(" 0% packet loss"), "\(report)")
        }
        await second.stop()
        #expect(try !lab.host.run("ip -br link").contains("b3aaaa"))
        #expect(try !lab.host.run("ip route").contains("10.65.0.5"))
        #expect(try a.reaches("10.65.0.3"))
    }

    @Test func `leaves nothing of an endpoint behind`() async throws {
        let lab = try Lab()
        defer { lab.end() }
        let dataplane = lab.dataplane()
        try await dataplane.start(Self.base)
        // Any neighbours and routes that are there without an endpoint.
        let empty = try state(of: lab)
        let endpoint = Self.endpoint("b1aaaaaaaaaa", 2, "blue")
        try await connect(dataplane, endpoint)
        try await connect(dataplane, endpoint)
        #expect(try state(of: lab) != empty)
        let clock = ContinuousClock()
        let time = try await clock.measure {
            try await dataplane.disconnect(interfaceName: endpoint.spec.interfaceName)
        }
        #expect(time < .milliseconds(15))
        let routes = try lab.host.run("ip route; ip -6 route; ip neigh")
        #expect(!routes.contains("10.65.0.2") && !routes.contains("fd00:65::2"))
        try await dataplane.disconnect(interfaceName: endpoint.spec.interfaceName)
        try await dataplane.disconnect(interfaceName: "caliunknown")
        await dataplane.apply([ClusterChange(key: endpoint.key, value: nil)])
        await dataplane.stop()
        #expect(try state(of: lab) == empty)
    }

    private func state(of lab: Lab) throws -> String {
        // Counters and handles vary.
        try lab.host.run("ip -br link; ip route; ip -6 route; ip neigh; nft -s list table inet calico-libnetwork")
    }

    @Test func `connects nothing before it knows the cluster, and leaves the last process's rules alone`() async throws
    {
        let lab = try Lab()
        defer { lab.end() }
        try lab.host.run("nft add table inet calico-libnetwork; nft add chain inet calico-libnetwork old")
        let dataplane = lab.dataplane()
        let endpoint = Self.endpoint("b1aaaaaaaaaa", 2, "blue")
        await #expect(throws: DataplaneError.self) { try await connect(dataplane, endpoint) }
        await dataplane.apply([ClusterChange(endpoint)])
        #expect(try lab.host.succeeds("nft list chain inet calico-libnetwork old"))
        try await dataplane.start(Self.base)
        #expect(try lab.host.run("nft list map inet calico-libnetwork from-endpoint").contains("calib1aaaaaaaaa"))
        await dataplane.stop()
    }

    @Test func `a refused link leaves nothing behind`() async throws {
        let lab = try Lab()
        defer { lab.end() }
        let dataplane = lab.dataplane()
        try await dataplane.start(Self.base)
        let endpoint = Self.endpoint("b1aaaaaaaaaa", 2, "blue")
        await #expect(throws: (any Error).self) {
            try await dataplane.connect(EndpointLink(endpoint: endpoint, mtu: 10_000_000))
        }
        var nameless = endpoint
        nameless.spec.interfaceName = "eth0"
        await #expect(throws: DataplaneError.self) { try await dataplane.connect(EndpointLink(endpoint: nameless)) }
        #expect(try !lab.host.run("ip link").contains("cali"))
        await dataplane.stop()
    }

    @Test func `masquerades what leaves the pools`() async throws {
        let lab = try Lab()
        let dataplane = lab.dataplane()
        try lab.host.run(
            "ip link add up0 type veth peer name out0; ip addr add 172.31.0.1/24 dev up0; ip link set up0 up")
        let outside = try Lab.place()
        try lab.host.run("ip link set out0 netns \(outside.process)")
        try outside.run("ip addr add 172.31.0.2/24 dev out0; ip link set out0 up")
        try await dataplane.start(Self.base)
        let endpoint = Self.endpoint("b1aaaaaaaaaa", 2, "blue")
        try await connect(dataplane, endpoint)
        let a = try lab.container(endpoint)
        defer { lab.end(a, outside) }
        // Nothing outside knows a way back to 10.65.0.2.
        #expect(try a.reaches("172.31.0.2"))
        #expect(try a.reaches("172.31.0.1"))
        #expect(try !outside.succeeds("ip route add 10.65.0.0/16 via 172.31.0.1 && ping -c 1 -W 0.4 10.65.0.2"))
        await dataplane.stop()
    }

    @Test(arguments: ["iptables-nft", "iptables-legacy"])
    func `gets through a FORWARD chain that drops, also after it was emptied`(iptables: String) async throws {
        let lab = try Lab()
        try lab.host.run(
            "\(iptables) -P FORWARD DROP; ip6tables-\(iptables.dropFirst(9)) -P FORWARD DROP; \(iptables) -A FORWARD -i up0 -j DROP"
        )
        let dataplane = lab.dataplane()
        try await dataplane.start(Self.base)
        let (one, two) = (Self.endpoint("b1aaaaaaaaaa", 2, "blue"), Self.endpoint("b2aaaaaaaaaa", 3, "blue"))
        for endpoint in [one, two] { try await connect(dataplane, endpoint) }
        let (a, b) = (try lab.container(one), try lab.container(two))
        defer { lab.end(a, b) }
        #expect(try a.reaches("10.65.0.3"))
        #expect(try a.reaches("fd00:65::3"))
        #expect(try lab.host.run("\(iptables) -S FORWARD").contains("--mark 0x1000000/0x1000000"))
        if iptables == "iptables-nft" {
            try lab.host.run("\(iptables) -F FORWARD")
            try await eventually { try a.reaches("10.65.0.3") }
            try lab.host.run("\(iptables) -I FORWARD -j REJECT")
            try await eventually { try a.reaches("10.65.0.3") }
            try lab.host.run("nft flush ruleset")
            try await eventually { try lab.host.succeeds("nft list table inet calico-libnetwork") }
            #expect(try a.reaches("10.65.0.3"))
        }
        await dataplane.stop()
    }

    @Test func `gives an interface its routes back when it comes up again`() async throws {
        let lab = try Lab()
        let dataplane = lab.dataplane()
        try await dataplane.start(Self.base)
        let (one, two) = (Self.endpoint("b1aaaaaaaaaa", 2, "blue"), Self.endpoint("b2aaaaaaaaaa", 3, "blue"))
        for endpoint in [one, two] { try await connect(dataplane, endpoint) }
        let (a, b) = (try lab.container(one), try lab.container(two))
        defer { lab.end(a, b) }
        try lab.host.run("ip link set calib1aaaaaaaaa down")
        #expect(try !lab.host.run("ip route").contains("10.65.0.2"))
        try lab.host.run("ip link set calib1aaaaaaaaa up")
        try await eventually { try a.reaches("10.65.0.3") }
        try await eventually { try a.reaches("fd00:65::3") }
        await dataplane.stop()
    }

    @Test func `takes the MTU of the interface that leads out`() async throws {
        let lab = try Lab()
        defer { lab.end() }
        let dataplane = lab.dataplane()
        try await dataplane.start([])
        #expect(await dataplane.uplinkMTU() == 1500)
        try lab.host.run(
            "ip link add up0 mtu 9000 type veth peer name out0; ip link set out0 up; ip link set up0 up; ip addr add 172.31.0.1/24 dev up0; ip route add default via 172.31.0.2"
        )
        try await eventually { await dataplane.uplinkMTU() == 9000 }
        try await connect(dataplane, Self.endpoint("b1aaaaaaaaaa", 2, "blue"))
        #expect(try lab.host.run("ip link show calib1aaaaaaaaa").contains("mtu 9000"))
        try await dataplane.connect(
            EndpointLink(endpoint: Self.endpoint("b2aaaaaaaaaa", 3, "blue", dual: false), mtu: 1400))
        #expect(try lab.host.run("ip link show tempb2aaaaaaaaa").contains("mtu 1400"))
        try await dataplane.connect(EndpointLink(endpoint: Self.endpoint("b3aaaaaaaaaa", 4, "blue"), overhead: 70))
        #expect(try lab.host.run("ip link show calib3aaaaaaaaa").contains("mtu 8930"))
        await #expect {
            try await dataplane.connect(EndpointLink(endpoint: Self.endpoint("b4aaaaaaaaaa", 5, "blue"), mtu: 1279))
        } throws: {
            "\($0)".hasSuffix("cannot have a link: an MTU of 1279 is too small, it needs 1280")
        }
        await dataplane.stop()
    }

    @Test func `serves many at once`() async throws {
        let lab = try Lab()
        defer { lab.end() }
        let dataplane = lab.dataplane()
        try await dataplane.start(Self.base)
        let clock = ContinuousClock()
        let endpoints = (1...64).map { Self.endpoint("c\(100 + $0)aaaaaaaa", $0, "blue") }
        let time = try await clock.measure {
            try await withThrowingTaskGroup { group in
                for endpoint in endpoints {
                    group.addTask {
                        try await dataplane.connect(EndpointLink(endpoint: endpoint, nextHop6: IPAddress("fe80::1")))
                    }
                }
                try await group.waitForAll()
            }
        }
        print("connect: \(time / endpoints.count) for one of \(endpoints.count) at once")
        #expect(try lab.host.run("ip -br link").components(separatedBy: "\ncalic").count == 65)
        let gone = try await clock.measure {
            for endpoint in endpoints { try await dataplane.disconnect(interfaceName: endpoint.spec.interfaceName) }
        }
        print("disconnect: \(gone / endpoints.count) for one")
        await dataplane.stop()
        #expect(try !lab.host.run("ip -br link").contains("calic"))
    }

    private func eventually(_ condition: () async throws -> Bool) async throws {
        for _ in 0..<40 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("did not come true within two seconds")
    }
}
