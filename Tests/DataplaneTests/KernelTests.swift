// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Foundation
import LinuxNetwork
import Logging
import Testing

@testable import Dataplane

@Suite(.serialized) struct `Repairs in the kernel` {
    private static let logger = Logger(label: "lab") { StreamLogHandler.standardError(label: $0) }
    private static let one = `The Linux dataplane`.endpoint("b1aaaaaaaaaa", 2, "blue")

    @Test func `rules that could not be loaded are loaded when they are looked at next`() async throws {
        let lab = try Lab()
        defer { lab.end() }
        let table = RulesetTable(
            node: Cluster.node, options: .init(), namespace: lab.namespace, logger: Self.logger)
        try await table.load(
            `The Linux dataplane`.base + [ClusterChange(Self.one)], dockerInterfaces: [], siblings: [:])
        // The stand-in's name is taken, and an element that goes is not there: neither way leads to new rules.
        var thief: Nftables? = try lab.namespace.run { try Nftables() }
        try thief?.run("add table \(TableReplacement.standIn) { flags owner; }\n")
        try lab.host.run("nft flush map inet calico-libnetwork from-endpoint")
        await #expect(throws: NftablesError.self) {
            try await table.apply([ClusterChange(key: Self.one.key, value: nil)])
        }
        let stale = try lab.host.run("nft list map inet calico-libnetwork to-endpoint")
        #expect(stale.contains(Self.one.spec.interfaceName))
        thief = nil
        for _ in 0..<100 where try lab.host.succeeds("nft list table \(TableReplacement.standIn)") {
            try await Task.sleep(for: .milliseconds(10))
        }
        try await table.verify()
        #expect(try !lab.host.run("nft list table inet calico-libnetwork").contains(Self.one.spec.interfaceName))
    }

    @Test func `a stand-in of a process that was killed goes with the next load`() async throws {
        let lab = try Lab()
        defer { lab.end() }
        try lab.host.run("nft add table \(TableReplacement.standIn)")
        let dataplane = lab.dataplane()
        try await dataplane.start(`The Linux dataplane`.base)
        #expect(try lab.host.run("nft list tables").contains("table inet calico-libnetwork\n"))
        #expect(try !lab.host.succeeds("nft list table \(TableReplacement.standIn)"))
        await dataplane.stop()
    }

    @Test func `an interface that cannot have its routes back keeps no other from them`() async throws {
        let lab = try Lab()
        defer { lab.end() }
        let table = InterfaceTable(namespace: lab.namespace, sysctl: Sysctl(), logger: Self.logger)
        _ = try await table.prepareHost()
        let endpoints = (2...9).map { `The Linux dataplane`.endpoint("b\($0)aaaaaaaaaa", $0, "blue") }
        for endpoint in endpoints {
            _ = try await table.connect(EndpointLink(endpoint: endpoint, nextHop6: IPAddress("fe80::1")))
        }
        // Less than IPv6 needs: the kernel takes it and its settings from the interface.
        try lab.host.run("ip link set calib2aaaaaaaaa mtu 1200; ip route flush proto 80")
        _ = try await table.resynchronize()
        let routes = try lab.host.run("ip route")
        for number in 3...9 { #expect(routes.contains("10.65.0.\(number) dev calib\(number)aaaaaaaaa")) }
    }
}
