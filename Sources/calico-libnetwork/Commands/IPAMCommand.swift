// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import ArgumentParser
import CalicoModel
import Datastore

struct IPAMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ipam", abstract: "Addresses: how many are in use, and by whom.", subcommands: [Show.self],
        defaultSubcommand: Show.self)

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show how full pools and blocks are.")
        @Flag(help: "List the blocks too.") var blocks = false
        @Option(help: "Say who holds this address.") var ip: String?
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws {
            let state = try await CommandStore.open(settings).state
            if let ip { return try showAddress(ip, state) }
            let usage = Usage(state, blocks: blocks)
            try output.print(usage) {
                "\(poolTable(usage))" + (usage.blocks.map { "\n\n\(blockTable($0))" } ?? "")
            }
        }

        private func poolTable(_ usage: Usage) -> Table {
            Table(
                titles: ["POOL", "CIDR", "ADDRESSES", "IN USE", "FREE"],
                rows: usage.pools.map { [$0.name, $0.cidr, $0.capacity, "\($0.inUse)", $0.free] })
        }

        private func blockTable(_ blocks: [BlockUsage]) -> Table {
            Table(
                titles: ["BLOCK", "OWNER", "ADDRESSES", "IN USE", "FREE"],
                rows: blocks.map {
                    [$0.cidr, $0.affinity ?? "nobody", "\($0.capacity)", "\($0.inUse)", "\($0.free)"]
                })
        }

        private func showAddress(_ text: String, _ state: ClusterState) throws {
            guard let address = IPAddress(text) else {
                throw ArgumentParser.ValidationError("--ip \(text): wants an IP address")
            }
            let facts = AddressFacts(address, in: state)
            try output.print(facts) {
                let place = facts.pool.map { " in pool \($0)" } ?? ", in no pool"
                let owner = (facts.owner ?? [:]).sorted { $0.key < $1.key }.map { "\n  \($0.key): \($0.value)" }
                return "\(address) is \(facts.owner == nil ? "free" : "in use")\(place)\(owner.joined())"
            }
        }
    }

    struct Usage: Encodable {
        let pools: [PoolUsage]
        let blocks: [BlockUsage]?
        let handles: Int

        init(_ state: ClusterState, blocks: Bool) {
            pools =
                state.poolsInOrder.map { PoolUsage($0, in: state) } + [PoolUsage(orphansIn: state)].compactMap(\.self)
            self.blocks =
                blocks ? state.blocks.values.map(\.value).sorted { $0.cidr < $1.cidr }.map(BlockUsage.init) : nil
            handles = state.handles.count
        }
    }
}

/// How full a pool is. Counts of IPv6 addresses exceed every integer that programs have, so totals are text.
struct PoolUsage: Encodable {
    let name: String
    let cidr: String
    let capacity: String
    let inUse: Int
    let free: String

    init(_ pool: IPPool, in state: ClusterState) {
        let blocks = state.blocks.values.map(\.value).filter { pool.spec.cidr.contains($0.cidr) }
        let used = blocks.reduce(0) { $0 + $1.size - $1.unallocated.count }
        let hostBits = pool.spec.cidr.hostBits
        name = pool.name
        cidr = pool.spec.cidr.description
        inUse = used
        capacity = hostBits < 64 ? "\(UInt64(1) << UInt64(hostBits))" : "2^\(hostBits)"
        free = hostBits < 64 ? "\((UInt64(1) << UInt64(hostBits)) - UInt64(used))" : "2^\(hostBits)"
    }

    /// The blocks that lie in no pool, by the name that Calico's clients give them (`GetUtilization`); `nil` where there
    /// are none.
    init?(orphansIn state: ClusterState) {
        let blocks = state.blocks.values.map(\.value).filter { state.pool(containing: $0.cidr) == nil }
        guard !blocks.isEmpty else { return nil }
        let unused = blocks.reduce(0) { $0 + $1.unallocated.count }
        let size = blocks.reduce(0) { $0 + $1.size }
        name = "orphaned allocation blocks"
        cidr = "0.0.0.0/0"
        (inUse, capacity, free) = (size - unused, "\(size)", "\(unused)")
    }
}

struct BlockUsage: Encodable {
    let cidr: String
    let affinity: String?
    let capacity: Int
    let inUse: Int
    let free: Int

    init(_ block: IPAMBlock) {
        cidr = block.cidr.description
        affinity = block.affinity
        capacity = block.size
        free = block.unallocated.count
        inUse = block.size - block.unallocated.count
    }
}

/// One address: its pool, its block, who holds it.
struct AddressFacts: Encodable {
    let address: String
    let pool: String?
    let block: String?
    let owner: [String: String]?

    init(_ address: IPAddress, in state: ClusterState) {
        self.address = address.description
        pool = state.pool(containing: address)?.name
        block = state.block(containing: address)?.value.cidr.description
        var facts = state.owner(of: address)?.secondary
        facts?["handle"] = state.owner(of: address)?.handleID
        facts?["endpoint"] = state.endpoint(using: address)?.value.spec.endpoint
        owner = facts
    }
}
