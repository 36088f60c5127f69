// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Testing

extension SystemTests {
    @Suite(.lab(), .cleanAfterwards)
    struct Addresses {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `--ip gives a free address`() async throws {
            try await lab.createNetwork("blue", "--subnet 192.168.0.0/16")
            let container = try await lab.start("b1", on: "blue", "--ip 192.168.7.7")
            #expect(container.address == "192.168.7.7")
            #expect(await lab.hostReaches("192.168.7.7"))
        }

        @Test func `--ip refuses an address that is taken, and says who holds it`() async throws {
            try await lab.createNetwork("blue", "--subnet 192.168.0.0/16")
            let holder = try await lab.start("b1", on: "blue", "--ip 192.168.7.8")
            let endpoint = try #require(try await lab.calico("endpoint list", as: [Endpoint].self).first)
            let refusal = await lab.attempt("docker run --rm --network blue --ip 192.168.7.8 bb true")
            #expect(!refusal.succeeded)
            #expect(refusal.errors.contains("192.168.7.8"))
            let names = [holder.name, holder.mac, String(endpoint.id.prefix(11)), endpoint.interface]
            #expect(names.contains { refusal.errors.localizedCaseInsensitiveContains($0) })
            #expect(await lab.hostReaches("192.168.7.8"), "the holder keeps its address")
        }

        @Test(arguments: ["10.1.2.3", "172.30.0.99"])
        func `--ip refuses an address outside the subnet`(address: String) async throws {
            try await lab.createNetwork("blue", "--subnet 192.168.0.0/16")
            let refusal = await lab.attempt("docker run --rm --network blue --ip \(address) bb true")
            #expect(!refusal.succeeded)
            #expect(refusal.errors.contains(address))
        }

        @Test func `an address is free again after its container is gone`() async throws {
            try await lab.createNetwork("blue", "--subnet 192.168.0.0/16")
            for _ in 1...3 {
                try await lab.run("docker run --rm --network blue --ip 192.168.7.9 bb true")
            }
        }

        @Test func `--mac-address is what the container gets`() async throws {
            try await lab.createNetwork("blue")
            let container = try await lab.start("b1", on: "blue", "--mac-address 02:42:ca:11:c0:01")
            #expect(container.mac == "02:42:ca:11:c0:01")
            #expect(try await container.run("cat /sys/class/net/cali0/address") == "02:42:ca:11:c0:01")
            #expect(await lab.hostReaches(container.address))
        }

        @Test func `two containers with one MAC get two addresses`() async throws {
            try await lab.createNetwork("blue")
            let first = try await lab.start("b1", on: "blue", "--mac-address 02:42:ca:11:c0:02")
            let second = try await lab.start("b2", on: "blue", "--mac-address 02:42:ca:11:c0:02")
            #expect(first.address != second.address)
            #expect(await lab.hostReaches(first.address))
            #expect(await lab.hostReaches(second.address))
        }

        @Test func `a command that fails frees everything`() async throws {
            try await lab.createNetwork("blue")
            #expect(await lab.attempt("docker run --rm --network blue bb false").status == 1)
            #expect(await lab.attempt("docker run --rm --network blue bb /no/such/program").status == 127)
        }

        @Test func `ten containers started at once get ten addresses that answer`() async throws {
            try await lab.createNetwork("blue", "--ipv6")
            let containers = try await withThrowingTaskGroup(of: Container.self) { group in
                for number in 1...10 {
                    group.addTask { try await lab.start("b\(number)", on: "blue") }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(Set(containers.map(\.address)).count == 10)
            #expect(Set(containers.map(\.address6)).count == 10)
            for container in containers {
                #expect(await lab.hostReaches(container.address))
            }
        }

        @Test func `a container can be restarted`() async throws {
            try await lab.createNetwork("blue")
            let peer = try await lab.start("b1", on: "blue")
            try await lab.start("b2", on: "blue")
            try await lab.run("docker restart b2")
            let restarted = try await lab.container("b2", on: "blue")
            #expect(await peer.reaches(restarted.address))
            #expect(await restarted.reaches(peer.address))
            #expect(try await lab.calico("endpoint list", as: [Endpoint].self).count == 2)
        }
    }
}
