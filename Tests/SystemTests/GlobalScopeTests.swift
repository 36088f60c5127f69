// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    /// Two engines that share a cluster store, and plugins that declare scope `global`: a network is made once and is
    /// on both hosts, though only one plugin hears of it.
    @Suite(
        .disabled(if: !LabEngine.current.hasClusterStore, "engines from 23 on know no --cluster-store"),
        .lab(
            Lab.Options(
                datastore: "etcd", hosts: ["host", "host2"], settings: ["CALICO_LIBNETWORK_SCOPE=global"],
                clusterStore: true)), .cleanAfterwards)
    struct GlobalScope {
        let first: Lab
        let second: Lab

        init() throws {
            first = try SystemTests.lab.on("host")
            second = try SystemTests.lab.on("host2")
        }

        @Test func `a network made on one host has containers on both, each with its options`() async throws {
            try await first.createNetwork(
                "blue", "--ipv6 -o org.projectcalico.label.tier=front -o com.docker.network.driver.mtu=1400")
            #expect(try await second.run("docker network inspect -f '{{.Scope}}' blue") == "global")
            for host in [second, first] {
                let one = try await host.start("b1-\(host.host)", on: "blue")
                let two = try await host.start("b2-\(host.host)", on: "blue")
                #expect(await one.reaches(two.address))
                #expect(await two.reaches(one.address6))
                #expect(try await one.run("cat /sys/class/net/cali0/mtu") == "1400")
            }
            let endpoints = try await first.calico("endpoint list --all-nodes", as: [Endpoint].self)
            #expect(endpoints.map(\.node).sorted() == ["host", "host", "host2", "host2"])
            #expect(endpoints.allSatisfy { $0.profiles == ["blue"] && $0.labels["tier"] == "front" })
            try await expectName("b1-host2", isKnownTo: "b2-host")
        }

        /// Engines tell each other of their containers by the cluster store, a moment later.
        private func expectName(_ name: String, isKnownTo container: String) async throws {
            let address = try await second.container(name, on: "blue").address
            let isKnown = try await first.eventually(within: 10) {
                await first.attempt("docker exec \(container) nslookup \(name)").output.contains(address)
            }
            #expect(isKnown, "\(container) does not find \(name)")
        }

        @Test func `networks made on different hosts are closed to each other, and one container may join both`()
            async throws
        {
            try await first.createNetwork("blue")
            try await second.createNetwork("red")
            let blue = try await second.start("b1", on: "blue")
            let red = try await second.start("r1", on: "red")
            #expect(await blue.isCutOff(from: red.address))
            try await second.run("docker network connect red b1")
            #expect(await blue.reaches(red.address))
            #expect(try await red.reaches(second.container("b1", on: "red").address))
        }

        @Test func `--ip that is taken on one host is refused on the other, which says who holds it`() async throws {
            try await first.createNetwork("blue", "--subnet 192.168.0.0/16")
            let holder = try await first.start("b1", on: "blue", "--ip 192.168.7.7")
            let refusal = await second.attempt("docker run --rm --network blue --ip 192.168.7.7 bb true")
            #expect(!refusal.succeeded)
            #expect(refusal.errors.contains("192.168.7.7 is already assigned"), "\(refusal.errors)")
            #expect(refusal.errors.contains("node host"), "\(refusal.errors)")
            #expect(await first.hostReaches(holder.address))
            #expect(try await second.start("b2", on: "blue", "--ip 192.168.7.8").address == "192.168.7.8")
        }

        @Test func `a network can be removed on the other host, once no container is on it on either`() async throws {
            try await first.createNetwork("blue", "--subnet 192.168.0.0/16 --aux-address printer=192.168.0.7")
            try await first.start("b1", on: "blue")
            let refusal = await second.attempt("docker network rm blue")
            #expect(refusal.errors.contains("has active endpoints"), "\(refusal.errors)")
            try await first.run("docker rm -f b1")
            try await second.run("docker network rm blue")
            #expect(await !first.attempt("docker network inspect blue").succeeded)
        }

        @Test func `--scope local is refused by Docker itself`() async throws {
            let refusal = await first.attemptNetwork("blue", "--scope local")
            #expect(
                refusal.errors.contains("cannot downgrade network scope for calico networks"), "\(refusal.errors)")
        }

        @Test func `a pool, a network on it and a container on the other host may come in quick succession`()
            async throws
        {
            for number in 1...3 {
                try await first.run("calico-libnetwork pool create quick\(number) --cidr 10.80.\(number).0/24")
                try await first.createNetwork("quick\(number)", "--subnet 10.80.\(number).0/24")
                try await second.run("docker run --rm --network quick\(number) bb true")
                try await second.run("docker network rm quick\(number)")
                try await first.run("calico-libnetwork pool delete quick\(number)")
            }
        }

        @Test func `after a restart of engine and plugin a host goes on with the networks of the other`() async throws {
            try await first.createNetwork("blue", "--subnet 192.168.0.0/16")
            try await second.start("b1", on: "blue", "--restart always --ip 192.168.7.9")
            try await second.stopPlugin()
            try await second.startPlugin()
            try await second.stopEngine()
            try await second.startEngine()
            let back = try await second.eventually(within: 20) {
                guard let container = try? await second.container("b1", on: "blue") else { return false }
                return container.address == "192.168.7.9" ? await second.hostReaches("192.168.7.9") : false
            }
            #expect(back)
        }
    }
}
