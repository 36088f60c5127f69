// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import TestSupport
import Testing

// `docker run`, option by option, as far as it concerns addresses.

extension SystemTests.Addresses {
    @Test func `--ip6 gives a free address`() async throws {
        let pool = try await lab.pool(ipv6: true).cidr
        let address = pool.split(separator: "/")[0] + "7"
        try await lab.createNetwork("blue", "--ipv6 --subnet 192.168.0.0/16 --subnet \(pool)")
        let container = try await lab.start("b1", on: "blue", "--ip6 \(address)")
        #expect(container.address6 == address)
        #expect(await lab.hostReaches(String(address)))
    }

    /// In the words of `docs/troubleshooting.md`.
    @Test(arguments: ["--ip 192.168.7.7", "--ip6 fd00::7"])
    func `Docker itself refuses an address on a network without --subnet`(option: String) async throws {
        try await lab.createNetwork("blue", "--ipv6")
        let refusal = await lab.attempt("docker run --rm --network blue \(option) bb true")
        let text = "user specified IP address is supported only when connecting to networks with user configured"
        #expect(refusal.errors.contains(text), "\(refusal.errors)")
    }

    @Test func `an IPv4 --link-local-ip adds its address, which reaches nobody`() async throws {
        try await lab.createNetwork("blue")
        let container = try await lab.start("b1", on: "blue", "--link-local-ip 169.254.77.7")
        #expect(try await container.run("ip -o -4 addr show dev cali0").contains(" 169.254.77.7/16 "))
        let peer = try await lab.start("b2", on: "blue")
        #expect(await peer.reaches(container.address))
        // The kernel takes the address that shares the next hop's range, and that is nobody's in the network.
        #expect(await container.isCutOff(from: peer.address))
        #expect(await container.reaches(peer.address, from: container.address))
        #expect(try await container.run("nslookup b2 127.0.0.11").contains(peer.address))
    }

    @Test func `an IPv6 --link-local-ip is one more address, and takes nothing from the others`() async throws {
        try await lab.createNetwork("blue", "--ipv6")
        let container = try await lab.start("b1", on: "blue", "--link-local-ip fe80::77")
        #expect(try await container.run("ip -o -6 addr show dev cali0").contains(" fe80::77/64 "))
        let peer = try await lab.start("b2", on: "blue")
        for (own, other) in [(container.address6, peer.address6), (container.address, peer.address)] {
            #expect(await container.reaches(other), "whatever source the kernel takes")
            #expect(await peer.reaches(own))
        }
        let endpoints = try await lab.calico("endpoint list", as: [Endpoint].self)
        let addresses = endpoints.first { $0.mac == container.mac }?.addresses
        #expect(addresses == [container.address, container.address6], "the plugin is not told of it")
    }

    @Test func `--dns names who is asked for names that Docker does not know`() async throws {
        try await lab.createNetwork("blue")
        let server = try lab.startNameServer { _ in .records([NameServer.record(1, [203, 0, 113, 7])]) }
        defer { server.stop() }
        let container = try await lab.start("b1", on: "blue", "--dns \(Lab.outside)")
        let answer = try await container.run("timeout 20 nslookup www.example.org 127.0.0.11")
        #expect(answer.contains("203.0.113.7"), "\(answer)")
        #expect(server.names.contains("www.example.org"))
        #expect(try await container.run("timeout 20 nslookup b1 127.0.0.11").contains(container.address))
        #expect(!server.names.contains("b1"))
    }

    @Test func `driver options of an endpoint count, and a misspelt one is refused`() async throws {
        try await lab.createNetwork("blue")
        try await lab.start("b1", on: "none")
        try await lab.run("docker network disconnect none b1")
        let refusal = await lab.attempt("docker network connect --driver-opt org.projectcalico.profil=team blue b1")
        #expect(refusal.errors.contains("(do you mean org.projectcalico.profile?)"), "\(refusal.errors)")
        try await lab.run("docker rm -f b1")
        try await lab.start("b2", on: "bridge")
        try await lab.run(
            "docker network connect --driver-opt org.projectcalico.profile=team "
                + "--driver-opt org.projectcalico.label.Role=db blue b2")
        let endpoint = try #require(try await lab.calico("endpoint list", as: [DescribedEndpoint].self).first)
        #expect(endpoint.profiles == ["team"])
        #expect(endpoint.labels["Role"] == "db")
        // Nobody has made that profile.
        let warning = "'a profile that does not exist lets nothing pass; .* profile=team'"
        try await lab.run("grep \(warning) \(lab.directory)/\(lab.host)/plugin.log")
        let peer = try await lab.start("b3", on: "blue")
        #expect(await peer.isCutOff(from: try await lab.container("b2", on: "blue").address))
    }

