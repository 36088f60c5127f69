// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    @Suite(.lab(), .cleanAfterwards)
    struct Networks {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `a network needs no subnet, and its containers get pool addresses as single hosts`() async throws {
            try await lab.createNetwork("blue")
            let container = try await lab.start("b1", on: "blue")
            #expect(contains(try await lab.pool(ipv6: false).cidr, container.address))
            #expect(container.prefixLength == 32)
            #expect(try await container.run("ip -o -4 addr show dev cali0").contains(" \(container.address)/32 "))
            #expect(try await container.run("cat /sys/class/net/cali0/address") == container.mac)
        }

        @Test func `the endpoint that Docker describes is the one in the store`() async throws {
            try await lab.createNetwork("blue")
            let container = try await lab.start("b1", on: "blue")
            let endpoints = try await lab.calico("endpoint list", as: [Endpoint].self)
            #expect(endpoints.map(\.mac) == [container.mac])
            #expect(endpoints.first?.addresses.contains { $0.hasPrefix(container.address) } == true)
            let interface = try #require(endpoints.first?.interface)
            #expect(try await lab.run("ip route get \(container.address)").contains("dev \(interface) "))
        }

        @Test func `a whole pool can be the subnet, for several networks at once`() async throws {
            let pool = try await lab.pool(ipv6: false).cidr
            try await lab.createNetwork("blue", "--subnet \(pool)")
            try await lab.createNetwork("red", "--subnet \(pool)")
            let blue = try await lab.start("b1", on: "blue")
            let red = try await lab.start("r1", on: "red")
            #expect(contains(pool, blue.address))
            #expect(contains(pool, red.address))
            #expect(blue.address != red.address)
        }

        @Test func `a subnet inside a pool narrows the addresses`() async throws {
            try await lab.createNetwork("narrow", "--subnet 192.168.64.0/24")
            for name in ["n1", "n2"] {
                #expect(contains("192.168.64.0/24", try await lab.start(name, on: "narrow").address))
            }
        }

        @Test func `a subnet outside every pool is refused, and the pools are named`() async throws {
            let refusal = await lab.attemptNetwork("elsewhere", "--subnet 10.99.0.0/24")
            #expect(!refusal.succeeded)
            for pool in try await lab.calico("pool list", as: [Pool].self) where !pool.cidr.contains(":") {
                #expect(refusal.errors.contains(pool.cidr))
            }
        }

        @Test func `with --ipv6 a container has an address of each family`() async throws {
            try await lab.createNetwork("dual", "--ipv6")
            let container = try await lab.start("d1", on: "dual")
            #expect(contains(try await lab.pool(ipv6: false).cidr, container.address))
            #expect(contains(try await lab.pool(ipv6: true).cidr, container.address6))
            #expect(try await container.run("ip -o -6 addr show dev cali0").contains(" \(container.address6)/128 "))
        }

        @Test func `containers can come and go on a pool made by the user`() async throws {
            try await lab.run("calico-libnetwork pool create extra --cidr 10.77.0.0/24 --block-size 28")
            try await lab.createNetwork("extra", "--subnet 10.77.0.0/24")
            #expect(contains("10.77.0.0/24", try await lab.start("e1", on: "extra").address))
            try await lab.removeContainersAndNetworks()
            try await lab.run("calico-libnetwork pool delete extra")
            #expect(try await !lab.calico("pool list", as: [Pool].self).contains { $0.name == "extra" })
        }
    }
}

extension Lab {
    /// The pool the daemon made at its first start.
    func pool(ipv6: Bool) async throws -> Pool {
        let pools = try await calico("pool list", as: [Pool].self)
        return try #require(pools.first { $0.cidr.contains(":") == ipv6 }, "no default pool of this family")
    }
}
