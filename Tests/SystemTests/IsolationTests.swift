// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    @Suite(.lab(), .cleanAfterwards)
    struct Isolation {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `networks are closed to each other in both families`() async throws {
            for network in ["blue", "red"] { try await lab.createNetwork(network, "--ipv6") }
            let blue = try await lab.start("b1", on: "blue")
            let red = try await lab.start("r1", on: "red")
            #expect(await blue.isCutOff(from: red.address))
            #expect(await blue.isCutOff(from: red.address6))
            #expect(await red.isCutOff(from: blue.address))
            #expect(await red.isCutOff(from: blue.address6))
            #expect(try await red.echoRequests() == 0, "nothing even arrives")
        }

        @Test func `the outside does not reach a container, though it knows the way`() async throws {
            try await lab.createNetwork("blue")
            let container = try await lab.start("b1", on: "blue")
            try await lab.runOutside("ip route add \(container.address)/32 via \(Lab.hostAddress)")
            let answer = try await lab.runOutside("ping -c 1 -W 1 \(container.address) >/dev/null; echo $?")
            try await lab.runOutside("ip route del \(container.address)/32")
            #expect(answer == "1")
            #expect(try await container.echoRequests() == 0)
        }

        @Test(arguments: ["an address nobody has", "a neighbour's address"])
        func `a forged IPv4 source arrives nowhere`(kind: String) async throws {
            try await lab.createNetwork("blue")
            let forger = try await lab.start("forger", on: "blue", "--cap-add NET_ADMIN")
            let victim = try await lab.start("victim", on: "blue")
            let neighbour = try await lab.start("neighbour", on: "blue")
            let forged = kind.hasPrefix("a neighbour") ? neighbour.address : "192.168.255.77"
            let outsideBefore = try await lab.echoRequestsOutside()
            let hostBefore = try await lab.echoRequestsAtHost()
            try await forger.run("ip addr add \(forged)/32 dev cali0")
            for target in [victim.address, Lab.outside, Lab.hostAddress] {
                #expect(await forger.isCutOff(from: target, as: forged))
            }
            #expect(try await victim.echoRequests() == 0)
            #expect(try await lab.echoRequestsOutside() == outsideBefore)
            #expect(try await lab.echoRequestsAtHost() == hostBefore)

            #expect(await forger.reaches(victim.address, from: forger.address), "its own address still works")
            #expect(try await victim.echoRequests() == 1)
        }

        @Test func `a neighbour's IPv6 address as the source does not arrive`() async throws {
            try await lab.createNetwork("blue", "--ipv6")
            let forger = try await lab.start("forger", on: "blue")
            let victim = try await lab.start("victim", on: "blue")
            let neighbour = try await lab.start("neighbour", on: "blue")
            try await forger.runInNetwork("ip addr add \(neighbour.address6)/128 dev cali0 nodad")
            #expect(await forger.isCutOff(from: victim.address6, as: neighbour.address6))
            #expect(try await victim.echoRequests6() == 0)
            #expect(await forger.reaches(victim.address6, from: forger.address6))
            #expect(try await victim.echoRequests6() == 1)
        }

        @Test func `claiming a neighbour's address by ARP does not divert its traffic`() async throws {
            try await lab.createNetwork("blue")
            let forger = try await lab.start("forger", on: "blue", "--cap-add NET_ADMIN")
            let victim = try await lab.start("victim", on: "blue")
            let peer = try await lab.start("peer", on: "blue")
            try await forger.run("ip addr add \(victim.address)/32 dev cali0")
            try await forger.runInNetwork("arping -A -c 2 -I cali0 \(victim.address)")
            #expect(await lab.hostReaches(victim.address))
            #expect(await peer.reaches(victim.address))
            #expect(try await victim.echoRequests() == 2)
            #expect(try await forger.echoRequests() == 0)
        }

        @Test func `an interface that only looks like a container's gets nothing`() async throws {
            try await lab.createNetwork("blue")
            let container = try await lab.start("b1", on: "blue")
            let outsideBefore = try await lab.echoRequestsOutside()
            try await makeStranger()
            for target in [container.address, Lab.outside, Lab.hostAddress] {
                let ping = await lab.attempt("ip netns exec stranger ping -n -c 1 -W 0.5 \(target)")
                #expect(!ping.succeeded, "stranger reaches \(target)")
            }
            #expect(await container.isCutOff(from: "192.168.200.200"))
            try await lab.run("ip netns del stranger")
            #expect(try await container.echoRequests() == 0)
            #expect(try await lab.echoRequestsOutside() == outsideBefore)
        }

        /// A hand-made veth with a name and a route like a container's, which the plugin knows nothing of.
        private func makeStranger() async throws {
            try await lab.run(
                """
                set -e
                ip netns add stranger
                ip link add calistranger type veth peer name eth0 netns stranger
                ip link set calistranger up
                echo 1 >/proc/sys/net/ipv4/conf/calistranger/proxy_arp
                ip route add 192.168.200.200/32 dev calistranger
                ip -n stranger link set eth0 up
                ip -n stranger addr add 192.168.200.200/32 dev eth0
                ip -n stranger route add 169.254.1.1 dev eth0
                ip -n stranger route add default via 169.254.1.1
                """)
        }
    }
}
