// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    /// The plugin as an engine's own: made of a root file system, without a registry, under the name `calico:latest`.
    @Suite(.lab(Lab.Options(datastore: "sqlite", isManaged: true)), .cleanAfterwards)
    struct ManagedPlugin {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `containers talk, reach the outside, and are published; other networks are cut off`() async throws {
            for network in ["blue", "red"] { try await lab.createManagedNetwork(network, "--ipv6") }
            let first = try await lab.start("b1", on: "blue", "-p 8080:80")
            let second = try await lab.start("b2", on: "blue")
            let red = try await lab.start("r1", on: "red")
            #expect(await second.reaches(first.address))
            #expect(await second.reaches(first.address6))
            #expect(await second.reaches(Lab.outside))
            #expect(await second.isCutOff(from: red.address))
            try await second.run("nslookup b1")
            try await first.run("sh -c 'echo served >/index.html; httpd -p 80 -h /'")
            let page = try await lab.runOutside("busybox wget -q -O - http://\(Lab.hostAddress):8080/index.html")
            #expect(page == "served")
        }

        @Test func `commands on the host see what it does, and doctor finds it`() async throws {
            try await lab.createManagedNetwork("blue")
            let container = try await lab.start("b1", on: "blue")
            let endpoints = try await lab.calico("endpoint list", as: [Endpoint].self)
            #expect(endpoints.flatMap(\.addresses) == [container.address])
            #expect(try await lab.run("calico-libnetwork network list").contains(" blue "), "its name is known")
            let report = await lab.attempt("calico-libnetwork doctor")
            #expect(report.succeeded && !report.output.contains("warning"), "\(report.output)")
            #expect(report.output.contains("managed plugin"), "\(report.output)")
            let second = await lab.attempt("timeout 5 calico-libnetwork serve")
            #expect(second.status == 1, "a daemon beside it is refused: \(second.output)\(second.errors)")
        }

        @Test func `it has the rights it needs and no others`() async throws {
            let process = try await lab.managedProcess()
            let status = try await lab.run("grep CapEff /proc/\(process)/status")
            // Docker's own set for containers, and CAP_NET_ADMIN, bit 12.
            #expect(status.hasSuffix("00000000a80435fb"), "\(status)")
            let own = try await lab.run("readlink /proc/\(process)/ns/pid /proc/$$/ns/pid").split(separator: "\n")
            #expect(own[0] != own[1], "it sees no other processes")
            let modes = try await lab.run("stat -c '%a %F' /run/docker/plugins/*/calico.sock")
            #expect(modes == "600 socket")
        }

        @Test
        func `containers talk on while it is disabled; enabled with a new setting it serves its networks again`()
            async throws
        {
            try await lab.createManagedNetwork("blue")
            let (first, second) = try await pair()
            #expect(await !lab.attempt("docker plugin set calico CALICO_LIBNETWORK_VETH_MTU=1400").succeeded)
            try await lab.run("docker plugin disable -f calico")
            #expect(await first.reaches(second.address))
            let refusal = await lab.attemptNetwork("red", "")
            #expect(refusal.errors.contains("plugin calico found but disabled"), "\(refusal.errors)")
            try await lab.run("docker plugin set calico CALICO_LIBNETWORK_VETH_MTU=1400")
            let unknown = await lab.attempt("docker plugin set calico CALICO_LIBNETWORK_NO_SUCH=1")
            #expect(unknown.errors.contains("not found in the plugin configuration"), "\(unknown.errors)")
            try await lab.run("docker plugin enable calico")
            try await expectStillWorking(first, second)
            let third = try await lab.container("b3", on: "blue")
            #expect(try await third.run("cat /sys/class/net/cali0/mtu") == "1400")
        }

        @Test func `networks and containers outlive the plugin that a newer one replaces`() async throws {
            try await lab.createManagedNetwork("blue")
            let (first, second) = try await pair()
            let old = try await lab.run("docker plugin inspect -f '{{.Id}}' calico")
            try await lab.run("docker plugin rm -f calico")
            try await lab.installManagedPlugin()
            #expect(try await lab.run("docker plugin inspect -f '{{.Id}}' calico") != old)
            try await expectStillWorking(first, second)
        }

        @Test func `an upgrade from a registry keeps networks, containers and settings`() async throws {
            try await lab.withPluginOfRegistry("CALICO_LIBNETWORK_VETH_MTU=1400") { publishNext in
                try await lab.createManagedNetwork("blue")
                let (first, second) = try await pair()
                try await publishNext()
                let early = await lab.attempt("docker plugin upgrade --grant-all-permissions calico")
                #expect(early.errors.contains("the plugin must be disabled before upgrading"), "\(early.errors)")
                try await lab.run("docker plugin disable -f calico")
                try await lab.run("docker plugin upgrade --grant-all-permissions calico")
                #expect(await first.reaches(second.address))
                try await lab.run("docker plugin enable calico")
                let process = try await lab.managedProcess()
                #expect(try await lab.run("cat /proc/\(process)/root/etc/version") == "next")
                try await expectStillWorking(first, second)
                let third = try await lab.container("b3", on: "blue")
                #expect(try await third.run("cat /sys/class/net/cali0/mtu") == "1400")
                try await lab.removeContainersAndNetworks()
            }
        }

        @Test func `the engine starts it again when it was killed`() async throws {
            try await lab.createManagedNetwork("blue")
            let (first, second) = try await pair()
            let old = try await lab.managedProcess()
            try await lab.run("kill -9 \(old)")
            #expect(
                try await lab.eventually(within: 20) {
                    (try? await lab.managedProcess()).map { $0 != old } == true
                })
            try await expectStillWorking(first, second)
        }

        @Test func `the engine takes it along when it stops and starts, with networks and containers`() async throws {
            try await lab.createManagedNetwork("blue")
            try await lab.start("b1", on: "blue", "--restart always")
            try await lab.stopEngine()
            try await lab.startEngine()
            #expect(
                try await lab.eventually(within: 15) {
                    (try? await lab.container("b1", on: "blue")).map { !$0.address.isEmpty } == true
                })
            let first = try await lab.container("b1", on: "blue")
            let second = try await lab.start("b2", on: "blue")
            #expect(await second.reaches(first.address))
        }

        private func pair() async throws -> (Container, Container) {
            (try await lab.start("b1", on: "blue"), try await lab.start("b2", on: "blue"))
        }

        private func expectStillWorking(_ first: Container, _ second: Container) async throws {
            #expect(await first.reaches(second.address))
            let third = try await lab.start("b3", on: "blue")
            #expect(await third.reaches(first.address))
            #expect(await second.reaches(third.address))
        }
    }

    @Suite(.lab(Lab.Options(datastore: "sqlite", isManaged: true, liveRestore: true)), .cleanAfterwards)
    struct ManagedPluginWithLiveRestore {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test(arguments: [false, true])
        func `plugin and containers outlive their engine, and serve it when it is back`(isKilled: Bool) async throws {
            try await lab.createManagedNetwork("blue")
            let first = try await lab.start("b1", on: "blue")
            let second = try await lab.start("b2", on: "blue")
            let process = try await lab.managedProcess()
            try await (isKilled ? lab.killEngine() : lab.stopEngine())
            #expect(await first.reaches(second.address))
            try await lab.startEngine()
            #expect(try await lab.managedProcess() == process)
            #expect(try await lab.container("b1", on: "blue").pid == first.pid)
            let third = try await lab.start("b3", on: "blue")
            #expect(await third.reaches(first.address))
        }
    }

    /// A host whose iptables is the old one: the plugin brings the program for its rule in FORWARD.
    @Suite(.lab(Lab.Options(iptables: "legacy", datastore: "sqlite", isManaged: true)), .cleanAfterwards)
    struct ManagedPluginWithLegacyIptables {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `its rule stands before one that rejects everything, whatever others' rules need`() async throws {
            try await lab.run("iptables -A FORWARD -s 203.0.113.1 -m statistic --mode nth --every 2 --packet 0 -j DROP")
            try await lab.run("iptables -A FORWARD -j REJECT")
            try await lab.createManagedNetwork("blue")
            let container = try await lab.start("b1", on: "blue")
            #expect(try await lab.eventually(within: 20) { await container.reaches(Lab.outside) })
            let rules = try await lab.run("iptables -S FORWARD").split(separator: "\n")
            #expect(rules.last?.contains("REJECT") == true)
            #expect(rules.dropLast().last?.contains("calico-libnetwork") == true, "\(rules)")
        }
    }
}
