// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Testing

@testable import IPAM

@Suite struct `A container that comes back` {
    private let pool = AddressScope.pool(name: "pool1", subnet: nil, range: nil)

    private func request(_ name: String, on host: Host, from scope: AddressScope = .anyPool) -> AddressRequest {
        let owner = AllocationAttributes(handleID: name, secondary: ["node": host.name, "container": name])
        return AddressRequest(family: .v4, scope: scope, owner: owner)
    }

    @Test func `gets its address in whichever own block it lies, for one commit and no claim`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/28", blockSize: 30)
        let host = try await cluster.host()
        var addresses: [IPAddress] = []
        for number in 0..<8 { addresses.append(try await host.allocator.assign(request("c\(number)", on: host))) }
        for address in addresses { try await host.release(address) }
        // A process that was started anew knows it too.
        let next = try await cluster.host()
        let commits = try await cluster.commits { () async throws in
            for number in [6, 1, 7] {
                #expect(try await next.allocator.assign(request("c\(number)", on: next)) == addresses[number])
            }
        }
        #expect(commits == 3)
        #expect(try await cluster.state().blocks.count == 2)
        try await cluster.expectInvariants()
    }

    @Test func `finds it taken where others needed it`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/30", blockSize: 30)
        let host = try await cluster.host()
        try await host.release(try await host.allocator.assign(request("web", on: host)))
        for _ in 0..<4 { try await host.assign() }
        #expect(await failure { try await host.allocator.assign(request("web", on: host)) } != "no error")
        try await cluster.expectInvariants()
    }

    @Test func `gets none that its new network or a reservation excludes`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/28", blockSize: 28)
        let host = try await cluster.host()
        let address = try await host.allocator.assign(request("web", on: host))
        try await host.release(address)
        let range = try #require(CIDR("10.65.0.8/29"))
        let other = try await host.allocator.assign(
            request("web", on: host, from: .pool(name: "pool1", subnet: nil, range: range)))
        #expect(range.contains(other))
        try await host.release(other)
        try await cluster.reserve(address.description)
        let later = try await cluster.host()
        #expect(try await later.allocator.assign(request("web", on: later, from: pool)) == other)
    }

    @Test func `is not known on another host`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/28", blockSize: 30)
        let (one, two) = (try await cluster.host("one"), try await cluster.host("two"))
        let address = try await one.allocator.assign(request("web", on: one))
        try await one.release(address)
        #expect(try await two.allocator.assign(request("web", on: two)) != address)
        try await cluster.expectInvariants()
    }
}
