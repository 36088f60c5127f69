// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

// `docker network create`, option by option. What needs no engine is in LibnetworkPluginTests.

extension SystemTests.Networks {
    @Test(arguments: [
        ("-o parent=eth0", "Calico driver does not support the flag parent; it knows"),
        ("-o org.projectcalico.profil=team", "(do you mean org.projectcalico.profile?)"),
        ("-o com.docker.network.driver.mtu=9", "com.docker.network.driver.mtu=9 is not an MTU between 68 and 65535"),
        ("--ipv6 -o com.docker.network.driver.mtu=1279", "mtu=1279 is too small for a network with IPv6"),
        ("-o org.projectcalico.pool=extra", "Give the pools to IPAM instead: --ipam-opt org.projectcalico.pool=extra"),
        ("--ipam-opt pool=extra", "calico-ipam takes no --ipam-opt pool (do you mean org.projectcalico.pool?)"),
        ("--ipam-opt org.projectcalico.pool=nowhere", "there is no IP pool nowhere; the pools are"),
        ("--subnet 192.168.0.0/16 --gateway 192.168.0.1", "leave out --gateway 192.168.0.1"),
    ])
    func `an option that cannot be is refused with the reason`(_ options: String, _ reason: String) async throws {
        let refusal = await lab.attemptNetwork("refused", options)
        #expect(!refusal.succeeded)
        #expect(refusal.errors.contains(reason), "\(refusal.errors)")
    }

    @Test func `pools can be named instead of a subnet, for both families, and stay as long as they are named`()
        async throws
    {
        try await lab.withPools([
            "tiny": "10.78.0.0/29 --block-size 29", "wide": "10.79.0.0/24", "wide6": "fd00:79::/64",
        ]) {
            try await lab.createNetwork("named", "--ipv6 --ipam-opt org.projectcalico.pool=tiny,wide,wide6")
            let first = try await lab.start("n1", on: "named")
            #expect(contains("10.78.0.0/29", first.address))
            #expect(contains("fd00:79::/64", first.address6))
            for number in 2...8 { try await lab.run("docker run -d --name n\(number) --network named bb true") }
            try await lab.run("docker start n2 n3 n4 n5 n6 n7 n8")
            let named = try await lab.eventually(within: 5) {
                try await lab.calico("network list", as: [PoolsOfNetwork].self).first?.pools == [
                    "tiny", "wide", "wide6",
                ]
            }
            #expect(named)
            let deletion = await lab.attempt("calico-libnetwork pool delete wide")
            #expect(deletion.errors.contains("pool wide is used by network named"), "\(deletion.errors)")
            #expect(await lab.hostReaches(first.address))
        }
    }

    @Test func `a network may have several subnets, and a container chooses an address in one of them`() async throws {
        try await lab.withPools(["extra": "10.77.0.0/24", "extra6": "fd00:77::/64"]) {
            try await lab.createNetwork(
                "several", "--ipv6 --subnet 192.168.0.0/16 --subnet 10.77.0.0/24 --subnet fd00:77::/64")
            let usual = try await lab.start("s1", on: "several")
            let chosen = try await lab.start("s2", on: "several", "--ip 10.77.0.9 --ip6 fd00:77::9")
            // Docker's client keeps the subnets in a Go map, so that any of them may be the engine's first choice.
            #expect(["192.168.0.0/16", "10.77.0.0/24"].contains { contains($0, usual.address) })
            #expect(contains("fd00:77::/64", usual.address6))
            #expect(chosen.address == "10.77.0.9" && chosen.address6 == "fd00:77::9")
            #expect(await usual.reaches(chosen.address))
            #expect(await usual.reaches(chosen.address6))
        }
    }

    @Test func `--ip-range narrows automatic addresses, and --aux-address keeps one from everybody`() async throws {
        try await lab.createNetwork(
            "ranged", "--subnet 192.168.64.0/24 --ip-range 192.168.64.8/30 --aux-address router=192.168.64.9")
        var addresses: [String] = []
        for number in 1...3 { addresses.append(try await lab.start("r\(number)", on: "ranged").address) }
        #expect(addresses.sorted() == ["192.168.64.10", "192.168.64.11", "192.168.64.8"])
        let refusal = await lab.attempt("docker run --rm --network ranged --ip 192.168.64.9 bb true")
        #expect(refusal.errors.contains("192.168.64.9 is already assigned to an --aux-address"), "\(refusal.errors)")
        #expect(try await lab.start("r4", on: "ranged", "--ip 192.168.64.77").address == "192.168.64.77")
    }

    @Test(.enabled(if: LabEngine.current == .v28_5, "--ipv4=false came with engine 28"))
    func `a network can have IPv6 alone`() async throws {
        try await lab.createNetwork("six", "--ipv4=false --ipv6")
        let first = try await lab.start("s1", on: "six")
        let second = try await lab.start("s2", on: "six")
        #expect(first.address.isEmpty)
        #expect(await first.reaches(second.address6))
        #expect(await lab.hostReaches(first.address6))
    }

    @Test func `MTU and interface prefix are the network's own, and the MTU else the uplink's`() async throws {
        try await lab.createNetwork(
            "own", "-o com.docker.network.driver.mtu=1300 -o com.docker.network.container_iface_prefix=web")
        try await lab.createNetwork("usual")
        let own = try await lab.start("o1", on: "own")
        #expect(try await own.run("cat /sys/class/net/web0/mtu") == "1300")
        let uplink = try await lab.run("cat /sys/class/net/eth0/mtu")
        #expect(try await lab.start("u1", on: "usual").run("cat /sys/class/net/cali0/mtu") == uplink)
        try await lab.run("ip link set eth0 mtu 1400")
        let narrower = try await lab.eventually(within: 5) {
            try await lab.run("docker run --rm --network usual bb cat /sys/class/net/cali0/mtu") == "1400"
        }
        try await lab.run("ip link set eth0 mtu \(uplink)")
        #expect(narrower)
    }

    @Test func `a network can be made from a configuration`() async throws {
        try await lab.run(
            "docker network create --config-only --ipam-driver calico-ipam --subnet 192.168.65.0/24 "
                + "-o com.docker.network.driver.mtu=1300 -o org.projectcalico.profile=team configuration")
        try await lab.run("docker network create -d calico --config-from configuration blue")
        let container = try await lab.start("b1", on: "blue")
        #expect(contains("192.168.65.0/24", container.address))
        #expect(try await container.run("cat /sys/class/net/cali0/mtu") == "1300")
        #expect(try await lab.calico("network list", as: [NetworkSummary].self).first?.profile == "team")
        try await lab.removeContainersAndNetworks()
        try await lab.run("docker network rm configuration")
    }
}

private struct PoolsOfNetwork: Decodable { let pools: [String] }

extension Lab {
    /// Makes pools, each from a range and options, and removes them afterwards, with the containers and networks that
    /// use them.
    fileprivate func withPools(_ pools: [String: String], _ body: () async throws -> Void) async throws {
        for (name, range) in pools { try await run("calico-libnetwork pool create \(name) --cidr \(range)") }
        try await body()
        try await removeContainersAndNetworks()
        for name in pools.keys { try await run("calico-libnetwork pool delete \(name)") }
    }
}
