// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    @Suite(.lab(), .cleanAfterwards)
    struct InternalNetworks {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test(arguments: [["inner", "outer"], ["outer", "inner"]])
        func `a container can be on an internal network and on another, whichever it joined first`(order: [String])
            async throws
        {
            try await lab.createNetwork("inner", "--internal --ipv6")
            try await lab.createNetwork("outer", "--ipv6")
            let member = try await lab.start("i1", on: "inner")
            try await lab.start("both", on: order[0])
            try await lab.run("docker network connect \(order[1]) both")
            try await lab.run("docker restart both")
            let inside = try await lab.container("both", on: "inner")
            #expect(await inside.reaches(member.address))
            #expect(await member.reaches(inside.address))
            #expect(await inside.reaches(member.address6))
            #expect(await member.reaches(inside.address6))
            #expect(await inside.reaches(Lab.outside), "the default route is that of outer")
            #expect(await inside.isCutOff(from: Lab.outside, as: inside.address), "nothing leaves from inner's address")
        }

        /// The price of `docs/dataplane.md`, "Internal networks".
        @Test(arguments: [["inner", "outer"], ["outer", "inner"]])
        func `on engine 28 an internal network with IPv6 has the default route before a normal one without`(
            order: [String]
        ) async throws {
            try await lab.createNetwork("inner", "--internal --ipv6")
            try await lab.createNetwork("outer")
            try await lab.startServer("both", on: order[0], "-p 8080:80")
            try await lab.run("docker network connect \(order[1]) both")
            let inside = try await lab.container("both", on: "inner")
            let outer = try await lab.container("both", on: "outer")
            let default6 = try await inside.runInNetwork("ip -6 route show default")
            if LabEngine.current == .v28_5 {
                #expect(await inside.isCutOff(from: Lab.outside))
                #expect(default6.contains("via fe80::"))
            } else {
                #expect(await inside.reaches(Lab.outside))
                #expect(default6.isEmpty, "\(default6)")
            }
            #expect(await inside.reaches(Lab.outside, from: outer.address))
            #expect(await inside.isCutOff(from: Lab.outside, as: inside.address))
            // Engines tell the ports to the gateway's network, and to none that is internal.
            let page = try? await lab.runOutside("timeout 5 busybox wget -q -O - http://\(Lab.hostAddress):8080/")
            #expect((page == "served") == (LabEngine.current != .v28_5))
        }

        @Test func `a container on two internal networks reaches the members of both, and they reach it`()
            async throws
        {
            for network in ["one", "two"] { try await lab.createNetwork(network, "--internal") }
            let first = try await lab.start("m1", on: "one")
            let second = try await lab.start("m2", on: "two")
            let inOne = try await lab.start("both", on: "one")
            try await lab.run("docker network connect two both")
            let inTwo = try await lab.container("both", on: "two")
            for (member, own) in [(first, inOne), (second, inTwo)] {
                #expect(await own.reaches(member.address), "to \(member.name)")
                #expect(await member.reaches(own.address), "from \(member.name)")
            }
            #expect(await first.isCutOff(from: second.address))
            #expect(await inOne.isCutOff(from: Lab.outside))
        }

        @Test(arguments: ["", "-o org.projectcalico.profile=team"])
        func `a container of an internal network that makes itself a default route does not get out`(profile: String)
            async throws
        {
            try await lab.createNetwork("inner", "--internal \(profile)")
            let container = try await lab.start("i1", on: "inner", "--cap-add NET_ADMIN")
            _ = await lab.attempt("docker exec i1 ip route add default via 169.254.1.1")
            let before = try await lab.echoRequestsOutside()
            #expect(await container.isCutOff(from: Lab.outside))
            #expect(await container.isCutOff(from: Lab.hostAddress))
            #expect(try await lab.echoRequestsOutside() == before, "nothing even arrives")
            #expect(await lab.hostReaches(container.address))
        }

        @Test func `who asks for the outside is told at once that there is no way`() async throws {
            try await lab.createNetwork("inner", "--internal")
            let container = try await lab.start("i1", on: "inner")
            let connect = "bash -c '</dev/tcp/\(Lab.outside)/80'"
            let answer = await lab.attempt("nsenter --net --target \(container.pid) \(connect)", timeout: 10)
            #expect(answer.errors.contains("Network is unreachable"), "\(answer)")
        }
    }
}
