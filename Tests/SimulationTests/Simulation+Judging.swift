// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore

// What must hold at every moment, and in the end.

extension Simulation {
    /// Every write is a compare-and-swap, whether it succeeds or not.
    func judgeConditions(of transaction: Transaction, by client: Client) {
        let proven = Set(transaction.preconditions.map(\.key))
        for write in transaction.writes where !proven.contains(write.key) {
            fail("\(client.name) wrote \(write.key) blindly")
        }
    }

    /// Judges what `client` has just committed.
    func judge(_ changes: [Change], before: [Key: Change], by client: Client) {
        // libcalico-go's IPAM does not ask; its callers do, before they begin.
        if isLocked, !client.isGo { fail("\(client.name) wrote while the datastore was locked") }
        for change in changes {
            lastWriters[change.key] = client
            if Key.blocks.isPrefix(of: change.key) {
                judgeBlock(change, before[change.key], client)
            } else if Key.handles.isPrefix(of: change.key) {
                judgeHandle(change.key)
            } else if Key.affinities.isPrefix(of: change.key) {
                judgeClaim(change.key)
            }
        }
    }

    private func judgeBlock(_ change: Change, _ before: Change?, _ client: Client) {
        let old = (try? before?.decoded(IPAMBlock.self)) ?? nil
        let new = (try? change.decoded(IPAMBlock.self)) ?? nil
        check(ledger.judge(old, new))
        guard let new else { return }
        do { try new.checkInvariants() } catch { fail("\(error)") }
        judgeNumber(old, new)
        if let old { judgeQueue(old, new, client) }
        judgeOwners(old, new, client)
        judgeCounts(new)
        judgeClaim(of: new)
        if scenario.decodes, let value = change.value {
            let decoded = try? StoreJSON.decode(IPAMBlock.self, value, at: change.key)
            if decoded != new { fail("\(new.cidr) reads differently than it was written") }
        }
    }

    /// A number grows from write to write, and a block made again has none of its former lives' numbers. (It may be a
    /// lower one: whoever thought of it first may come last.)
    private func judgeNumber(_ old: IPAMBlock?, _ new: IPAMBlock) {
        let number = new.sequenceNumber
        if let old {
            if old.sequenceNumber >= number { fail("\(new.cidr) was written without a new number") }
        } else if let lives = numbered[new.cidr] {
            counts.remade += 1
            // A message that arrives twice, and the second time finds nothing once more, writes the same as the first.
            if let former = lives[number], former != new {
                fail("\(new.cidr) was made again with its old number \(number)")
            }
        }
        numbered[new.cidr, default: [:]][number] = new
    }

    /// What is free keeps its place, and what is freed goes to the end. A commit of several requests may take an address
    /// and free it again, which looks as if it had lost its place: that may be seen, rarely.
    private func judgeQueue(_ old: IPAMBlock, _ new: IPAMBlock, _ client: Client) {
        let free = Set(new.unallocated)
        guard !new.unallocated.starts(with: old.unallocated.filter(free.contains)) else { return }
        guard client.isGo else { return counts.requeued += 1 }
        fail("\(new.cidr) had the queue \(old.unallocated) and now has \(new.unallocated)")
    }

    private func judgeOwners(_ old: IPAMBlock?, _ new: IPAMBlock, _ client: Client) {
        for (address, owner) in new.assignments where !owner.isCoolingDown {
            guard let node = owner.node else { return fail("\(address) has no node") }
            guard !new.isAffine(to: node), old?.owner(of: address) != owner else { continue }
            counts.borrowed += 1
            if scenario.configuration.strictAffinity { fail("\(node) borrowed \(address) despite strict affinity") }
        }
        guard old?.affinity != new.affinity else { return }
        guard let affinity = new.affinity else { return judgeAbandonment(new, client) }
        if old?.assignments.contains(where: { new.owner(of: $0.address) == $0.owner }) == true {
            fail("\(new.cidr) changed hands while its addresses were held")
        }
        if old?.affinity != nil { counts.reclaimed += 1 }
        // Blocks of a pool that an administrator has withdrawn do not count, here as in Go.
        let limit = scenario.configuration.maxBlocksPerHost
        let owned = allBlocks.count { $0.affinity == affinity }
        if limit > 0, owned > limit, !client.isGo, !scenario.isAdministered {
            fail("\(affinity) has \(owned) blocks, more than \(limit)")
        }
        if let other = allBlocks.first(where: { $0.cidr != new.cidr && $0.cidr.overlaps(new.cidr) }) {
            fail("\(new.cidr) overlaps \(other.cidr)")
        }
    }

    /// A block in use loses its host when that is removed, which only Go's clients do here. Whoever holds an address of it
    /// keeps it; an empty block is deleted instead.
    private func judgeAbandonment(_ block: IPAMBlock, _ client: Client) {
        counts.abandoned += 1
        if !client.isGo { fail("\(client.name) left \(block.cidr) to nobody") }
        if block.isEmpty { fail("\(block.cidr) was left to nobody, though it is empty") }
    }

