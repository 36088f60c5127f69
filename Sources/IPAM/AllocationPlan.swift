// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import FoundationEssentials

/// What a batch of requests does to the datastore, worked out on a copy of its state: pure, and valid only if nothing
/// it relied on has changed, which its transaction proves.
///
/// A step that throws may leave traces: take it on a copy (see `AddressAllocator.Draft`).
struct AllocationPlan {
    let state: ClusterState
    let node: String
    let now: Date

    /// What the requests so far have changed; `nil` inside means deletion.
    private(set) var blocks: [CIDR: IPAMBlock?] = [:]
    private var affinities: [Key: BlockAffinity?] = [:]
    private var handles: [String: IPAMHandle] = [:]
    private var endpoints: [Key: WorkloadEndpoint?] = [:]
    /// Values the plan relies on without changing them.
    private var reliedOn: [Key: Transaction.Precondition] = [:]

    init(state: ClusterState, node: String, now: Date) {
        self.state = state
        self.node = node
        self.now = now
    }

    var configuration: IPAMConfiguration { state.ipamConfiguration?.value ?? IPAMConfiguration() }

    // MARK: Reading

    /// The block as the plan would leave it, less what has cooled down.
    func block(_ cidr: CIDR) -> IPAMBlock? {
        if let draft = blocks[cidr] { return draft }
        guard var block = state.blocks[cidr]?.value else { return nil }
        block.collectCooledDown(after: configuration.cooldownSeconds, now: now)
        return block
    }

    func checkReadable(_ key: @autoclosure () -> Key) throws(IPAMError) { try state.checkReadable(key()) }

    mutating func relyOnUnlocked() throws(IPAMError) { rely(on: try state.provingUnlocked()) }

    mutating func relyOnConfiguration() throws(IPAMError) {
        try checkReadable(.ipamConfiguration)
        rely(on: .asSeen(.ipamConfiguration, state.ipamConfiguration?.revision))
    }

    mutating func rely(on pool: IPPool) { rely(on: .asSeen(pool.key, state.pools[pool.name]?.revision)) }

    private mutating func rely(on precondition: Transaction.Precondition) {
        reliedOn[precondition.key] = precondition
    }

    // MARK: Drafts

    /// Notes that `owner` now holds one more address of `block`.
    mutating func take(_ block: IPAMBlock, for owner: AllocationAttributes) throws(IPAMError) {
        blocks.updateValue(block, forKey: block.cidr)
        guard let id = owner.handleID else { return }
        try checkReadable(Key.handle(id))
        var handle = handles[id] ?? state.handles[id]?.value ?? IPAMHandle()
        handle.increment(block.cidr)
        handles[id] = handle
    }

    /// Notes that a handle holds one address less. A handle nobody can read may over-count: readers expect that.
    mutating func discount(_ id: String?, _ cidr: CIDR) {
        guard let id else { return }
        // One that is not there must be proven not to be: the copy may have learnt of the block before its handle.
        var handle = handles[id] ?? state.handles[id]?.value ?? IPAMHandle()
        handle.decrement(cidr)
        handles[id] = handle
    }

    mutating func leave(_ block: IPAMBlock) { blocks.updateValue(block, forKey: block.cidr) }

    /// Deletes the block and this host's claim to it.
    mutating func delete(_ block: IPAMBlock) {
        blocks.updateValue(nil, forKey: block.cidr)
        if block.isAffine(to: node) { affinities.updateValue(nil, forKey: Key.affinity(host: node, block: block.cidr)) }
    }

    /// The block as it is once this host has claimed it, fresh or taken over; the claim is part of the transaction.
    mutating func claimed(_ cidr: CIDR) -> IPAMBlock {
        var block = self.block(cidr) ?? IPAMBlock(cidr: cidr, host: node, now: now)
        if let former = block.affinity, former != "host:\(node)", former.hasPrefix("host:") {
            affinities.updateValue(nil, forKey: Key.affinity(host: String(former.dropFirst(5)), block: cidr))
            block.claim(for: node, now: now)
        }
        let claim = Key.affinity(host: node, block: cidr)
        // A claim that need not be written may be gone already.
        if state.unreadable[claim] == nil { rely(on: .asSeen(claim, state.affinities[claim]?.revision)) }
        confirmAffinity(cidr)
        return block
    }

