// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Testing

extension SystemTests {
    /// What the Go plugin's own tests asked of it: who replaces that plugin with this one types the same, and finds the
    /// same, or more.
    @Suite(.lab(), .cleanAfterwards)
    struct Predecessor {
        private static let drivers = "-d calico --ipam-driver calico-ipam"
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        // MARK: docker network create

        private static let refusals: [(options: String, text: String)] = [
            ("-d calico", "NetworkDriver.CreateNetwork: Non-Calico IPAM driver is used"),
            (
                "\(drivers) --subnet 192.168.0.0/16 --gateway 192.168.0.1",
                "failed to allocate gateway (192.168.0.1): IpamDriver.RequestAddress: "
                    + "Calico IPAM does not support specifying a gateway."
            ),
            (
                "\(drivers) --subnet 192.169.0.0/24",
                "IpamDriver.RequestPool: The requested subnet must match the CIDR of a configured Calico IP Pool"
            ),
            ("\(drivers) --ipam-opt REJECT", "IpamDriver.RequestPool: Arbitrary options are not supported"),
            ("\(drivers) --opt REJECT", "NetworkDriver.CreateNetwork: Calico driver does not support the flag REJECT;"),
            (
                "\(drivers) --opt REJECT2 --opt REJECT",
                "NetworkDriver.CreateNetwork: Calico driver does not support the flags REJECT, REJECT2;"
            ),
        ]

        @Test func `network create refuses what it refused`() async throws {
            for (options, text) in Self.refusals {
                let refusal = await lab.attempt("docker network create \(options) refused")
                #expect(refusal.status == 1, "\(options)")
                let shown = "Error response from daemon: \(text)"
                #expect(refusal.errors.hasPrefix(shown), "\(options): \(refusal.errors)")
            }
            #expect(try await lab.run("docker network ls --filter driver=calico -q").isEmpty)
        }

        @Test func `network create accepts what it accepted`() async throws {
            for (number, options) in ["", "--subnet 192.168.0.0/16", "--ipv6", "--label owner=me"].enumerated() {
                try await lab.createNetwork("success\(number)", options)
            }
        }

        @Test func `network create accepts what it refused without need`() async throws {
            let accepted = [
                "--internal": "192.168.0.0/16",
                "--subnet 192.168.0.0/16 --ip-range 192.168.1.0/24": "192.168.1.0/24",
                "--subnet 192.168.9.0/24": "192.168.9.0/24",
            ]
            for (number, (options, range)) in accepted.enumerated() {
                try await lab.createNetwork("success\(number)", options)
                let container = try await lab.start("b\(number)", on: "success\(number)")
                #expect(contains(range, container.address), "\(options): \(container.address)")
            }
        }

        @Test func `network create takes a subnet of each family, and several networks one pool`() async throws {
            let pool = try await lab.pool(ipv6: true).cidr
            for name in ["one", "two"] {
                try await lab.createNetwork(name, "--ipv6 --subnet 192.168.0.0/16 --subnet \(pool)")
                #expect(contains(pool, try await lab.start(name, on: name).address6))
            }
        }

        // MARK: docker run

        @Test(arguments: [
            "", "--mac-address 00:22:33:44:55:66", "--ip 192.168.50.51",
            "--label org.projectcalico.label.foo=bar --label org.projectcalico.label.baz=quux",
        ])
        func `docker, the store, the host and the container tell the same of a container`(_ options: String)
            async throws
        {
            try await lab.createNetwork("run", "--subnet 192.168.0.0/16")
            let container = try await lab.start("run", on: "run", options)
            if options.hasPrefix("--mac") { #expect(container.mac == "00:22:33:44:55:66") }
            if options.hasPrefix("--ip") { #expect(container.address == "192.168.50.51") }
            try await expectConsistent(container, addresses: [container.address])
            #expect(
                try await lines(of: "ip -4 route", in: container) == [
                    "169.254.1.1 dev cali0 scope link", "default via 169.254.1.1 dev cali0",
                ])
        }

        @Test func `the same holds with IPv6`() async throws {
            try await lab.createNetwork("run", "--ipv6")
            let container = try await lab.start("run", on: "run")
            try await expectConsistent(container, addresses: [container.address, container.address6])
            let routes = try await lines(of: "ip -6 route", in: container)
            #expect(routes.contains { $0.hasPrefix("default via fe80::1 dev cali0") }, "\(routes)")
        }

        @Test func `CALICO_LIBNETWORK_IFPREFIX names the interfaces inside containers`() async throws {
            try await withPlugin("CALICO_LIBNETWORK_IFPREFIX=test") {
                try await lab.createNetwork("run")
                let container = try await lab.start("run", on: "run")
                try await expectConsistent(container, addresses: [container.address], interface: "test0")
                #expect(
                    try await lines(of: "ip -4 route", in: container) == [
                        "169.254.1.1 dev test0 scope link", "default via 169.254.1.1 dev test0",
                    ])
            }
        }

