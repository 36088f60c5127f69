// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM
import Testing

@Suite struct `Assigning a particular address` {
    @Test func `claims its block, whatever the limits and reservations`() async throws {
        let cluster = try await Cluster(
            pools: "10.65.0.0/24", blockSize: 30,
            configuration: IPAMConfiguration(autoAllocateBlocks: false, maxBlocksPerHost: 1))
        try await cluster.reserve("10.65.0.0/24")
        let host = try await cluster.host()
        for text in ["10.65.0.9", "10.65.0.13", "10.65.0.0"] {
            let commits = try await cluster.commits {
                let address = try await host.assign("h", address: text)
                #expect(address.description == text)
            }
            #expect(commits == 1)
        }
        try await cluster.expectInvariants()
        #expect(try await cluster.state().blocksByAffinity["host:host-1"]?.count == 3)
    }

    @Test func `that is taken names its owner`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        try await cluster.host("one").assign(address: "10.65.0.9")
        let two = try await cluster.host("two")
        let error = await failure { try await two.assign(address: "10.65.0.9") }
        #expect(error.contains("10.65.0.9") && error.contains("node one"))
        try await two.assign(address: "10.65.0.10")
        try await cluster.expectInvariants()
    }

    @Test(arguments: [
        ("10.66.0.1", "10.65.0.0/24"), ("fd00::1", "fd00::1"),
    ])
    func `outside the pools is refused`(text: String, words: String) async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let host = try await cluster.host()
        #expect(await failure { try await host.assign(address: text) }.contains(words))
        let scope = AddressScope.pool(name: "pool1", subnet: CIDR("10.65.0.0/28")!, range: nil)
        #expect(await failure { try await host.assign(from: scope, address: "10.65.0.77") }.contains("10.65.0.0/28"))
        #expect(await failure { try await host.assign(from: scope, address: "fd00::1") } != "no error")
        #expect(try await cluster.paths().isEmpty)
    }

    @Test func `in another host's block is borrowed, except under strict affinity`() async throws {
        let cluster = try await Cluster(
            pools: "10.65.0.0/24", configuration: IPAMConfiguration(strictAffinity: true))
        try await cluster.host("one").assign(address: "10.65.0.9")
        let two = try await cluster.host("two")
        #expect(await failure { try await two.assign(address: "10.65.0.10") }.contains("host:one"))
        try await cluster.put(.ipamConfiguration, IPAMConfiguration())
        try await cluster.host("two").assign(address: "10.65.0.10")
        try await cluster.expectInvariants()
    }

    @Test func `passes on from a holder that is gone, with its endpoint`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let host = try await cluster.host()
        let address = try await host.assign("gone", address: "10.65.0.9")
        let endpoint = try await cluster.putEndpoint("e", on: "host-1", [address])
        let later = try await cluster.host()
        let request = later.request("new", address: "10.65.0.9") { _, owner in owner.handleID == "gone" }
        let commits = try await cluster.commits {
            let assigned = try await later.allocator.assign(request)
            #expect(assigned == address)
        }
        #expect(commits == 1)
        #expect(try await cluster.sqlite.get(endpoint) == nil)
        #expect(try await cluster.state().owner(of: address)?.handleID == "new")
        #expect(try await cluster.state().handles.keys.sorted() == ["new"])
        try await cluster.expectInvariants()
    }

    @Test func `cannot be had where a block of another size holds it or lies in its block`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24", blockSize: 30)
        try await cluster.host("one").assign("a", address: "10.65.0.9")
        try await cluster.put(pool: "pool1", "10.65.0.0/24") { $0.spec.blockSize = 26 }
        let two = try await cluster.host("two")
        #expect(await failure { try await two.assign(address: "10.65.0.9") }.contains("node one"))
        #expect(await failure { try await two.assign(address: "10.65.0.20") }.contains("10.65.0.0/26"))
        for _ in 0..<10 { #expect(!CIDR("10.65.0.0/26")!.contains(try await two.assign())) }
        try await cluster.expectInvariants()
    }
}

