// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

// One container, several networks.

extension SystemTests.Connectivity {
    @Test func `the default route is that of the first network by name, and follows as networks come and go`()
        async throws
    {
        for network in ["aa", "bb"] { try await lab.createNetwork(network, "--ipv6") }
        let first = try await lab.start("a1", on: "aa")
        let second = try await lab.start("b1", on: "bb")
        let inB = try await lab.start("both", on: "bb")
        #expect(try await inB.usualSource() == inB.address)

        try await lab.run("docker network connect aa both")
        let inA = try await lab.container("both", on: "aa")
        #expect(try await inA.usualSource() == inA.address)
        try await expectInTouch(inA, first)
        try await expectInTouch(inB, second)

        try await lab.run("docker network disconnect aa both")
        #expect(try await inB.usualSource() == inB.address)
        #expect(await inB.reaches(Lab.outside))
        try await expectInTouch(inB, second)
        #expect(await inB.isCutOff(from: first.address))

        try await lab.run("docker network connect aa both")
        try await lab.run("docker network disconnect bb both")
        let back = try await lab.container("both", on: "aa")
        try await expectInTouch(back, first)
        #expect(await back.isCutOff(from: second.address))
        #expect(await back.reaches(Lab.outside))
    }

    @Test func `networks on different pools meet in one container too`() async throws {
        try await lab.run("calico-libnetwork pool create extra --cidr 10.77.0.0/24 --nat-outgoing")
        try await lab.createNetwork("aa", "--subnet 10.77.0.0/24")
        try await lab.createNetwork("bb", "--subnet 192.168.0.0/16")
        let first = try await lab.start("a1", on: "aa")
        let second = try await lab.start("b1", on: "bb")
        let inA = try await lab.start("both", on: "aa", "--ip 10.77.0.77")
        try await lab.run("docker network connect --ip 192.168.7.77 bb both")
        try await lab.run("docker restart both")
        let inB = try await lab.container("both", on: "bb")
        #expect(inB.address == "192.168.7.77")
        try await expectInTouch(try await lab.container("both", on: "aa"), first)
        try await expectInTouch(inB, second)
        #expect(inA.address == "10.77.0.77")
        try await lab.removeContainersAndNetworks()
        try await lab.run("calico-libnetwork pool delete extra")
    }

    @Test(arguments: ["aaa", "zzz"])
    func `beside a bridge network each address serves its own network`(bridge: String) async throws {
        try await lab.createNetwork("blue")
        try await lab.run("docker network create \(bridge)")
        let member = try await lab.start("b1", on: "blue")
        let bridged = try await lab.start("d1", on: bridge)
        let inBlue = try await lab.start("both", on: "blue")
        try await lab.run("docker network connect \(bridge) both")
        let onBridge = try await lab.container("both", on: bridge)

        #expect(await member.reaches(inBlue.address))
        #expect(await bridged.reaches(onBridge.address))
        #expect(await onBridge.reaches(bridged.address))
        #expect(await inBlue.reaches(Lab.outside))
        #expect(await inBlue.reaches(member.address, from: inBlue.address))
        #expect(await member.isCutOff(from: bridged.address))
        // Docker gives the container one default route, by name. Where it is the bridge's, what names no source leaves
        // from the bridge's address, which is no member.
        let usual = bridge == "zzz" ? inBlue : onBridge
        #expect(try await inBlue.usualSource() == usual.address)
        if bridge == "zzz" {
            #expect(await inBlue.reaches(member.address))
        } else {
            #expect(await inBlue.isCutOff(from: member.address))
        }
        try await lab.removeContainersAndNetworks()
        try await lab.run("docker network rm \(bridge)")
    }

    @Test(.enabled(if: LabEngine.current == .v28_5, "--gw-priority came with engine 28"))
    func `--gw-priority decides about the default route, also against a bridge`() async throws {
        for network in ["aa", "bb"] { try await lab.createNetwork(network) }
        try await lab.run("docker network create aaa")
        try await lab.start("both", on: "aa")
        try await lab.run("docker network connect aaa both")
        try await lab.run("docker network connect --gw-priority 1 bb both")
        let inB = try await lab.container("both", on: "bb")
        #expect(try await inB.usualSource() == inB.address)
        let member = try await lab.start("a1", on: "aa")
        try await expectInTouch(try await lab.container("both", on: "aa"), member)
        try await lab.removeContainersAndNetworks()
        try await lab.run("docker network rm aaa")
    }

    private func expectInTouch(_ own: Container, _ member: Container) async throws {
        #expect(await own.reaches(member.address), "to \(member.name)")
        #expect(await member.reaches(own.address), "from \(member.name)")
        guard !own.address6.isEmpty else { return }
        #expect(await own.reaches(member.address6), "to \(member.name), IPv6")
        #expect(await member.reaches(own.address6), "from \(member.name), IPv6")
    }
}

extension Container {
    /// Its address on the network that has the default route.
    fileprivate func usualSource() async throws -> String {
        let words = try await run("ip route get \(Lab.outside)").split(whereSeparator: \.isWhitespace)
        return words.firstIndex(of: "src").map { String(words[$0 + 1]) } ?? ""
    }
}