        @Test func `CALICO_LIBNETWORK_CREATE_PROFILES=false leaves profiles to the administrator`() async throws {
            try await withPlugin("CALICO_LIBNETWORK_CREATE_PROFILES=false") {
                try await lab.createNetwork("run")
                let container = try await lab.start("run", on: "run")
                try await expectConsistent(container, addresses: [container.address], profiles: [])
            }
        }

        @Test func `CALICO_LIBNETWORK_LABEL_ENDPOINTS=true gives an endpoint its container's labels`() async throws {
            try await withPlugin("CALICO_LIBNETWORK_LABEL_ENDPOINTS=true") {
                try await lab.createNetwork("run", "--subnet 192.168.0.0/16")
                let container = try await lab.start(
                    "run", on: "run",
                    "--label org.projectcalico.label.foo=bar --label org.projectcalico.label.baz=quux --label other=1")
                try await expectConsistent(
                    container, addresses: [container.address], labels: ["foo": "bar", "baz": "quux"])
            }
        }

        // MARK: From start to end

        @Test func `two containers find each other by name until they are disconnected`() async throws {
            try await lab.createNetwork("testnet")
            let first = try await lab.start("workload1", on: "testnet")
            let second = try await lab.start("workload2", on: "testnet")
            try await first.run("ping -c 1 -W 5 workload2")
            try await second.run("ping -c 1 -W 5 workload1")
            #expect(await !lab.attempt("docker network rm testnet").succeeded)
            for name in ["workload1", "workload2"] { try await lab.run("docker network disconnect testnet \(name)") }
            #expect(try await lab.calico("endpoint list", as: [Endpoint].self).isEmpty)
            #expect(await !first.reaches(second.address))
            try await lab.run("docker network rm testnet")
        }

        @Test func `each of two networks gives addresses of its own pool`() async throws {
            for number in [15, 16] {
                try await lab.run("calico-libnetwork pool create pool\(number) --cidr 10.\(number).0.0/16")
                try await lab.createNetwork("pool\(number)", "--subnet 10.\(number).0.0/16")
                let container = try await lab.start("w\(number)", on: "pool\(number)")
                #expect(contains("10.\(number).0.0/16", container.address))
            }
            try await lab.removeContainersAndNetworks()
            for number in [15, 16] { try await lab.run("calico-libnetwork pool delete pool\(number)") }
        }

        /// Everybody who can be asked about a container gives the same answer.
        private func expectConsistent(
            _ container: Container, addresses: [String], interface: String = "cali0", profiles: [String] = ["run"],
            labels: [String: String] = [:]
        ) async throws {
            let id = try await lab.run("docker inspect -f '{{.NetworkSettings.Networks.run.EndpointID}}' run")
            let endpoints = try await lab.calico("endpoint list", as: [Endpoint].self)
            let endpoint = try #require(endpoints.first { $0.id == id })
            #expect(endpoint.interface == "cali" + id.prefix(11))
            #expect(endpoint.mac == container.mac && endpoint.addresses == addresses && endpoint.profiles == profiles)
            let ownLabels = endpoint.labels.filter { !$0.key.hasPrefix("projectcalico.org/") }
            #expect(ownLabels == labels)
            try await lab.run("ip link show \(endpoint.interface)")
            let inside = try await container.run("ip addr show dev \(interface)")
            for address in addresses { #expect(inside.contains(" \(address)/"), "\(inside)") }
            #expect(inside.contains(container.mac), "\(inside)")
            for address in addresses { #expect(await lab.hostReaches(address)) }
        }

        private func lines(of command: String, in container: Container) async throws -> [String] {
            try await container.run(command).split(separator: "\n")
                .map { $0.trimmingCharacters(in: .whitespaces) }.sorted()
        }

        private func withPlugin(_ setting: String, _ body: () async throws -> Void) async throws {
            try await lab.stopPlugin()
            try await lab.startPlugin(setting)
            let outcome: Result<Void, any Error>
            do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
            try await lab.removeContainersAndNetworks()
            try await lab.stopPlugin()
            try await lab.startPlugin()
            try outcome.get()
        }
    }
}