extension Cluster {
    @discardableResult
    func putEndpoint(_ id: String, on node: String, _ addresses: [IPAddress]) async throws -> Key {
        let spec = WorkloadEndpointSpec(
            orchestrator: "libnetwork", workload: "libnetwork", node: node, endpoint: id,
            ipNetworks: addresses.map { CIDR(host: $0) }, profiles: [], interfaceName: "cali\(id)", mac: nil)
        let name = try WorkloadEndpointName(spec).text
        let endpoint = WorkloadEndpoint(
            metadata: ResourceMetadata(name: name, namespace: "libnetwork").asCreated(), spec: spec)
        try await put(endpoint.key, endpoint)
        return endpoint.key
    }
}

@Suite struct `Releasing an address` {
    @Test func `takes one commit, deletes its handle and keeps the empty block`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let host = try await cluster.host()
        let address = try await host.assign("h")
        let commits = try await cluster.commits {
            let owner = try await host.release(address)
            #expect(owner?.handleID == "h")
        }
        #expect(commits == 1)
        let state = try await cluster.state()
        #expect(state.handles.isEmpty && state.blocks.count == 1 && state.owner(of: address) == nil)
        try await cluster.expectInvariants()
    }

    @Test func `twice, or of a free or unknown address, is nothing to do`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let host = try await cluster.host()
        let address = try await host.assign()
        try await host.release(address)
        let commits = try await cluster.commits {
            for text in [address.description, "10.65.0.200", "1.2.3.4", "fd00::1"] {
                let owner = try await host.release(IPAddress(text)!)
                #expect(owner == nil)
            }
        }
        #expect(commits == 0)
    }

    @Test func `that the holder forbids changes nothing`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let host = try await cluster.host()
        let address = try await host.assign("theirs")
        let commits = try await cluster.commits {
            let owner = try await host.release(address) { $0.handleID == "mine" }
            #expect(owner == nil)
        }
        #expect(commits == 0)
        #expect(try await cluster.state().owner(of: address)?.handleID == "theirs")
    }

    @Test func `deletes an empty block that nobody claims`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let host = try await cluster.host()
        let addresses = [try await host.assign("h"), try await host.assign("h")]
        var block = try #require(try await cluster.state().blocks.values.first).value
        block.abandon()
        try await cluster.put(Key.block(block.cidr), block)
        try await cluster.delete(Key.affinity(host: "host-1", block: block.cidr))
        let later = try await cluster.host()
        try await later.release(addresses[0])
        try await cluster.expectInvariants()
        try await later.release(addresses[1])
        #expect(try await cluster.paths().isEmpty)
    }

    @Test func `gives an empty block back when its pool no longer selects the node`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let address = try await cluster.host().assign("h")
        try await cluster.node("host-1", labels: [:])
        try await cluster.put(pool: "pool1", "10.65.0.0/24") { $0.spec.nodeSelector = "has(gpu)" }
        try await cluster.host().release(address)
        #expect(try await cluster.paths().isEmpty)
    }

    @Test func `works in a disabled, a deleted and a borrowed-from pool`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let addresses = [try await cluster.host("one").assign("a"), try await cluster.host("one").assign("a")]
        try await cluster.put(pool: "pool1", "10.65.0.0/24") { $0.spec.disabled = true }
        #expect(try await cluster.host("two").release(addresses[0])?.node == "one")
        try await cluster.delete(Key.resource(IPPoolSpec.self, name: "pool1"))
        #expect(try await cluster.host("two").release(addresses[1])?.node == "one")
        try await cluster.expectInvariants()
    }

    @Test func `takes it from this node's endpoint, and the last one deletes that`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24", "fd00::/64")
        var host = try await cluster.host()
        let addresses = [try await host.assign("h"), try await host.assign("h", .v6)]
        let key = try await cluster.putEndpoint("e", on: "host-1", addresses)
        host = try await cluster.host()
        let commits = try await cluster.commits { try await host.release(addresses[0]) }
        #expect(commits == 1)
        #expect(try await cluster.state().endpoints[key]?.value.spec.addresses == [addresses[1]])
        try await host.release(addresses[1])
        #expect(try await cluster.sqlite.get(key) == nil)
    }

    @Test func `leaves another node's endpoint alone`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let address = try await cluster.host().assign("h")
        let key = try await cluster.putEndpoint("e", on: "other", [address])
        try await cluster.host().release(address)
        #expect(try await cluster.sqlite.get(key) != nil)
    }

    @Test func `lets it rest where the configuration says so`() async throws {
        let cluster = try await Cluster(
            pools: "10.65.0.0/31", blockSize: 31, configuration: IPAMConfiguration(cooldownSeconds: 3_600))
        let host = try await cluster.host()
        let address = try await host.assign("h")
        try await host.release(address)
        #expect(try await host.assign("h") != address)
        #expect(await failure { try await host.assign("h") } != "no error")
        #expect(await failure { try await host.assign(address: address.description) }.contains("cool-down"))
        try await cluster.expectInvariants()
        try await cluster.put(.ipamConfiguration, IPAMConfiguration())
        #expect(try await cluster.host().assign("h") == address)
        try await cluster.expectInvariants()
    }
}

