// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import LinuxNetwork
import Testing

@Suite(.serialized) struct `An internal endpoint` {
    private static let pools = [
        ClusterChange(Cluster.pool("v4", "10.65.0.0/16")), ClusterChange(Cluster.pool("v6", "fd00:65::/64")),
    ]
    /// Lets everything through: what holds then is not the profile's doing.
    private static let open = ClusterChange(
        Profile(
            metadata: .init(name: "open"), spec: .init(ingress: [Rule(action: .allow)], egress: [Rule(action: .allow)]))
    )
    private static let outside = ["172.31.0.2", "fd00:31::2"]

    private static func endpoint(_ id: String, _ number: Int, _ profile: String, isInternal: Bool) -> WorkloadEndpoint {
        Cluster.endpoint(
            id, ["10.65.0.\(number)", "fd00:65::\(number)"], profiles: [profile], isInternal: isInternal)
    }

    /// A neighbour of the host that knows the way to the pools.
    private func neighbour(of lab: Lab) throws -> Lab.Place {
        let outside = try Lab.place()
        try lab.host.run(
            """
            ip link add up0 type veth peer name out0 && ip link set up0 up
            ip addr add 172.31.0.1/24 dev up0 && ip addr add fd00:31::1/64 dev up0 nodad
            ip link set out0 netns \(outside.process)
            """)
        try outside.run(
            """
            ip link set out0 up && ip addr add 172.31.0.2/24 dev out0 && ip addr add fd00:31::2/64 dev out0 nodad
            ip route add 10.65.0.0/16 via 172.31.0.1 && ip route add fd00:65::/64 via fd00:31::1
            """)
        return outside
    }

    @Test func `meets the pools and is met by its host, and nothing else, whatever its profile lets through`()
        async throws
    {
        let lab = try Lab()
        let outside = try neighbour(of: lab)
        // Addresses of the host in the pools, as its tunnels have.
        let inPools = ["10.65.255.1", "fd00:65::ff01"]
        try lab.host.run("ip addr add \(inPools[0])/32 dev lo; ip addr add \(inPools[1])/128 dev lo nodad")
        let dataplane = lab.dataplane()
        try await dataplane.start(Self.pools + [Self.open])
        let one = Self.endpoint("i1aaaaaaaaaa", 2, "open", isInternal: true)
        let two = Self.endpoint("n1aaaaaaaaaa", 3, "open", isInternal: false)
        for endpoint in [one, two] {
            try await dataplane.connect(EndpointLink(endpoint: endpoint, nextHop6: IPAddress("fe80::1")))
        }
        let (inner, normal) = (try lab.container(one), try lab.container(two))
        defer { lab.end(inner, normal, outside) }
        for (own, other) in [("10.65.0.2", "10.65.0.3"), ("fd00:65::2", "fd00:65::3")] {
            #expect(try inner.reaches(other))
            #expect(try normal.reaches(own))
            #expect(try lab.host.reaches(own))
            #expect(try !outside.reaches(own), "from outside to \(own)")
            #expect(try outside.reaches(other))
        }
        for address in Self.outside + ["172.31.0.1", "fd00:31::1"] + inPools {
            #expect(try !inner.reaches(address), "to \(address)")
            #expect(try normal.reaches(address))
        }
        await dataplane.stop()
    }

    @Test func `is told at once that there is no way out`() async throws {
        let lab = try Lab()
        let outside = try neighbour(of: lab)
        let dataplane = lab.dataplane()
        try await dataplane.start(Self.pools + [ClusterChange(Cluster.network("inner", isInternal: true))])
        let endpoint = Self.endpoint("i1aaaaaaaaaa", 2, "inner", isInternal: true)
        try await dataplane.connect(EndpointLink(endpoint: endpoint, nextHop6: IPAddress("fe80::1")))
        let container = try lab.container(endpoint)
        defer { lab.end(container, outside) }
        for address in Self.outside {
            let answer = try container.run("ping -n -c 1 -W 1 \(address)", expect: 1)
            #expect(answer.contains("Net Unreachable") || answer.contains("No route"), "\(answer)")
        }
        await dataplane.stop()
    }

