// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    @Suite(.lab(Lab.Options(defaultRoute: false)), .cleanAfterwards)
    struct WithoutDefaultRoute {
        @Test func `a host without a default route connects its containers all the same`() async throws {
            let lab = try SystemTests.lab
            #expect(try await lab.run("ip route show default; ip -6 route show default").isEmpty)
            try await lab.expectConnected()
        }
    }

    @Suite(.lab(Lab.Options(iptables: "legacy")), .cleanAfterwards)
    struct WithLegacyIptables {
        @Test func `beside iptables-legacy containers are connected, to each other and to the outside`() async throws {
            let lab = try SystemTests.lab
            #expect(try await lab.run("iptables --version").contains("legacy"))
            #expect(try await lab.run("iptables -S FORWARD").hasPrefix("-P FORWARD DROP"))
            try await lab.expectConnected()
        }

        @Test func `beside iptables-legacy a restarted engine does not cut containers off`() async throws {
            let lab = try SystemTests.lab
            try await lab.createNetwork("blue")
            let peer = try await lab.start("b1", on: "blue", "--restart always")
            try await lab.stopEngine()
            try await lab.startEngine()
            let fresh = try await lab.start("b2", on: "blue")
            let back = try await lab.eventually(within: 10) {
                let address = try await lab.container(peer.name, on: "blue").address
                guard !address.isEmpty else { return false }
                return await fresh.reaches(address)
            }
            #expect(back)
        }
    }
}

extension Lab {
    /// What must work on every kind of host.
    fileprivate func expectConnected() async throws {
        for network in ["blue", "red"] { try await createNetwork(network, "--ipv6") }
        let first = try await start("b1", on: "blue")
        let second = try await start("b2", on: "blue")
        let red = try await start("r1", on: "red")
        #expect(await first.reaches(second.address))
        #expect(await first.reaches(second.address6))
        #expect(await first.isCutOff(from: red.address))
        #expect(await hostReaches(first.address))
        #expect(await first.reaches(Lab.outside))
        #expect(try await first.run("wget -q -O - http://\(Lab.outside)/cgi-bin/whoami") == Lab.hostAddress)
    }
}
