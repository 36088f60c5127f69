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

        @Test func `a published port is open from outside and on the host, also after a restart of the plugin`()
            async throws
        {
            try await lab.createNetwork("blue")
            let server = try await lab.start("b1", on: "blue", "-p 8080:80")
            try await server.run("sh -c 'mkdir /www && echo served >/www/index.html && httpd -p 80 -h /www'")
            let asked = "busybox wget -q -O - http://\(Lab.hostAddress):8080/"
            #expect(try await lab.runOutside(asked) == "served")
            #expect(try await lab.run(asked) == "served")
            #expect(try await lab.run("busybox wget -q -O - http://127.0.0.1:8080/") == "served")
            let second = await lab.attempt("docker run --rm --network blue -p 8080:80 bb true")
            #expect(second.errors.contains("8080"), "the port is named")
            try await lab.stopPlugin()
            try await lab.startPlugin()
            #expect(try await lab.runOutside(asked) == "served")
            try await lab.run("docker rm -f b1")
            #expect(await lab.attempt("docker run --rm --network blue -p 8080:80 bb true").status == 0)
        }

        @Test func `an internal network connects its members and nobody else`() async throws {
            try await lab.createNetwork("blue", "--internal --ipv6")
            let first = try await lab.start("b1", on: "blue")
            let second = try await lab.start("b2", on: "blue")
            #expect(await first.reaches(second.address))
            #expect(await first.reaches(second.address6))
            #expect(await first.isCutOff(from: Lab.outside))
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
