// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import Testing

@testable import IPAM

@Suite struct `Assigning any address` {
    @Test func `claims block, affinity and handle in one commit`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24", blockSize: 28)
        let host = try await cluster.host()
        let commits = try await cluster.commits { try await host.assign("h1") }
        #expect(commits == 1)
        let state = try await cluster.state()
        let block = try #require(state.blocks.values.first?.value)
        #expect(
            try await Set(cluster.paths()) == [
                Key.block(block.cidr).path, Key.affinity(host: "host-1", block: block.cidr).path,
                Key.handle("h1").path,
            ])
        #expect(block.isAffine(to: "host-1") && block.affinityClaimTime != nil)
        #expect(block.attributes == [host.owner("h1")])
        try await cluster.expectInvariants()
    }

    @Test func `fills the own block before it claims another`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24", blockSize: 30)
        let host = try await cluster.host()
        var blocks: Set<CIDR> = []
        for number in 1...8 {
            blocks.insert(CIDR(try await host.assign("h"), prefixLength: 30)!)
            #expect(blocks.count == (number + 3) / 4)
            try await cluster.expectInvariants()
        }
        #expect(try await cluster.state().handles["h"]?.value.blocks.values.sorted() == [4, 4])
    }

    @Test(arguments: [("a", 84_696_446), ("host-1", 1_258_779_293), ("", 2_166_136_261)] as [(String, UInt32)])
    func `begins where FNV-1 of the host name says`(name: String, hash: UInt32) async throws {
        #expect(FNV.hash32(name) == hash)
        guard !name.isEmpty else { return }
        let cluster = try await Cluster(pools: "10.0.0.0/16")
        let first = try await cluster.host(name).assign()
        #expect(first.value - 0x0a00_0000 == UInt128(hash % 1_024) * 64)
    }

    @Test func `walks every block once, around the end`() {
        let order = BlockOrder(pool: CIDR("10.0.0.0/24")!, blockPrefixLength: 28, host: "host-1")
        let blocks = Array(order)
        #expect(blocks.count == 16 && Set(blocks).count == 16 && blocks[0] == order.first)
        #expect(BlockOrder(pool: CIDR("::/0")!, blockPrefixLength: 128, host: "h").first.prefixLength == 128)
    }

    @Test func `borrows when every block is another's`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/29", blockSize: 30)
        let (one, two) = (try await cluster.host("one"), try await cluster.host("two"))
        for _ in 0..<5 { try await one.assign("h1") }
        let third = try await cluster.host("three")
        for _ in 0..<3 { try await third.assign("h3") }
        try await cluster.expectInvariants()
        let state = try await cluster.state()
        #expect(state.blocks.values.allSatisfy { $0.value.isAffine(to: "one") })
        let error = await failure { try await two.assign() }
        #expect(error.contains("10.65.0.0/29") && error.contains("two"))
    }

    @Test func `does not borrow under strict affinity`() async throws {
        let cluster = try await Cluster(
            pools: "10.65.0.0/30", blockSize: 30, configuration: IPAMConfiguration(strictAffinity: true))
        try await cluster.host("one").assign()
        let error = await failure { try await cluster.host("two").assign() }
        #expect(error.contains("strict affinity") && error.contains("1 belong to other hosts"))
        try await cluster.expectInvariants()
    }

    @Test func `stops at the number of blocks a host may own`() async throws {
        let cluster = try await Cluster(
            pools: "10.65.0.0/24", blockSize: 32, configuration: IPAMConfiguration(maxBlocksPerHost: 3))
        let host = try await cluster.host()
        for _ in 0..<3 { try await host.assign() }
        #expect(await failure { try await host.assign() }.contains("3 blocks"))
        try await cluster.expectInvariants()
    }

    @Test func `owns 20 blocks where nobody set a limit`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24", blockSize: 32)
        let host = try await cluster.host()
        for _ in 0..<20 { try await host.assign() }
        #expect(await failure { try await host.assign() }.contains("20 blocks"))
    }

    @Test func `claims nothing where auto_allocate_blocks is missing`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        try await cluster.put(.ipamConfiguration, text: "{}")
        #expect(await failure { try await cluster.host().assign() }.contains("auto_allocate_blocks"))
        #expect(try await cluster.paths() == ["/calico/ipam/v2/config"])
    }

    @Test func `of IPv6 works the same, a /48 in blocks of 64`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/16", "fd00:1::/48")
        let host = try await cluster.host()
        let addresses = [try await host.assign("h", .v6), try await host.assign("h", .v6)]
        #expect(addresses[1].value == addresses[0].value + 1)
        #expect(try await cluster.state().blocks.keys.map(\.prefixLength) == [122])
        try await cluster.expectInvariants()
    }

    @Test(arguments: ["10.65.0.3/32", "10.65.0.16/28", "10.65.0.4/30", "10.65.0.0/24"])
    func `stays inside a subnet, also one smaller than a block`(subnet: String) async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/16", blockSize: 26)
        let host = try await cluster.host()
        let range = CIDR(subnet)!
        let scope = AddressScope.pool(name: "pool1", subnet: range, range: nil)
        let count = min(1 << range.hostBits, 80)
        var given: Set<IPAddress> = []
        for _ in 0..<count { given.insert(try await host.assign("h", from: scope)) }
        #expect(given.count == count && given.allSatisfy(range.contains))
        if count == 1 << range.hostBits {
            #expect(await failure { try await host.assign("h", from: scope) }.contains(subnet))
        }
        try await cluster.expectInvariants()
    }

    @Test func `prefers the ip-range within the subnet`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/16")
        let host = try await cluster.host()
        let scope = AddressScope.pool(
            name: "pool1", subnet: CIDR("10.65.8.0/24")!, range: CIDR("10.65.8.200/30")!)
        #expect(try await host.assign(from: scope).description == "10.65.8.200")
        #expect(try await host.assign(from: scope, address: "10.65.8.9").description == "10.65.8.9")
    }

    @Test func `refuses a subnet that is not in its pool any more`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/16")
        let scope = AddressScope.pool(name: "pool1", subnet: CIDR("10.66.0.0/24")!, range: nil)
        let host = try await cluster.host()
        #expect(await failure { try await host.assign(from: scope) }.contains("10.66.0.0/24"))
        #expect(await failure { try await host.assign(from: scope, address: "10.66.0.1") }.contains("10.66.0.0/24"))
        #expect(try await cluster.paths().isEmpty)
    }

    @Test func `leaves nothing behind when it fails`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/31", blockSize: 31)
        let host = try await cluster.host()
        for _ in 0..<2 { try await host.assign("h") }
        let before = try await cluster.sqlite.list(under: .ipam).entries
        let commits = try await cluster.commits { _ = await failure { try await host.assign("other") } }
        #expect(commits == 0)
        #expect(try await cluster.sqlite.list(under: .ipam).entries == before)
    }
}