    @Test func `leaves its container the way out through another network, from that network's address`() async throws {
        let lab = try Lab()
        let outside = try neighbour(of: lab)
        let dataplane = lab.dataplane()
        try await dataplane.start(
            Self.pools + [
                ClusterChange(Cluster.network("inner", isInternal: true)), ClusterChange(Cluster.network("outer")),
            ])
        let normal = Self.endpoint("n1aaaaaaaaaa", 3, "outer", isInternal: false)
        let inner = Self.endpoint("i1aaaaaaaaaa", 2, "inner", isInternal: true)
        for endpoint in [normal, inner] {
            try await dataplane.connect(
                EndpointLink(endpoint: endpoint, nextHop6: IPAddress("fe80::1"), sandbox: "both"))
        }
        let container = try lab.container(normal)
        defer { lab.end(container, outside) }
        try container.run(
            "ip addr add 10.65.0.2/32 dev eth0; ip addr add fd00:65::2/128 dev eth0 nodad preferred_lft 0")
        for (address, own, others) in [
            (Self.outside[0], "10.65.0.3", "10.65.0.2"), (Self.outside[1], "fd00:65::3", "fd00:65::2"),
        ] {
            #expect(try container.reaches(address, from: own))
            #expect(try !container.reaches(address, from: others), "from \(others)")
        }
        await dataplane.stop()
    }

    @Test func `an internal endpoint may also open what its container's other networks allow, and no other may`()
        throws
    {
        var index = PolicyIndex(
            node: Cluster.node,
            state: [
                ClusterChange(Cluster.endpoint("i1aaaaaaaaaa", ["10.65.0.2"], profiles: ["one"], isInternal: true)),
                ClusterChange(Cluster.endpoint("i2aaaaaaaaaa", ["10.65.0.3"], profiles: ["two"], isInternal: true)),
                ClusterChange(Cluster.endpoint("n1aaaaaaaaaa", ["10.65.0.4"], profiles: ["open"])),
            ])
        let alone = index.ruleset
        let names = try ["calii1aaaaaaaaa", "calii2aaaaaaaaa", "calin1aaaaaaaaa"].map {
            try #require(InterfaceName($0))
        }
        let addresses = zip(names, ["10.65.0.2", "10.65.0.3", "10.65.0.4"].map { [IPAddress($0)!] as Set })
        let container = Dictionary(uniqueKeysWithValues: addresses)
        for name in names { index.setSiblings(container.filter { $0.key != name }, of: name) }
        #expect(jumps(index, "from-endpoint", names[0]) == ["one", "two", "open"])
        #expect(jumps(index, "from-endpoint", names[1]) == ["two", "one", "open"])
        #expect(jumps(index, "from-endpoint", names[2]) == ["open"])
        #expect(jumps(index, "to-endpoint", names[0]) == ["one"])

        var changed = Cluster.endpoint("n1aaaaaaaaaa", ["10.65.0.4"], profiles: ["other"])
        index.apply(.init(changed))
        #expect(jumps(index, "from-endpoint", names[0]) == ["one", "two", "other"])
        changed.spec.profiles = ["open"]
        index.apply(.init(changed))
        for name in names { index.setSiblings([:], of: name) }
        #expect(index.ruleset == alone)
    }

    /// The profiles that decide about an interface, in order.
    private func jumps(_ index: PolicyIndex, _ map: String, _ interface: InterfaceName) -> [String] {
        let verdict = index.ruleset.sets[map]?.elements["\"\(interface)\""] ?? ""
        let chain = index.ruleset.chains[String(verdict.dropFirst("goto ".count))]
        return (chain?.rules ?? []).filter { $0.hasPrefix("jump profile-") }.map {
            String($0[$0.index(after: $0.lastIndex(of: "-")!)...])
        }
    }
}
