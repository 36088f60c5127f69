// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import ArgumentParser
import CalicoModel
import Datastore
import IPAM

struct PoolCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pool", abstract: "IP pools: the ranges that containers' addresses come from.",
        subcommands: [List.self, Show.self, Create.self, Enable.self, Disable.self, Delete.self],
        defaultSubcommand: List.self)

    /// A pool as programs read it.
    struct Row: Encodable {
        let name: String
        let cidr: String
        let blockSize: Int
        let natOutgoing: Bool
        let vxlanMode: String
        let nodeSelector: String
        let disabled: Bool
        /// As in ``PoolUsage``.
        let capacity: String
        let inUse: Int
        let free: String
        let created: String?

        init(_ pool: IPPool, in state: ClusterState) {
            let usage = PoolUsage(pool, in: state)
            (capacity, inUse, free) = (usage.capacity, usage.inUse, usage.free)
            name = pool.name
            cidr = pool.spec.cidr.description
            blockSize = pool.spec.blockPrefixLength
            natOutgoing = pool.spec.natOutgoing
            vxlanMode = pool.spec.vxlanMode.rawValue
            nodeSelector = pool.spec.nodeSelector ?? "all()"
            disabled = pool.spec.disabled
            created = pool.metadata.creationTimestamp
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the pools.")
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws {
            let state = try await CommandStore.open(settings).state
            try output.print(
                state.poolsInOrder.map { Row($0, in: state) },
                columns: [
                    ("NAME", \.name), ("CIDR", \.cidr), ("BLOCK", { "/\($0.blockSize)" }),
                    ("NAT", { $0.natOutgoing ? "yes" : "no" }), ("VXLAN", \.vxlanMode), ("NODES", \.nodeSelector),
                    ("STATE", { $0.disabled ? "disabled" : "enabled" }),
                ])
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one pool.")
        @Argument(help: "The pool's name.") var name: String
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws {
            let state = try await CommandStore.open(settings).state
            let pool = Row(try state.pool(named: name), in: state)
            try output.print(pool) {
                Table(
                    titles: ["name", pool.name],
                    rows: [
                        ["CIDR", pool.cidr], ["block size", "/\(pool.blockSize)"],
                        ["NAT outgoing", pool.natOutgoing ? "yes" : "no"], ["VXLAN", pool.vxlanMode],
                        ["nodes", pool.nodeSelector], ["state", pool.disabled ? "disabled" : "enabled"],
                        ["in use", "\(pool.inUse) of \(pool.capacity)"], ["created", pool.created ?? "unknown"],
                    ])
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a pool.",
            discussion: "Example: calico-libnetwork pool create web --cidr 10.65.0.0/16 --nat-outgoing")
        @Argument(help: "Its name: lower-case letters, digits, '-' and '.'.") var name: String
        @Option(help: "The range, e.g. 10.65.0.0/16 or fd00:65::/48.") var cidr: String
        @Option(help: "Prefix length of the blocks that hosts claim: 20-32 or 116-128. (default: 26 or 122)")
        var blockSize: Int?
        @Flag(help: "Give packets that leave all pools the host's address.") var natOutgoing = false
        @Option(help: "Stored with the pool, not carried out yet: never, always or cross-subnet.") var vxlan = "never"
        @Option(help: "Only nodes with matching labels take addresses from here.") var nodeSelector: String?
        @Flag(help: "No address comes from here until 'pool enable'.") var disabled = false
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws {
            let pool = try self.pool()
            let command = try await CommandStore.open(settings, creatingFile: true)
            try await command.commit { try $0.creating(pool) }
            try output.print(Row(pool, in: command.state)) {
                let spec = pool.spec
                return "pool \(name) created: \(spec.cidr), blocks of /\(spec.blockPrefixLength)"
                    + (spec.vxlanMode == .never ? "" : "\nVXLAN is stored with the pool and not carried out yet")
            }
        }

        /// - Throws: for exit status 64, where an argument is wrong.
        private func pool() throws -> IPPool {
            guard let range = AddressWithPrefix(cidr) else {
                throw ArgumentParser.ValidationError("--cidr \(cidr): wants a range such as 10.65.0.0/16")
            }
            guard range.address == range.network.address else {
                throw ArgumentParser.ValidationError("--cidr \(cidr): has host bits; do you mean \(range.network)?")
            }
            guard let mode = IPPoolSpec.Encapsulation(word: vxlan) else {
                throw ArgumentParser.ValidationError("--vxlan \(vxlan): wants never, always or cross-subnet")
            }
            var spec = IPPoolSpec(cidr: range.network)
            spec.blockSize = blockSize ?? IPPoolSpec.defaultBlockSize(spec.family)
            spec.natOutgoing = natOutgoing
            spec.vxlanMode = mode
            spec.nodeSelector = nodeSelector ?? "all()"
            spec.disabled = disabled
            let pool = IPPool(metadata: ResourceMetadata(name: name).asCreated(), spec: spec)
            do { try pool.validate() } catch { throw ArgumentParser.ValidationError("\(error)") }
            return pool
        }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let addresses come from a pool.")
        @Argument(help: "The pool's name.") var name: String
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws { try await PoolCommand.set(name, disabled: false, settings, output) }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let no new address come from a pool. Those in use stay.")
        @Argument(help: "The pool's name.") var name: String
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws { try await PoolCommand.set(name, disabled: true, settings, output) }
    }

    private static func set(
        _ name: String, disabled: Bool, _ settings: SettingOptions, _ output: OutputOptions
    ) async throws {
        let command = try await CommandStore.open(settings)
        try await command.commit { state in
            // Calico allows what is smaller than a block as long as it is disabled.
            var pool = try state.pool(named: name)
            pool.spec.disabled = disabled
            if !disabled { try pool.validate() }
            return try state.setting(name, disabled: disabled)
        }
        try output.print(Row(command.state.pool(named: name), in: command.state)) {
            "pool \(name) is \(disabled ? "disabled" : "enabled")"
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a pool that no container or network uses.")
        @Argument(help: "The pool's name.") var name: String
        @Flag(help: "Say what would happen, change nothing.") var dryRun = false
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws {
            let command = try await CommandStore.open(settings)
            let pool = try command.state.pool(named: name)
            try command.state.checkUnused(pool)
            let row = Row(pool, in: command.state)
            let blocks = command.state.blocks.keys.count { pool.spec.cidr.contains($0) }
            guard !dryRun else {
                return try output.print(row) {
                    "would delete pool \(name) and its \(blocks) empty block\(blocks == 1 ? "" : "s")"
                }
            }
            try await command.delete(pool)
            try output.print(row) { "pool \(name) deleted" }
        }
    }
}

extension ClusterState {
    func pool(named name: String) throws -> IPPool {
        guard let pool = pools[name]?.value else {
            let names = pools.keys.sorted()
            throw ValidationFailure(
                "there is no pool \(name); the pools are \(names.isEmpty ? "none" : names.joined(separator: ", "))")
        }
        return pool
    }

    func creating(_ pool: IPPool) throws -> Transaction {
        guard pools[pool.name] == nil else { throw ValidationFailure("pool \(pool.name) exists already") }
        if let other = poolsInOrder.first(where: { $0.spec.cidr.overlaps(pool.spec.cidr) }) {
            throw ValidationFailure("\(pool.spec.cidr) overlaps pool \(other.name) (\(other.spec.cidr))")
        }
        if let block = blocks.keys.first(where: {
            pool.spec.cidr.contains($0) && $0.prefixLength != pool.spec.blockPrefixLength
        }) {
            throw ValidationFailure(
                "block \(block) of a former pool is still there; use --block-size \(block.prefixLength)")
        }
        return Transaction(if: [.absent(pool.key)], writes: [.put(pool.key, pool)])
    }

    /// - Throws: naming who uses the pool.
    func checkUnused(_ pool: IPPool) throws {
        let users = networks.values.map(\.value).filter { $0.pools.contains(pool.name) }
        guard users.isEmpty else {
            let names = users.map { $0.name ?? String($0.id.prefix(12)) }.sorted().joined(separator: ", ")
            throw ValidationFailure(
                "pool \(pool.name) is used by network \(names); remove that first (docker network rm)")
        }
        // One that says nothing to us may have addresses in use.
        for key in unreadable.keys where Key.blocks.isPrefix(of: key) {
            if let cidr = key.blockCIDR, pool.spec.cidr.contains(cidr) { try checkReadable(key) }
        }
        let inUse = PoolUsage(pool, in: self).inUse
        guard inUse == 0 else {
            throw ValidationFailure(
                "\(inUse) addresses of pool \(pool.name) are in use; see: calico-libnetwork endpoint list")
        }
    }

    /// Switches a pool off or on. Empty where it is so already.
    /// - Throws: where there is no such pool.
    func setting(_ name: String, disabled: Bool) throws -> Transaction {
        var pool = try self.pool(named: name)
        guard let seen = pools[name], pool.spec.disabled != disabled else { return Transaction() }
        pool.spec.disabled = disabled
        return Transaction(if: [.unchanged(pool.key, since: seen.revision)], writes: [.put(pool.key, pool)])
    }
}
