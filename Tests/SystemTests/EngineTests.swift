// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    @Suite(.lab(), .cleanAfterwards)
    struct Engine {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `Docker's FORWARD policy of DROP does not stop what is allowed`() async throws {
            #expect(try await lab.run("iptables -S FORWARD").hasPrefix("-P FORWARD DROP"))
            try await lab.createNetwork("blue")
            let (first, second) = try await pair()
            #expect(await first.reaches(second.address))
            #expect(await first.reaches(Lab.outside))
        }

        @Test func `emptying Docker's FORWARD chain stops containers only for seconds`() async throws {
            try await lab.createNetwork("blue")
            let (first, second) = try await pair()
            #expect(await first.reaches(second.address))
            try await lab.run("iptables -F FORWARD")
            #expect(try await lab.run("iptables -S FORWARD").hasPrefix("-P FORWARD DROP"))
            #expect(try await lab.eventually(within: 5) { await first.reaches(second.address) })
            #expect(try await lab.eventually(within: 5) { await first.reaches(Lab.outside) })
            try await lab.stopEngine()
            try await lab.startEngine()  // puts its own rules back
        }

        @Test func `a container of a Calico network and one of Docker's bridge keep apart`() async throws {
            try await lab.createNetwork("blue")
            let calico = try await lab.start("b1", on: "blue")
            let bridged = try await lab.start("d1", on: "bridge")
            #expect(await bridged.reaches(Lab.outside))
            #expect(await calico.isCutOff(from: bridged.address))
            #expect(await bridged.isCutOff(from: calico.address))
        }

        @Test func `after a restart of the engine its containers come back and reach each other`() async throws {
            try await lab.createNetwork("blue")
            try await lab.start("b1", on: "blue", "--restart always")
            try await lab.start("b2", on: "blue", "--restart always")
            try await lab.stopEngine()
            try await lab.startEngine()
            try await expectBothBack()
        }

        @Test func `after a killed engine its containers come back and their old endpoints go`() async throws {
            try await lab.createNetwork("blue")
            try await lab.start("b1", on: "blue", "--restart always")
            try await lab.start("b2", on: "blue", "--restart always")
            try await lab.start("b3", on: "blue")
            try await lab.killEngine()
            try await lab.startEngine()
            try await expectBothBack()
            try await lab.run("docker rm -f b3")
            let known = try await lab.eventually(within: 15) {
                try await lab.calico("endpoint list", as: [Endpoint].self).count == 2
            }
            #expect(known, "endpoints of the killed engine's containers are still there")
        }

        @Test func `networks outlive the engine and can be removed after it is back`() async throws {
            for network in ["blue", "red"] { try await lab.createNetwork(network, "--ipv6") }
            try await lab.stopEngine()
            try await lab.startEngine()
            try await lab.run("docker run --rm --network red bb true")
            try await lab.run("docker network rm blue red")
        }

        private func pair() async throws -> (Container, Container) {
            (try await lab.start("b1", on: "blue"), try await lab.start("b2", on: "blue"))
        }

        private func expectBothBack() async throws {
            let connected = try await lab.eventually(within: 20) {
                guard let first = try? await lab.container("b1", on: "blue"),
                    let second = try? await lab.container("b2", on: "blue"), !second.address.isEmpty
                else { return false }
                return await first.reaches(second.address)
            }
            #expect(connected)
        }
    }
}
