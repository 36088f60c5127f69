// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

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

    @Test func `--link-local-ip adds its address, which reaches nobody, and --dns names who is asked`() async throws {
        try await lab.createNetwork("blue")
        let container = try await lab.start("b1", on: "blue", "--link-local-ip 169.254.77.7 --dns 9.9.9.9")
        #expect(try await container.run("ip -o -4 addr show dev cali0").contains(" 169.254.77.7/16 "))
        let peer = try await lab.start("b2", on: "blue")
        #expect(await peer.reaches(container.address))
        // The kernel takes the address that shares the next hop's range, and that is nobody's in the network.
        #expect(await container.isCutOff(from: peer.address))
        #expect(await container.reaches(peer.address, from: container.address))
        #expect(try await container.run("nslookup b2 127.0.0.11").contains(peer.address))
        let server = try await lab.run("docker inspect -f '{{.HostConfig.Dns}}' b1")
        #expect(server == "[9.9.9.9]")
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
