// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    @Suite(.lab(), .cleanAfterwards)
    struct Connectivity {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `members of a network reach each other from the first packet on, in both families`() async throws {
            try await lab.createNetwork("blue", "--ipv6")
            let first = try await lab.start("b1", on: "blue")
            let second = try await lab.start("b2", on: "blue")
            #expect(await first.reaches(second.address))
            #expect(await first.reaches(second.address6))
            #expect(await second.reaches(first.address))
            #expect(await second.reaches(first.address6))
        }

        @Test func `the host reaches its containers in both families`() async throws {
            try await lab.createNetwork("blue", "--ipv6")
            let container = try await lab.start("b1", on: "blue")
            #expect(await lab.hostReaches(container.address))
            #expect(await lab.hostReaches(container.address6))
        }

        @Test func `the outside sees the host's address instead of a container's`() async throws {
            try await lab.createNetwork("blue")
            let container = try await lab.start("b1", on: "blue")
            #expect(await container.reaches(Lab.outside))
            #expect(try await container.run("wget -q -O - http://\(Lab.outside)/cgi-bin/whoami") == Lab.hostAddress)
        }

        @Test func `inside a network nothing is masqueraded`() async throws {
            try await lab.createNetwork("blue")
            let server = try await lab.start("b1", on: "blue")
            let client = try await lab.start("b2", on: "blue")
            try await server.run("mkdir -p /www/cgi-bin")
            let script = #"printf '#!/bin/sh\necho; echo $REMOTE_ADDR\n' >/www/cgi-bin/whoami"#
            try await server.run("sh -c \"\(script.replacing("$", with: "\\$"))\"")
            try await server.run("chmod +x /www/cgi-bin/whoami")
            try await server.run("httpd -p 80 -h /www")
            let seen = try await client.run("wget -q -O - http://\(server.address)/cgi-bin/whoami")
            #expect(seen.contains(client.address))
        }

        @Test func `a container on two networks reaches the members of both, and they reach it`() async throws {
            for network in ["blue", "red"] { try await lab.createNetwork(network, "--ipv6") }
            let blue = try await lab.start("b1", on: "blue")
            let red = try await lab.start("r1", on: "red")
            let inBlue = try await lab.start("both", on: "blue")
            try await lab.run("docker network connect red both")
            let inRed = try await lab.container("both", on: "red")
            for (member, own) in [(blue, inBlue), (red, inRed)] {
                #expect(await own.reaches(member.address), "to \(member.name)")
                #expect(await member.reaches(own.address), "from \(member.name)")
                #expect(await own.reaches(member.address6), "to \(member.name), IPv6")
                #expect(await member.reaches(own.address6), "from \(member.name), IPv6")
            }
            #expect(await blue.isCutOff(from: red.address))
        }

        @Test func `leaving one of two networks ends the contact with its members`() async throws {
            for network in ["blue", "red"] { try await lab.createNetwork(network) }
            let blue = try await lab.start("b1", on: "blue")
            let red = try await lab.start("r1", on: "red")
            let both = try await lab.start("both", on: "blue")
            try await lab.run("docker network connect red both")
            #expect(await both.reaches(red.address))
            try await lab.run("docker network disconnect red both")
            #expect(await both.isCutOff(from: red.address))
            #expect(await both.reaches(blue.address))
        }
    }
}
