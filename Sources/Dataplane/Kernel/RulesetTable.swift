// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import BlockingExecutor
import CalicoModel
import LinuxNetwork
import Logging

/// Keeps our nftables table what the cluster's values make it.
///
/// While one transaction runs, changes gather; the next one carries them all.
actor RulesetTable {
    private let executor = BlockingExecutor(label: "nftables")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let namespace: NetworkNamespace
    private let logger: Logger
    private let node: String
    private let options: RulesetOptions
    private var index: PolicyIndex
    private var nftables: Nftables?
    private var nextCommit: Task<Void, any Error>?
    /// What came before the full state did. Until then the last process's rules stay.
    private var early: [ClusterChange]? = []
    private var isLoaded = false
    private var isStopped = false
    /// Where Felix is, the rest of the rules is its business.
    private var master = Master.builtin

    init(node: String, options: RulesetOptions, namespace: NetworkNamespace, logger: Logger) {
        self.node = node
        self.options = options
        self.namespace = namespace
        self.logger = logger
        index = PolicyIndex(node: node, options: options)
    }

    /// Replaces our table by the one for `state`.
    func load(
        _ state: [ClusterChange], dockerInterfaces: Set<InterfaceName>, siblings: [InterfaceName: Siblings]
    ) throws {
        index = PolicyIndex(node: node, options: options, state: state)
        for (interface, others) in siblings { index.setSiblings(others, of: interface) }
        index.setDockerInterfaces(dockerInterfaces)
        early?.forEach { index.apply($0) }
        try reload()
        early = nil
    }

    /// Puts all our rules in force, or leaves only those that Felix does not have. No packet falls between.
    func setMaster(_ master: Master) throws {
        let former = self.master
        guard former != master else { return }
        self.master = master
        guard early == nil else { return }
        do { try reload() } catch {
            self.master = former
            throw error
        }
    }

    /// Whether rules of ours decide about containers' packets, also those of a process that is no more.
    func isPolicing() throws -> Bool { try hasRules(Self.policingChain) }

    private static let policingChain = "forward-from"
    private static let publishingChain = "publish-incoming"

    /// Returns once the changes are in force.
    func apply(_ changes: [ClusterChange]) async throws {
        guard early == nil else {
            early? += changes
            return
        }
        changes.forEach { index.apply($0) }
        try await commitment().value
    }

    func setDockerInterfaces(_ names: Set<InterfaceName>) async throws {
        index.setDockerInterfaces(names)
        guard early == nil else { return }
        try await commitment().value
    }

    /// Returns once they are in force.
    func setSiblings(_ siblings: [InterfaceName: Siblings]) async throws {
        guard !siblings.isEmpty else { return }
        for (interface, others) in siblings { index.setSiblings(others, of: interface) }
        guard early == nil else { return }
        try await commitment().value
    }

    /// Loads our table again if someone has removed or emptied it, or if that failed the last time.
    func verify() throws {
        guard early == nil, !isStopped else { return }
        guard isLoaded else { return try reload() }
        let chains = master == .felix ? [Self.publishingChain] : ["raw", Self.policingChain]
        for chain in chains where try !hasRules(chain) {
            logger.warning("our nftables rules are gone; loading them again", metadata: ["chain": "\(chain)"])
            return try reload()
        }
    }

    /// Once this returns, rules that are missing stay so. Those of whoever comes next would be taken for damage.
    func stop() { isStopped = true }

    private func hasRules(_ chain: String) throws -> Bool {
        try withNftables { try $0.hasRules(chain) }
    }

    /// Whose rules decide about containers' packets, as this process's network namespace has it; `nil` where a daemon
    /// has not loaded any yet.
    static func masterInForce() throws -> Master? {
        let nftables = try Nftables()
        if try nftables.hasRules(policingChain) { return .builtin }
        return try nftables.hasRules(publishingChain) ? .felix : nil
    }

    /// The transaction that will carry what is in the index now.
    ///
    /// Its job queues behind the calls that already wait for this actor, so it takes their changes along.
    private func commitment() -> Task<Void, any Error> {
        if let nextCommit { return nextCommit }
        let task = Task { try self.commit() }
        nextCommit = task
        return task
    }

    private func commit() throws {
        nextCommit = nil
        guard isLoaded else { return try reload() }
        let commands = ruleset.commands(after: restricted(index.takeChanges()))
        guard !commands.isEmpty else { return }
        do {
            try withNftables { try $0.run(commands) }
        } catch {
            logger.error("a change of our nftables rules failed; loading all of them", metadata: ["error": "\(error)"])
            try reload()
        }
    }

    private func reload() throws {
        isLoaded = false
        _ = index.takeChanges()
        let ruleset = ruleset
        try withNftables { try TableReplacement(nftables: $0).load(ruleset) }
        isLoaded = true
    }

    private var ruleset: Ruleset {
        master == .felix ? index.ruleset.restricted(to: HostRules.publishing) : index.ruleset
    }

    private func restricted(_ changes: RulesetChanges) -> RulesetChanges {
        master == .felix ? changes.restricted(to: HostRules.publishing) : changes
    }

    private func withNftables<Result>(_ body: (Nftables) throws -> Result) throws -> Result {
        try namespace.run {
            let nftables = try nftables ?? Nftables()
            self.nftables = nftables
            return try body(nftables)
        }
    }
}

extension Nftables {
    /// Whether a chain of our table is there, and not empty.
    fileprivate func hasRules(_ chain: String) throws -> Bool {
        do {
            return try query("list chain \(Ruleset.table) \(chain)", elements: false).contains("\"rule\"")
        } catch let error as NftablesError where error.isAbsent {
            return false
        }
    }
}