@Suite struct `Reserved addresses` {
    @Test func `are skipped, but given on request`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/30", blockSize: 30)
        try await cluster.reserve("10.65.0.0", " 10.65.0.2/32 ", "nonsense")
        let host = try await cluster.host()
        #expect(try await host.assign().description == "10.65.0.1")
        #expect(try await host.assign().description == "10.65.0.3")
        #expect(await failure { try await host.assign() } != "no error")
        #expect(try await host.assign(address: "10.65.0.2").description == "10.65.0.2")
        try await cluster.expectInvariants()
    }

    @Test func `may be whole blocks, which are then never claimed`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/28", blockSize: 30)
        try await cluster.reserve("10.65.0.0/29", "10.65.0.12/31", "10.65.0.14/31")
        let host = try await cluster.host()
        for _ in 0..<4 { #expect(CIDR("10.65.0.8/30")!.contains(try await host.assign())) }
        #expect(await failure { try await host.assign() } != "no error")
        #expect(try await cluster.state().blocks.count == 1)
    }

    @Test(.timeLimit(.minutes(1))) func `may be nearly all of a huge pool`() async throws {
        let cluster = try await Cluster(pools: "fd00::/48")
        try await cluster.reserve("fd00::/49", "fd00:0:0:8000::/50", "fd00:0:0:c000::/51")
        let host = try await cluster.host()
        #expect(CIDR("fd00:0:0:e000::/51")!.contains(try await host.assign("h", .v6)))
        try await cluster.reserve("fd00::/48")
        let later = try await cluster.host("other")
        #expect(
            await failure { try await later.assign("h", .v6, from: .pool(name: "pool1", subnet: nil, range: nil)) }
                != "no error")
    }
}

@Suite struct `Choosing the pool` {
    @Test func `takes the first by name that selects the node`() async throws {
        let cluster = try await Cluster()
        try await cluster.put(pool: "a", "10.1.0.0/24") { $0.spec.nodeSelector = "rack == 'r2'" }
        try await cluster.put(pool: "b", "10.2.0.0/24") { $0.spec.nodeSelector = "has(" }
        try await cluster.put(pool: "c", "10.3.0.0/24") { $0.spec.disabled = true }
        try await cluster.put(pool: "d", "10.4.0.0/24") { $0.spec.assignmentMode = "Manual" }
        try await cluster.put(pool: "e", "10.5.0.0/24") { $0.spec.allowedUses = ["Tunnel"] }
        try await cluster.put(pool: "f", "10.6.0.0/24") { $0.spec.namespaceSelector = "has(team)" }
        try await cluster.put(pool: "g", "10.7.0.0/24")
        try await cluster.node("host-2", labels: ["rack": "r2"])
        #expect(CIDR("10.7.0.0/24")!.contains(try await cluster.host("host-1").assign()))
        #expect(CIDR("10.1.0.0/24")!.contains(try await cluster.host("host-2").assign()))
        try await cluster.expectInvariants()
    }