    mutating func confirmAffinity(_ cidr: CIDR) {
        let key = Key.affinity(host: node, block: cidr)
        let present = affinities[key] ?? state.affinities[key]?.value
        guard present?.state != .confirmed, state.unreadable[key] == nil else { return }
        var affinity = state.affinities[key]?.value ?? BlockAffinity(.confirmed)
        affinity.state = .confirmed
        affinities.updateValue(affinity, forKey: key)
    }

    /// Each costs a write and two preconditions.
    private static let staleClaimLimit = 4

    /// Deletes claims of this host to blocks that say they are not its: their routes would lead nowhere. Some at a time,
    /// and always the same in one plan; the next plan finds the others.
    mutating func dropStaleClaims() {
        let claimed = (state.claims[node] ?? []).sorted().compactMap { state.blocks[$0] }
        let stale = claimed.filter { !$0.value.isAffine(to: node) }
        for seen in stale.prefix(Self.staleClaimLimit) where blocks[seen.value.cidr] == nil {
            affinities.updateValue(nil, forKey: Key.affinity(host: node, block: seen.value.cidr))
            rely(on: .unchanged(Key.block(seen.value.cidr), since: seen.revision))
        }
    }

    /// An endpoint of this node that still names `address` loses it, and with its last address is deleted.
    mutating func detach(_ address: IPAddress) {
        guard let key = state.endpointsByAddress[address], let seen = state.endpoints[key],
            seen.value.spec.node == node, var endpoint = endpoints[key] ?? seen.value
        else { return }
        endpoint.spec.ipNetworks.removeAll { $0.address == address }
        endpoints.updateValue(endpoint.spec.ipNetworks.isEmpty ? nil : endpoint, forKey: key)
    }

    // MARK: Transaction

    /// Whether one more request fits. etcd accepts 128 writes and as many preconditions (`--max-txn-ops`); a request needs
    /// at most 4 and 5 of them, and stale claims theirs once.
    var hasRoom: Bool {
        let preconditions = blocks.count + affinities.count + handles.count + endpoints.count + reliedOn.count
        return preconditions + 5 + 2 * Self.staleClaimLimit <= 128
    }

    /// Everything this plan changes, provided that nothing it looked at has changed.
    var transaction: Transaction {
        var transaction = Transaction()
        func change<Value: Encodable & Sendable>(_ key: Key, _ value: Value?, _ seen: Versioned<Value>?) {
            // What cannot be read is left alone.
            guard state.unreadable[key] == nil else { return }
            transaction.change(key, value, seen)
        }
        for (cidr, draft) in blocks { change(Key.block(cidr), draft.map(advanced), state.blocks[cidr]) }
        for (key, draft) in affinities { change(key, draft, state.affinities[key]) }
        for (id, draft) in handles { change(Key.handle(id), draft.isEmpty ? nil : draft, state.handles[id]) }
        for (key, draft) in endpoints { change(key, draft, state.endpoints[key]) }
        guard !transaction.writes.isEmpty else { return transaction }
        let written = Set(transaction.writes.map(\.key))
        transaction.preconditions += reliedOn.values.filter { !written.contains($0.key) }
        return transaction
    }

    private func advanced(_ block: IPAMBlock) -> IPAMBlock {
        var block = block
        block.advanceSequence(past: state.blocks[block.cidr]?.value.sequenceNumber ?? 0)
        return block
    }
}

extension Transaction {
    /// One key's change, on the condition that it is as it was seen.
    fileprivate mutating func change<Value: Encodable & Sendable>(
        _ key: Key, _ value: Value?, _ seen: Versioned<Value>?
    ) {
        preconditions.append(.asSeen(key, seen?.revision))
        // Created and deleted within one plan, or absent before and after: nothing happens.
        guard value != nil || seen != nil else { return }
        writes.append(value.map { .put(key, $0) } ?? .delete(key))
    }
}
