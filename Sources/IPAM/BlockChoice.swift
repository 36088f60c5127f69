// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import FoundationEssentials

// Which blocks a request may be served from, and in which order.

extension AllocationPlan {
    /// How long a block must have been another host's before its being empty means that it is not needed, in seconds
    /// (`EmptyBlockMinReclaimAge`, Calico v3.32).
    static let idleBlockAge = 60.0

    func ownBlocks(in pools: [IPPool]) -> [CIDR] {
        var own = state.blocksByAffinity["host:\(node)"] ?? []
        for (cidr, draft) in blocks {
            if draft?.isAffine(to: node) == true { own.insert(cidr) } else { own.remove(cidr) }
        }
        return own.filter { cidr in pools.contains { $0.spec.cidr.contains(cidr) } }.sorted()
    }

    /// A block this host may claim; `nil` where every block of the pools exists and serves.
    mutating func newBlock(for request: AddressRequest, in pools: [IPPool]) throws(IPAMError) -> CIDR? {
        dropStaleClaims()
        guard let cidr = unclaimedBlock(for: request, in: pools) ?? idleBlock(for: request, in: pools) else {
            return nil
        }
        guard configuration.autoAllocateBlocks else { throw .blocksNotAllocated(node: node) }
        guard ownBlocks(in: pools).count < configuration.blockLimit else {
            throw .blockLimit(configuration.blockLimit, node: node)
        }
        return cidr
    }

    /// The first block in this host's order that does not exist. A claim of ours without its block comes first: a Go
    /// client of this host died between the two.
    private func unclaimedBlock(for request: AddressRequest, in pools: [IPPool]) -> CIDR? {
        for pool in pools {
            let claims = (state.claims[node] ?? []).filter {
                pool.spec.cidr.contains($0) && $0.prefixLength == pool.spec.blockPrefixLength
            }
            let isSuitable = { (cidr: CIDR) in
                isFree(cidr) && serves(request, IPAMBlock(cidr: cidr, host: node, now: now))
            }
            if let cidr = claims.sorted().first(where: isSuitable)
                ?? order(of: pool, for: request).first(where: isSuitable)
            {
                return cidr
            }
        }
        return nil
    }

    private func isFree(_ cidr: CIDR) -> Bool {
        block(cidr) == nil && state.unreadable[Key.block(cidr)] == nil && !overlapsExisting(cidr)
    }

    /// A pool that was made again with another block size leaves blocks behind that would share addresses.
    func overlapsExisting(_ cidr: CIDR) -> Bool {
        state.blocks.keys.contains { $0 != cidr && $0.overlaps(cidr) }
            || blocks.contains { $0.key != cidr && $0.value != nil && $0.key.overlaps(cidr) }
    }

    private func idleBlock(for request: AddressRequest, in pools: [IPPool]) -> CIDR? {
        pools.lazy.flatMap(existingBlocks).first { cidr in
            guard let block = block(cidr), block.affinity?.hasPrefix("host:") == true, !block.isAffine(to: node),
                block.isEmpty, isLongClaimed(block)
            else { return false }
            return serves(request, block)
        }
    }

    /// Calico before v3.32 notes no time; such a block is old at once, as in Go. A time that nobody can read does not
    /// say that it is long ago: to Go's clients the whole block is unreadable, and they leave it alone.
    private func isLongClaimed(_ block: IPAMBlock) -> Bool {
        guard let text = block.affinityClaimTime else { return true }
        return Timestamp.date(text).map { now.timeIntervalSince($0) >= Self.idleBlockAge } ?? false
    }

    /// Blocks that exist in `pool`, in this host's order.
    func existingBlocks(in pool: IPPool) -> [CIDR] {
        let known = state.blocks.keys.filter { pool.spec.cidr.contains($0) }
        let drafted = blocks.keys.filter { pool.spec.cidr.contains($0) }
        let sorted = Set(known).union(drafted).sorted()
        let start = BlockOrder(pool: pool.spec.cidr, blockPrefixLength: pool.spec.blockPrefixLength, host: node).first
        return sorted.filter { $0 >= start } + sorted.filter { $0 < start }
    }

    private func order(of pool: IPPool, for request: AddressRequest) -> BlockOrder {
        let length = pool.spec.blockPrefixLength
        let range = request.scope.range ?? pool.spec.cidr
        // A range smaller than a block lies in just one.
        let walked = range.prefixLength > length ? CIDR(range.address, prefixLength: length)! : range
        let reserved = state.reservations.values.joined().filter { $0.overlaps(walked) }
        return BlockOrder(pool: walked, blockPrefixLength: length, host: node) { block in
            reserved.first { $0.contains(block) }?.last
        }
    }

    /// The block that holds `address`, of whatever size.
    func blockContaining(_ address: IPAddress) throws(IPAMError) -> CIDR? {
        for length in IPPoolSpec.blockSizes(address.family).reversed() {
            let cidr = CIDR(address, prefixLength: length)!
            try checkReadable(Key.block(cidr))
            if block(cidr) != nil { return cidr }
        }
        return nil
    }

    // MARK: Addresses

    func touches(_ request: AddressRequest, _ cidr: CIDR) -> Bool {
        request.scope.range.map { $0.overlaps(cidr) } ?? true
    }

    /// Whether the block has an address for this request.
    private func serves(_ request: AddressRequest, _ block: IPAMBlock) -> Bool {
        let isEligible = eligible(request)
        return touches(request, block.cidr) && block.unallocated.contains { isEligible(block.address(at: $0)) }
    }

    /// Within the request's range and not reserved.
    func eligible(_ request: AddressRequest) -> (IPAddress) -> Bool {
        let range = request.scope.range
        let reserved = state.reservations.values.flatMap(\.self)
        guard range != nil || !reserved.isEmpty else { return { _ in true } }
        return { address in range?.contains(address) ?? true && !reserved.contains { $0.contains(address) } }
    }
}