    @Test func `docker run takes a driver option with the network's name, and its client makes it lower case`()
        async throws
    {
        try await lab.createNetwork("blue")
        try await run("b1", "--network name=blue,driver-opt=org.projectcalico.label.tier=web")
        try await run("b2", "--network name=blue,driver-opt=org.projectcalico.label.Tier=Web")
        let endpoints = try await lab.calico("endpoint list", as: [Endpoint].self)
        #expect(endpoints.map { $0.labels["tier"] } == ["web", "web"])
        #expect(endpoints.allSatisfy { $0.labels["Tier"] == nil })
        let refusal = await lab.attempt(
            "docker run --rm --network name=blue,driver-opt=org.projectcalico.labl.tier=web bb true")
        #expect(refusal.errors.contains("org.projectcalico.labl.tier"), "\(refusal.errors)")
    }

    @Test(.enabled(if: LabEngine.current.takesSeveralNetworks, "several --network came with engine 25"))
    func `docker run takes several networks, each with its MAC and driver options`() async throws {
        for network in ["blue", "red"] { try await lab.createNetwork(network) }
        let members = [try await lab.start("b1", on: "blue"), try await lab.start("r1", on: "red")]
        let macs = ["02:42:ca:11:c0:0b", "02:42:ca:11:c0:0c"]
        try await run(
            "both",
            "--network name=blue,mac-address=\(macs[0]),driver-opt=org.projectcalico.label.tier=web "
                + "--network name=red,mac-address=\(macs[1]),driver-opt=org.projectcalico.label.tier=db")
        let endpoints = try await lab.calico("endpoint list", as: [Endpoint].self)
        for (index, network) in ["blue", "red"].enumerated() {
            let own = try await lab.container("both", on: network)
            #expect(own.mac == macs[index])
            let endpoint = try #require(endpoints.first { $0.addresses == [own.address] })
            #expect(endpoint.mac == macs[index])
            #expect(endpoint.labels["tier"] == ["web", "db"][index])
            #expect(await own.reaches(members[index].address), "to \(network)")
            #expect(await members[index].reaches(own.address), "from \(network)")
        }
        let links = try await lab.run("docker exec both ip link")
        for mac in macs { #expect(links.contains(mac), "\(links)") }
    }

    private func run(_ name: String, _ networks: String) async throws {
        try await lab.run("docker run -d --name \(name) \(networks) --stop-signal KILL bb sleep 3600")
    }

    @Test func `a container with a static address keeps it, whatever ends it`() async throws {
        try await lab.createNetwork("blue", "--subnet 192.168.0.0/16")
        try await lab.start("b1", on: "blue", "--ip 192.168.7.20 --mac-address 02:42:ca:11:c0:03 -p 8085:80")
        let peer = try await lab.start("b2", on: "blue")
        for end in ["docker restart b1", "docker kill b1; docker start b1", "docker stop -t 0 b1; docker start b1"] {
            try await lab.run(end)
            #expect(await peer.reaches("192.168.7.20"), "after \(end)")
        }
        try await lab.killEngine()
        try await lab.startEngine()
        try await lab.run("docker start b1 b2")
        #expect(await lab.hostReaches("192.168.7.20"), "after the engine was killed")
        #expect(try await lab.container("b1", on: "blue").mac == "02:42:ca:11:c0:03")
        try await lab.run("docker rm -f b2")
    }
}

private struct DescribedEndpoint: Decodable {
    let profiles: [String]
    let labels: [String: String]
}
