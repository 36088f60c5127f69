// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import TestSupport
import Testing

@testable import calico_libnetwork

@Suite struct `The first pools` {
    private func pools(
        _ environment: [String: String] = [:], hostNetworks: [String] = [], beside existing: [String] = [],
        kernelHasIPv6: Bool = true
    ) throws -> [IPPool] {
        var reader = SettingReader(environment: environment)
        let existing = existing.compactMap { CIDR($0) }.map {
            IPPool(metadata: ResourceMetadata(name: "theirs"), spec: IPPoolSpec(cidr: $0))
        }
        let pools = DefaultPools(
            settings: try .init(&reader), hostNetworks: hostNetworks.compactMap { CIDR($0) },
            kernelHasIPv6: kernelHasIPv6
        ).missing(beside: existing)
        for pool in pools { try pool.validate() }
        return pools
    }

    @Test func `are one of each family, named as calico/node names them`() throws {
        let made = try pools()
        #expect(made.map(\.name) == ["default-ipv4-ippool", "default-ipv6-ippool"])
        #expect(made[0].spec.cidr == CIDR("192.168.0.0/16") && made[0].spec.natOutgoing)
        #expect(made[1].spec.cidr.prefixLength == 48 && made[1].spec.cidr.description.hasPrefix("fd"))
        #expect(!made[1].spec.natOutgoing)
    }

    @Test(arguments: [
        (["192.168.1.0/24"], "172.16.0.0/16"), (["192.168.1.0/24", "172.16.0.0/12"], "192.168.0.0/16"),
        (["192.168.1.0/24", "172.16.5.0/24", "172.17.0.0/16"], "172.18.0.0/16"), (["10.0.0.0/8"], "192.168.0.0/16"),
    ])
    func `stay clear of the host's own networks where any choice does`(_ networks: [String], _ expected: String) throws
    {
        #expect(try pools(hostNetworks: networks).first?.spec.cidr == CIDR(expected))
    }

    @Test func `a family that has a pool gets none`() throws {
        #expect(try pools(beside: ["10.0.0.0/16"]).map(\.spec.family) == [.v6])
        #expect(try pools(beside: ["10.0.0.0/16", "fd00::/64"]).isEmpty)
    }

    @Test func `a kernel without IPv6 gets no IPv6 pool`() throws {
        #expect(try pools(kernelHasIPv6: false).map(\.spec.family) == [.v4])
    }

    @Test func `settings decide, and may want none`() throws {
        #expect(try pools(["NO_DEFAULT_POOLS": "true"]).isEmpty)
        #expect(try pools(["CALICO_IPV4POOL_CIDR": "none", "CALICO_IPV6POOL_CIDR": "none"]).isEmpty)
        let made = try pools([
            "CALICO_IPV4POOL_CIDR": "10.5.0.0/16", "CALICO_IPV4POOL_BLOCK_SIZE": "28",
            "CALICO_IPV4POOL_VXLAN": "cross-subnet",
            "CALICO_IPV4POOL_NAT_OUTGOING": "false", "CALICO_IPV6POOL_CIDR": "fd00:5::/64",
        ])
        #expect(made.map(\.spec.cidr.description) == ["10.5.0.0/16", "fd00:5::/64"])
        #expect(made[0].spec.blockSize == 28 && !made[0].spec.natOutgoing)
        #expect(made[0].spec.vxlanMode == .crossSubnet)
    }

    /// Member for member.
    @Test func `are stored as Calico's Go clients store them, and can be updated by those`() async throws {
        let store = try SQLiteStore(path: ":memory:")
        let replica = Replica<ClusterState>(of: store, under: ClusterState.ranges, logger: CommandStore.silent)
        try await replica.load()
        var reader = SettingReader(environment: ["CALICO_IPV6POOL_CIDR": "fd00:5::/64"])
        let pools = DefaultPools(settings: try .init(&reader), hostNetworks: [], kernelHasIPv6: true)
        try await pools.create(in: replica, CommandStore.silent)
        let specs = [
            "default-ipv4-ippool": #""cidr":"192.168.0.0/16","natOutgoing":true,"blockSize":26"#,
            "default-ipv6-ippool": #""cidr":"fd00:5::/64","blockSize":122"#,
        ]
        for (name, spec) in specs {
            let value = try #require(try await store.get(Key.resource(IPPoolSpec.self, name: name))?.value)
            let pool = try StoredResource(value)
            #expect(pool.isUpdatable, "\(pool)")
            let expected = pool.filling(
                #"""
                {"kind":"IPPool","apiVersion":"projectcalico.org/v3",
                 "metadata":{"name":"\#(name)","uid":"UID","creationTimestamp":"TIME"},
                 "spec":{\#(spec),"vxlanMode":"Never","ipipMode":"Never","nodeSelector":"all()"}}
                """#)
            let stored = try JSONDecoder().decode(JSONValue.self, from: value)
            #expect(try stored == JSONDecoder().decode(JSONValue.self, from: expected))
        }
    }
}
