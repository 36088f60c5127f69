// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

// Published ports. The kinds of clients and a restart are in ConnectivityTests.

extension SystemTests.Connectivity {
    @Test func `a published port is reached from other containers, and on one address of the host alone if told so`()
        async throws
    {
        try await lab.createNetwork("blue", "--ipv6")
        try await lab.createNetwork("red")
        let server = try await lab.startServer(
            "b1", on: "blue", "-p 8080:80 -p 127.0.0.1:8081:80 -p \(Lab.hostAddress):8082:80")
        let stranger = try await lab.start("r1", on: "red")
        let open = "timeout 5 wget -q -O - http://\(Lab.hostAddress):8080/"
        #expect(try await stranger.run(open) == "served", "from another network")
        #expect(try await server.run(open) == "served", "from itself")
        #expect(await stranger.isCutOff(from: server.address), "its own address stays closed")
        #expect(try await lab.run("timeout 5 busybox wget -q -O - http://127.0.0.1:8081/") == "served")
        #expect(await !lab.attempt("docker exec r1 timeout 1 wget -q -O - http://\(Lab.hostAddress):8081/").succeeded)
        #expect(try await lab.runOutside("timeout 5 busybox wget -q -O - http://\(Lab.hostAddress):8082/") == "served")
        #expect(
            try await lab.runOutside("timeout 5 busybox wget -q -O - http://[\(Lab.hostAddress6)]:8080/") == "served")
        // ::1 leads to no container; whoever tries it first must be told at once, to go on to 127.0.0.1.
        for address in ["::1/8080", "127.0.0.1/8082"] {
            let refused = await lab.attempt("timeout 20 bash -c '</dev/tcp/\(address)'")
            #expect(refused.errors.contains("Connection refused"), "\(address): \(refused.errors)")
        }
    }

    @Test func `a port on a host address that leads to no container is refused with the reason`() async throws {
        try await lab.createNetwork("blue")
        for (address, reason) in [
            ("[::1]", "Linux takes no answers for ::1"), ("[\(Lab.hostAddress6)]", "the container has no IPv6 address"),
        ] {
            let refused = await lab.attempt("docker run --rm --network blue -p \(address):8080:80 bb true")
            #expect(refused.errors.contains(reason), "\(refused.errors)")
        }
    }

    @Test func `UDP, ranges and ephemeral ports are published, and shown where Docker shows none`() async throws {
        try await lab.createNetwork("blue")
        let first = try await lab.startServer("b1", on: "blue", "-p 8090-8091:80 -p 9053:53/udp -p 80")
        try await lab.startServer("b2", on: "blue", "-p 8090-8091:80")
        let ports = try await lab.publishedPorts(of: first)
        #expect(ports.count == 3)
        #expect(ports.contains { $0.hostPort == 9053 && $0.port == 53 })
        let ephemeral = try #require(
            ports.first { $0.port == 80 && !(8090...8091).contains($0.hostPort ?? 0) }?.hostPort)
        for port in [8090, 8091, ephemeral] {
            #expect(
                try await lab.runOutside("timeout 5 busybox wget -q -O - http://\(Lab.hostAddress):\(port)/")
                    == "served")
        }
        let before = try await first.unexpectedDatagrams()
        try await lab.runOutside("bash -c 'echo hello >/dev/udp/\(Lab.hostAddress)/9053'")
        #expect(try await lab.eventually(within: 2) { try await first.unexpectedDatagrams() > before })
        // By a name that so far only the engine knows.
        let shown = try await lab.run("calico-libnetwork endpoint show \(first.name)")
        #expect(shown.contains("9053->53/udp") && shown.contains("\(ephemeral)->80/tcp"), "\(shown)")
        let table = try await lab.run("calico-libnetwork endpoint list")
        #expect(table.contains("PORTS") && table.contains("9053->53/udp"), "\(table)")
    }

    @Test func `a published port goes with its container, also where the engine is killed`() async throws {
        try await lab.createNetwork("blue")
        try await lab.start("b1", on: "blue", "-p 8080:80 --restart always")
        try await lab.run("docker restart b1")
        try await lab.killEngine()
        try await lab.startEngine()
        let back = try await lab.eventually(within: 15) {
            try await lab.run("docker inspect -f '{{.State.Running}}' b1") == "true"
        }
        #expect(back, "its port is not in its own way")
        let busy = await lab.attempt("docker run --rm --network blue -p 8080:80 bb true")
        #expect(busy.errors.contains("cannot publish port 8080/tcp on this host"), "\(busy.errors)")
        try await lab.run("docker rm -f b1")
        try await lab.startServer("b2", on: "blue", "-p 8080:80")
        #expect(try await lab.runOutside("timeout 5 busybox wget -q -O - http://\(Lab.hostAddress):8080/") == "served")
        try await lab.run("docker network disconnect blue b2")
        let rules = try await lab.run("nft list table inet calico-libnetwork")
        #expect(!rules.contains("8080"))
    }
}

private struct PublishedEndpoint: Decodable {
    struct Port: Decodable {
        let port: Int
        let hostPort: Int?
    }
    let ports: [Port]
}

extension Lab {
    /// A container that answers "served" on port 80.
    @discardableResult
    func startServer(_ name: String, on network: String, _ options: String) async throws -> Container {
        let server = try await start(name, on: network, options)
        try await server.run("sh -c 'mkdir /www && echo served >/www/index.html && httpd -p 80 -h /www'")
        return server
    }

    fileprivate func publishedPorts(of container: Container) async throws -> [PublishedEndpoint.Port] {
        try await calico("endpoint show \(container.address)", as: PublishedEndpoint.self).ports
    }
}

extension Container {
    /// UDP datagrams that came for a port where nobody listens.
    fileprivate func unexpectedDatagrams() async throws -> Int {
        let lines = try await lab.run("grep ^Udp: /proc/\(pid)/net/snmp").split(separator: "\n")
            .map { $0.split(separator: " ") }
        guard lines.count == 2, let column = lines[0].firstIndex(of: "NoPorts"), let count = Int(lines[1][column])
        else {
            throw UnexpectedOutput(what: "/proc/net/snmp", text: "\(lines)")
        }
        return count
    }
}
