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

        /// In the words of `docs/troubleshooting.md`.
        @Test(.enabled(if: LabEngine.current.hasClusterStore, "engines from 24 on keep such networks by themselves"))
        func `scope global without cluster store and Swarm is refused by Docker itself`() async throws {
            try await restart("CALICO_LIBNETWORK_SCOPE=global")
            let refusal = await lab.attemptNetwork("blue", "")
            try await restart()
            #expect(refusal.errors.contains("This node is not a swarm manager."), "\(refusal.errors)")
            try await lab.createNetwork("blue")
        }

        /// Engines ask once for the plugin's scope.
        private func restart(_ variables: String...) async throws {
            try await lab.stopEngine()
            try await lab.stopPlugin()
            try await lab.startPlugin(variables)
            try await lab.startEngine()
        }

        @Test func `after a restart of the host that loses the datastore, networks are as the engine has them`()
            async throws
        {
            try await lab.createNetwork("blue", "-o org.projectcalico.label.tier=front")
            try await lab.createNetwork("inner", "--internal")
            for name in ["b1", "b2"] { try await lab.start(name, on: "blue", "--restart always") }
            for name in ["i1", "i2"] { try await lab.start(name, on: "inner", "--restart always") }
            try await lab.stopPlugin()
            try await lab.killEngine()
            try await loseDatastore()
            try await lab.startPlugin()
            try await lab.startEngine()
            try await expectBothBack()
            var endpoints: [Endpoint] = []
            let isComplete = try await lab.eventually(within: 20) {
                endpoints = try await lab.calico("endpoint list", as: [Endpoint].self)
                return endpoints.flatMap(\.profiles).sorted() == ["blue", "blue", "inner", "inner"]
            }
            #expect(isComplete, "the engine told what the networks are; endpoints: \(endpoints)")
            #expect(endpoints.filter { $0.labels["tier"] == "front" }.map(\.profiles) == [["blue"], ["blue"]])
            let networks = try await lab.calico("network list", as: [NetworkSummary].self)
            #expect(Set(networks.map(\.profile)) == ["blue", "inner"])
            let (blue, inner) = (try await lab.container("b1", on: "blue"), try await lab.container("i1", on: "inner"))
            #expect(await blue.reaches(Lab.outside))
            #expect(await inner.reaches(try await lab.container("i2", on: "inner").address))
            #expect(await inner.isCutOff(from: blue.address))
            let before = try await lab.echoRequestsOutside()
            #expect(await inner.isCutOff(from: Lab.outside))
            #expect(try await lab.echoRequestsOutside() == before, "nothing even arrives")
        }

        private func loseDatastore() async throws {
            if lab.options.datastore == "etcd" {
                try await lab.etcdctl("del --prefix /calico/")
            } else {
                try await lab.run("rm /var/lib/calico/libnetwork.sqlite*")
            }
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

    /// `ManagedPluginWithLiveRestore` is the same for a plugin that the engine runs itself.
    @Suite(.lab(Lab.Options(liveRestore: true)), .cleanAfterwards)
    struct LiveRestore {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test(arguments: [false, true])
        func `containers outlive their engine, and it goes on with them when it is back`(isKilled: Bool) async throws {
            try await lab.createNetwork("blue")
            let first = try await lab.start("b1", on: "blue")
            let second = try await lab.start("b2", on: "blue")
            let before = try await endpoints()
            try await (isKilled ? lab.killEngine() : lab.stopEngine())
            #expect(await first.reaches(second.address))
            try await lab.startEngine()
            let restored = try await lab.container("b1", on: "blue")
            #expect(restored.pid == first.pid && restored.address == first.address)
            #expect(try await endpoints() == before)
            let third = try await lab.start("b3", on: "blue")
            #expect(await third.reaches(first.address))
            try await lab.run("docker restart b2")
            #expect(await third.reaches(try await lab.container("b2", on: "blue").address))
        }

        private func endpoints() async throws -> [String] {
            try await lab.calico("endpoint list", as: [Endpoint].self).map(\.id).sorted()
        }
    }
}