    @Test func `goes on to the next pool when one is full`() async throws {
        let cluster = try await Cluster(pools: "10.1.0.0/31", "10.2.0.0/31", blockSize: 31)
        let host = try await cluster.host()
        var texts: [String] = []
        for _ in 0..<4 { texts.append(try await host.assign().description) }
        #expect(texts == ["10.1.0.0", "10.1.0.1", "10.2.0.0", "10.2.0.1"])
        let words =
            "no free address for node host-1 in 10.1.0.0/31, 10.2.0.0/31: of 2 blocks 0 belong to other hosts and all are "
            + "full. Remove containers, or create a pool"
        let create = "with: calico-libnetwork pool create NAME --cidr CIDR"
        #expect(await failure { try await host.assign() } == "\(words) \(create)")
        let named = await failure { try await host.assign(from: .pools(["pool1", "pool2"])) }
        #expect(named == "\(words), and the network anew on it, \(create)")
    }

    @Test func `by name ignores selectors and Manual, but not disabled or other uses`() async throws {
        let cluster = try await Cluster()
        try await cluster.put(pool: "a", "10.1.0.0/24") {
            $0.spec.nodeSelector = "has(nothing)"
            $0.spec.assignmentMode = "Manual"
        }
        try await cluster.put(pool: "off", "10.2.0.0/24") { $0.spec.disabled = true }
        try await cluster.put(pool: "lb", "10.3.0.0/24") { $0.spec.allowedUses = ["LoadBalancer"] }
        try await cluster.put(pool: "small", "10.4.0.0/28")
        let host = try await cluster.host()
        let from = { AddressScope.pool(name: $0, subnet: nil, range: nil) }
        #expect(CIDR("10.1.0.0/24")!.contains(try await host.assign(from: from("a"))))
        #expect(await failure { try await host.assign(from: from("small")) }.contains("disabled"))
        let off = await failure { try await host.assign(from: from("off")) }
        #expect(off.hasPrefix("IP pool off is disabled; no new addresses come from it. "))
        #expect(off.hasSuffix("calico-libnetwork pool enable off; the other enabled pools are a, lb"), "\(off)")
        let create = "calico-libnetwork pool create NAME --cidr CIDR"
        #expect(
            await failure { try await host.assign(from: from("lb")) }
                == "no pool for node host-1 allows the use Workload. Create one that does with: \(create)")
        #expect(await failure { try await host.assign(from: from("gone")) }.contains("a, lb, off"))
        #expect(await failure { try await host.assign("h", .v6, from: from("a")) } != "no error")
        #expect(await failure { try await host.assign() }.contains("Workload"))
    }

    @Test func `leaves out pools that Calico reports unallocatable or is deleting`() async throws {
        let cluster = try await Cluster()
        try await cluster.put(pool: "a", "10.1.0.0/24") {
            $0.metadata.unknown["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        }
        try await cluster.put(pool: "b", "10.2.0.0/24") {
            $0.unknown["status"] = ["conditions": [["type": "Allocatable", "status": "False"]]]
        }
        try await cluster.put(pool: "c", "10.3.0.0/24")
        #expect(CIDR("10.3.0.0/24")!.contains(try await cluster.host().assign()))
    }

    @Test(arguments: [
        #""metadata":{"name":"a"},"spec":{"cidr":"10.1.0.0/24","allowedUses":[]}"#,
        #""metadata":{"name":"a"},"spec":{"cidr":"10.1.0.0/24","assignmentMode":""}"#,
        #""metadata":{"name":"a","deletionTimestamp":null},"spec":{"cidr":"10.1.0.0/24"}"#,
    ])
    func `takes an empty member for one that is not there, as Go does`(members: String) async throws {
        let cluster = try await Cluster()
        let key = Key.resource(IPPoolSpec.self, name: "a")
        try await cluster.put(key, text: "{\(members)}")
        let host = try await cluster.host()
        #expect(CIDR("10.1.0.0/24")!.contains(try await host.assign()))
        // Whoever writes the pool again leaves it as it was.
        let pool = try #require(host.replica.snapshot.pools["a"]?.value)
        let text = String(decoding: StoreJSON.encode(pool), as: UTF8.self)
        for member in [#""allowedUses":[]"#, #""assignmentMode":"""#, #""deletionTimestamp":null"#] {
            #expect(text.contains(member) == members.contains(member), "\(text)")
        }
    }
}
