// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

// One container, several networks.

extension SystemTests.Connectivity {
    @Test func `default route and ports are the first network's by name, and follow as networks come and go`()
        async throws
    {
        for network in ["aa", "bb"] { try await lab.createNetwork(network, "--ipv6") }
        let first = try await lab.start("a1", on: "aa")
        let second = try await lab.start("b1", on: "bb")
        let inB = try await lab.startServer("both", on: "bb", "-p 8080:80")
        #expect(try await inB.usualSource() == inB.address)
        try await expectPage("on its first network")

        try await lab.run("docker network connect aa both")
        let inA = try await lab.container("both", on: "aa")
        #expect(try await inA.usualSource() == inA.address)
        try await expectPage("published on the network that came")
        try await expectInTouch(inA, first)
        try await expectInTouch(inB, second)

        try await lab.run("docker network disconnect aa both")
        #expect(try await inB.usualSource() == inB.address)
        #expect(await inB.reaches(Lab.outside))
        try await expectPage("published on the network that stayed")
        try await expectInTouch(inB, second)
        #expect(await inB.isCutOff(from: first.address))

        try await lab.run("docker network connect aa both")
        try await lab.run("docker network disconnect bb both")
        let back = try await lab.container("both", on: "aa")
        try await expectInTouch(back, first)
        #expect(await back.isCutOff(from: second.address))
        #expect(await back.reaches(Lab.outside))
        try await expectPage("published on the network that came back")
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

    @Test(arguments: ["aaa", "zzz", "bridge"])
    func `beside a bridge network each address serves its own network, whichever leaves and comes back`(bridge: String)
        async throws
    {
        try await lab.createNetwork("blue", "--ipv6")
        // Docker's own is there, without IPv6 and without names.
        let isDockers = bridge == "bridge"
        if !isDockers { try await lab.run("docker network create --ipv6 --subnet fd00:77::/64 \(bridge)") }
        let (member, bridged) = (try await lab.start("b1", on: "blue"), try await lab.start("d1", on: bridge))
        try await lab.startServer("both", on: "blue", "-p 8080:80")
        let steps = [
            ("connect \(bridge)", ["blue", bridge]), ("disconnect blue", [bridge]), ("connect blue", ["blue", bridge]),
            ("disconnect \(bridge)", ["blue"]),
        ]
        for (step, networks) in steps {
            lab.mark(step)
            try await lab.run("docker network \(step) both")
            // Docker gives the container one default route, by name.
            let usual = try await lab.container("both", on: networks.sorted()[0])
            #expect(try await usual.usualSource() == usual.address)
            try await expectReadiness(of: usual)
            for (network, peer) in [("blue", member), (bridge, bridged)] where networks.contains(network) {
                let own = try await lab.container("both", on: network)
                try await expectInTouch(own, peer, naming: own)
            }
            if networks.sorted()[0] == "blue" {
                #expect(await usual.reaches(member.address), "after \(step)")
            } else {
                // What names no source leaves from the bridge's address, which is no member.
                #expect(await usual.isCutOff(from: member.address), "after \(step)")
            }
            #expect(await usual.reaches(Lab.outside))
            try await expectPage("after \(step)")
        }
        #expect(await member.isCutOff(from: bridged.address))
        try await lab.removeContainersAndNetworks()
        if !isDockers { try await lab.run("docker network rm \(bridge)") }
    }

    private func expectPage(_ comment: Comment) async throws {
        let page = try await lab.runOutside("timeout 5 busybox wget -q -O - http://\(Lab.hostAddress):8080/")
        #expect(page == "served", comment)
    }

    /// For a second a bridge's new link cannot ask for its router on behalf of another link's address.
    private func expectReadiness(of container: Container) async throws {
        let isReady = try await lab.eventually(within: 10) {
            try await container.runInNetwork("ip -6 address show tentative").isEmpty
        }
        #expect(isReady)
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

    /// - Parameter source: whose addresses the container's programs bind to; `nil` where they name none.
    private func expectInTouch(_ own: Container, _ member: Container, naming source: Container? = nil) async throws {
        #expect(await own.reaches(member.address, from: source?.address), "to \(member.name)")
        #expect(await member.reaches(own.address), "from \(member.name)")
        guard !own.address6.isEmpty else { return }
        #expect(await own.reaches(member.address6, from: source?.address6), "to \(member.name), IPv6")
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