    /// A handle may count too much for a moment, and for ever after a crash of a Go client, but never too little.
    private func judgeCounts(_ block: IPAMBlock) {
        for handle in Set(block.attributes.compactMap(\.handleID)) {
            let count = handleCount(handle, block.cidr)
            let held = block.assignments.count { $0.owner.handleID == handle }
            if count < held { fail("handle \(handle) counts \(count) in \(block.cidr), which says \(held)") }
        }
    }

    private func judgeHandle(_ key: Key) {
        for block in allBlocks {
            let held = block.assignments.count { $0.owner.handleID == key.lastSegment }
            let count = handleCount(key.lastSegment, block.cidr)
            if count < held { fail("handle \(key.lastSegment) counts \(count) in \(block.cidr), which says \(held)") }
        }
    }

    /// A confirmed claim is to a block of that host.
    private func judgeClaim(_ key: Key) {
        guard let claim = keys.value(key, BlockAffinity.self), claim.state == .confirmed, let cidr = key.blockCIDR,
            let host = key.affinityHost
        else { return }
        guard keys.value(Key.block(cidr), IPAMBlock.self)?.isAffine(to: host) != true else { return }
        fail("\(host) has confirmed its claim to \(cidr), which is not its")
    }

    /// No other host keeps a confirmed claim to a block that changes hands.
    private func judgeClaim(of block: IPAMBlock) {
        for host in Set(processes.map(\.plan.name)) { judgeClaim(Key.affinity(host: host, block: block.cidr)) }
    }

    var allBlocks: [IPAMBlock] {
        keys.entries.values.compactMap { Key.blocks.isPrefix(of: $0.key) ? try? $0.decoded(IPAMBlock.self) : nil }
    }

    func handleCount(_ handle: String, _ cidr: CIDR) -> Int {
        keys.value(Key.handle(handle), IPAMHandle.self)?.blocks[cidr.description] ?? 0
    }

    // MARK: At rest

    /// All requests are answered: whoever met no fault has left nothing that nobody will release.
    func checkLeftovers() {
        for (index, process) in processes.enumerated() where !process.isTroubled {
            for orphan in ledger.orphans(of: index) where ledger[orphan.id] != .maybeReleased {
                fail("\(process.plan.name) left \(orphan.address) to \(orphan.id), which is \(ledger[orphan.id]!)")
            }
        }
    }

    func checkFinalState() {
        checkAllocations()
        checkCounts()
        checkClaims()
        for process in processes {
            if let plugin = process.plugin { check(plugin.difference(from: keys)) }
        }
    }

    private func checkAllocations() {
        for (id, request) in ledger.requests.sorted(by: { $0.key < $1.key }) {
            switch request.fate {
            case .held where ledger.allocated[id] != request.address:
                fail("\(id) was given \(request.address!), which is \(ledger.allocated[id].map { "\($0)" } ?? "free")")
            case .held: break
            case .open, .releasing: fail("\(id) was never answered")
            default:
                if let address = ledger.allocated[id] { fail("\(address) is lost: \(id) is \(request.fate)") }
            }
        }
    }

    private func checkCounts() {
        var held: [String: [String: Int]] = [:]
        for block in allBlocks {
            for (_, owner) in block.assignments where !owner.isCoolingDown {
                held[owner.handleID ?? "", default: [:]][block.cidr.description, default: 0] += 1
            }
        }
        for change in keys.list(Key.handles) {
            guard let handle = try? change.decoded(IPAMHandle.self) else { continue }
            let id = change.key.lastSegment
            if handle.blocks != held[id] ?? [:], !mayCountTooMuch(id) {
                fail("handle \(id) counts \(handle.blocks), the blocks say \(held[id] ?? [:])")
            }
        }
    }

    /// A Go client that died, or was refused, between handle and block.
    private func mayCountTooMuch(_ handle: String) -> Bool {
        processes.contains {
            $0.plan.role == .go && $0.isTroubled && (handle == "shared" || handle.hasPrefix("go."))
        }
    }

    private func checkClaims() {
        for block in allBlocks {
            guard let host = block.affinity?.dropFirst("host:".count) else { continue }
            let claim = keys.value(Key.affinity(host: String(host), block: block.cidr), BlockAffinity.self)
            if claim?.state != .confirmed, !isLeftByGo(Key.affinity(host: String(host), block: block.cidr)) {
                fail("\(block.cidr) is \(host)'s, whose claim is \(claim.map { "\($0.state)" } ?? "absent")")
            }
        }
        for change in keys.list(Key.affinities) where !isLeftByGo(change.key) {
            guard let cidr = change.key.blockCIDR, let host = change.key.affinityHost,
                keys.value(Key.block(cidr), IPAMBlock.self)?.isAffine(to: host) != true
            else { continue }
            fail("\(host) claims \(cidr), which is not its")
        }
    }

    /// A claim that was last written by a Go client, which does it before and after the block.
    private func isLeftByGo(_ key: Key) -> Bool { lastWriters[key]?.isGo == true }
}
