// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import LinuxNetwork
import Testing

@testable import Dataplane

@Suite(.serialized) struct `What is left of a container that is gone` {
    private static let one = `The Linux dataplane`.endpoint("b1aaaaaaaaaa", 2, "blue")
    private static let two = `The Linux dataplane`.endpoint("b2aaaaaaaaaa", 3, "blue")

    private func link(_ endpoint: WorkloadEndpoint, sandbox: String? = nil) -> EndpointLink {
        EndpointLink(endpoint: endpoint, nextHop6: IPAddress("fe80::1"), sandbox: sandbox)
    }

    /// A host with two containers that have talked to each other.
    private func conversation(_ body: (Lab, LinuxDataplane) async throws -> Void) async throws {
        let lab = try Lab()
        let dataplane = lab.dataplane()
        try await dataplane.start(`The Linux dataplane`.base)
        for endpoint in [Self.one, Self.two] { try await dataplane.connect(link(endpoint)) }
        let (a, b) = (try lab.container(Self.one), try lab.container(Self.two))
        defer { lab.end(a, b) }
        #expect(try a.reaches("10.65.0.3"))
        #expect(try a.reaches("fd00:65::3"))
        try await body(lab, dataplane)
    }

    /// How many connections the kernel knew of the first container; it knows none any more.
    private func connections(_ lab: Lab) throws -> Int {
        try lab.namespace.run { try Conntrack().deleteEntries(of: Set(Self.one.spec.addresses)) }
    }

    @Test func `is no connection, also where its link went before it was disconnected`() async throws {
        try await conversation { lab, dataplane in
            try lab.host.run("ip link del \(Self.one.spec.interfaceName)")
            try await dataplane.disconnect(interfaceName: Self.one.spec.interfaceName)
            await dataplane.stop()
            #expect(try connections(lab) == 0)
        }
    }

    @Test func `is no connection soon, also where another went a moment before`() async throws {
        let (lab, third) = (try Lab(), `The Linux dataplane`.endpoint("b3aaaaaaaaaa", 4, "blue"))
        let dataplane = lab.dataplane()
        try await dataplane.start(`The Linux dataplane`.base)
        for endpoint in [Self.one, Self.two, third] { try await dataplane.connect(link(endpoint)) }
        let (a, c) = (try lab.container(Self.one), try lab.container(third))
        defer { lab.end(a, c) }
        #expect(try a.reaches("10.65.0.4"))
        try await dataplane.disconnect(interfaceName: Self.two.spec.interfaceName)
        try await Task.sleep(for: .milliseconds(300))
        try await dataplane.disconnect(interfaceName: Self.one.spec.interfaceName)
        try await Task.sleep(for: .seconds(3))
        #expect(try connections(lab) == 0)
        await dataplane.stop()
    }

    @Test func `is no right to send with its address`() async throws {
        let lab = try Lab()
        defer { lab.end() }
        let dataplane = lab.dataplane()
        try await dataplane.start(`The Linux dataplane`.base)
        for endpoint in [Self.one, Self.two] { try await dataplane.connect(link(endpoint, sandbox: "both")) }
        let own = "nft list set inet calico-libnetwork own4"
        #expect(try lab.host.run(own).contains(#""calib2aaaaaaaaa" . 10.65.0.2"#))
        try lab.host.run("ip link del \(Self.one.spec.interfaceName)")
        try await dataplane.disconnect(interfaceName: Self.one.spec.interfaceName)
        #expect(try !lab.host.run(own).contains(#""calib2aaaaaaaaa" . 10.65.0.2"#))
        await dataplane.stop()
    }

    @Test(arguments: [false, true])
    func `is no connection, where it went while nobody looked`(isEndpointKnown: Bool) async throws {
        try await conversation { lab, first in
            await first.stop()
            if isEndpointKnown { try lab.host.run("ip link del \(Self.one.spec.interfaceName)") }
            let second = lab.dataplane()
            let endpoints = isEndpointKnown ? [Self.one, Self.two] : [Self.two]
            try await second.start(`The Linux dataplane`.base + endpoints.map { ClusterChange($0) })
            await second.stop()
            #expect(try connections(lab) == 0)
        }
    }

    @Test func `is no connection, even where links cannot be removed, and then no link`() async throws {
        try await conversation { lab, dataplane in
            // The kernel removes a group of links as a whole, and never this one.
            try lab.host.run("ip link set lo group \(LinkGroup.retired)")
            try await dataplane.disconnect(interfaceName: Self.one.spec.interfaceName)
            await dataplane.stop()
            #expect(try connections(lab) == 0)
            #expect(try lab.host.succeeds("ip link show \(Self.one.spec.interfaceName)"))
            try lab.host.run("ip link set lo group default")
            await dataplane.stop()
            #expect(try !lab.host.succeeds("ip link show \(Self.one.spec.interfaceName)"))
        }
    }

    @Test func `is met by none of several that have its addresses at once`() async throws {
        try await conversation { lab, dataplane in
            for endpoint in [Self.one, Self.two] {
                try await dataplane.disconnect(interfaceName: endpoint.spec.interfaceName)
            }
            let next = [("b8aaaaaaaaaa", 2), ("b9aaaaaaaaaa", 3)].map { `The Linux dataplane`.endpoint($0, $1, "blue") }
            async let first = dataplane.connect(link(next[0]))
            try await dataplane.connect(link(next[1]))
            _ = try await first
            #expect(try connections(lab) == 0)
            await dataplane.stop()
        }
    }

    @Test func `does not meet the next one with its address, and takes nothing from it`() async throws {
        try await conversation { lab, dataplane in
            let next = Cluster.endpoint(
                "b9aaaaaaaaaa", ["10.65.0.2", "fd00:65::2"], profiles: ["blue"],
                mac: Self.one.spec.mac.flatMap { MACAddress($0) })
            try await dataplane.disconnect(interfaceName: Self.one.spec.interfaceName)
            try await dataplane.connect(link(next))
            #expect(try connections(lab) == 0)
            let container = try lab.container(next)
            defer { lab.end(container) }
            #expect(try container.reaches("10.65.0.3"))
            await dataplane.stop()
            #expect(try connections(lab) > 0)
        }
    }
}