@Suite struct `What others left in the datastore` {
    @Test func `a locked datastore is not written`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let address = try await cluster.host().assign()
        let information = ClusterInformation(
            metadata: ResourceMetadata(name: "default"), spec: ClusterInformationSpec(datastoreReady: false))
        let old = try await cluster.host()
        try await cluster.put(information.key, information)
        for host in [old, try await cluster.host()] {
            #expect(await failure { try await host.assign() }.contains("datastoreReady"))
            #expect(await failure { try await host.release(address) }.contains("datastoreReady"))
        }
    }

    @Test func `a pool disabled a moment ago gives nothing more`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/24")
        let host = try await cluster.host()
        try await cluster.put(pool: "pool1", "10.65.0.0/24") { $0.spec.disabled = true }
        #expect(await failure { try await host.assign() } != "no error")
        #expect(try await cluster.paths().isEmpty)
    }

    @Test func `unreadable values stay as they are`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/29", blockSize: 30)
        let keys = [Key.block(CIDR("10.65.0.0/30")!), Key.handle("odd"), Key("/calico/ipam/v2/handle/other")]
        for key in keys { try await cluster.put(key, text: "{\"x\":") }
        let host = try await cluster.host()
        for _ in 0..<4 { #expect(CIDR("10.65.0.4/30")!.contains(try await host.assign())) }
        #expect(await failure { try await host.assign() } != "no error")
        #expect(await failure { try await host.assign(address: "10.65.0.1") }.contains("cannot be read"))
        #expect(await failure { try await host.release(IPAddress("10.65.0.1")!) }.contains("cannot be read"))
        try await host.release(IPAddress("10.65.0.5")!)
        #expect(await failure { try await host.assign("odd") }.contains("cannot be read"))
        for key in keys { #expect(try await cluster.sqlite.get(key)?.value == Data("{\"x\":".utf8)) }
        try await cluster.put(.ipamConfiguration, text: "[]")
        #expect(await failure { try await cluster.host().assign() }.contains("cannot be read"))
    }

    @Test(arguments: BlockAffinity.State.allValues) func `a claim without a block is made good`(
        state: BlockAffinity.State
    ) async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/16")
        let cidr = CIDR("10.65.77.64/26")!
        try await cluster.put(Key.affinity(host: "host-1", block: cidr), BlockAffinity(state))
        #expect(cidr.contains(try await cluster.host().assign("h")))
        try await cluster.expectInvariants()
    }

    @Test(arguments: BlockAffinity.State.allValues) func `an own block's claim in any state is confirmed`(
        state: BlockAffinity.State
    ) async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/16")
        let block = IPAMBlock(cidr: CIDR("10.65.77.64/26")!, host: "host-1", now: .now)
        try await cluster.put(Key.block(block.cidr), block)
        let claim = Key.affinity(host: "host-1", block: block.cidr)
        try await cluster.put(claim, BlockAffinity(state))
        let commits = try await cluster.commits { try await cluster.host().assign("h") }
        #expect(commits == 1)
        try await cluster.expectInvariants()
        try await cluster.put(claim, BlockAffinity(state))
        try await cluster.host().assign("h", address: "10.65.77.100")
        try await cluster.expectInvariants()
        try await cluster.delete(claim)
        try await cluster.host().assign("h", address: "10.65.77.101")
        try await cluster.expectInvariants()
    }

    @Test func `a claim to another's block is dropped`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/16")
        let block = IPAMBlock(cidr: CIDR("10.65.77.64/26")!, host: "other", now: .now)
        try await cluster.put(Key.block(block.cidr), block)
        for name in ["other", "host-1"] {
            try await cluster.put(Key.affinity(host: name, block: block.cidr), BlockAffinity(.confirmed))
        }
        #expect(!block.cidr.contains(try await cluster.host().assign("h")))
        try await cluster.expectInvariants()
    }

    @Test func `claims to others' blocks are dropped some at a time: a transaction has an end`() async throws {
        let cluster = try await Cluster(pools: "10.65.0.0/16")
        for number in 0..<60 {
            let block = IPAMBlock(cidr: CIDR("10.65.\(number).64/26")!, host: "other", now: .now)
            try await cluster.put(Key.block(block.cidr), block)
            for name in ["other", "host-1"] {
                try await cluster.put(Key.affinity(host: name, block: block.cidr), BlockAffinity(.confirmed))
            }
        }
        let host = try await cluster.host()
        for claim in 1...2 {
            for _ in 0..<64 { try await host.assign("h") }
            let own = try await cluster.state().claims["host-1"] ?? []
            #expect(own.count == 60 - claim * 4 + claim)
        }
    }

    @Test func `a block idle for a minute changes hands, a younger one does not`() async throws {
        for (age, expected) in [(61.0, "host:host-1"), (30.0, "host:other")] {
            let claimed = Timestamp.text(.now.addingTimeInterval(-age))
            #expect(try await affinity(ofIdleBlockClaimed: .string(claimed)) == expected)
        }
    }

    /// Clients before Calico v3.32 leave the time out, and so does a rewrite by the old plugin. What nobody can read
    /// does not say that it is long ago.
    @Test(
        arguments: [(nil, "host:host-1"), (JSONValue.null, "host:host-1"), ("yesterday", "host:other")]
            as [(JSONValue?, String)]
    )
    func `an idle block with no claim time changes hands at once`(claimed: JSONValue?, expected: String) async throws {
        #expect(try await affinity(ofIdleBlockClaimed: claimed) == expected)
    }

    /// Whose block of another host is, the only one of its pool, once this host has asked for an address.
    private func affinity(ofIdleBlockClaimed time: JSONValue?) async throws -> String? {
        let cluster = try await Cluster(pools: "10.65.0.0/26")
        let block = IPAMBlock(cidr: CIDR("10.65.0.0/26")!, host: "other", now: .now)
        var members = try JSONDecoder().decode([String: JSONValue].self, from: StoreJSON.encode(block))
        members["affinity_claim_time"] = time
        try await cluster.put(Key.block(block.cidr), members)
        try await cluster.put(Key.affinity(host: "other", block: block.cidr), BlockAffinity(.confirmed))
        let commits = try await cluster.commits { try await cluster.host().assign("h") }
        #expect(commits == 1)
        try await cluster.expectInvariants()
        return try await cluster.state().blocks[block.cidr]?.value.affinity
    }
}

extension BlockAffinity.State {
    static let allValues: [BlockAffinity.State] = [.pending, .confirmed, .pendingDeletion]
}
