// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM

// Assigning and releasing addresses.

extension GoClient {
    func assign(_ id: String, _ request: AddressRequest) async {
        do {
            let address =
                if let address = request.address { try await assign(address, request.owner) } else {
                    try await assignAny(request.owner)
                }
            await simulation.answered(id, address, to: client)
        } catch {
            await simulation.refused(id, "\(error)", .nothingDone, to: client)
        }
    }

    func release(_ id: String, _ address: IPAddress, _ owner: AllocationAttributes) async {
        do {
            let found = try await release(address, of: owner)
            await simulation.released(id, found, by: client)
        } catch {
            await simulation.failedToRelease(id, "\(error)", .nothingDone, by: client)
        }
    }

    // MARK: Any address

    private struct Search {
        var pools: [IPPool]
        var configuration: IPAMConfiguration
        var reserved: [CIDR]
        var candidates: [CIDR]
        var owned: Int
    }

    private func assignAny(_ owner: AllocationAttributes) async throws -> IPAddress {
        var search = try await prepareSearch()
        while true {
            do {
                let block = try await findOrClaimBlock(&search)
                if let address = try await assign(
                    in: block, owner, search, mustBeOwn: search.configuration.strictAffinity)
                {
                    return address
                }
            } catch let error as Failure {
                guard error == .noFreeBlocks else { throw error }
                guard !search.configuration.strictAffinity else { throw error }
                return try await borrow(owner, search)
            }
        }
    }

    private func prepareSearch() async throws -> Search {
        let configuration = try await get(.ipamConfiguration, IPAMConfiguration.self)?.value ?? IPAMConfiguration()
        let reserved = try await list(Key.resources(IPReservationSpec.self), IPReservation.self).flatMap {
            $0.seen.value.spec.reservedCIDRs.compactMap { CIDR(lenient: $0) }
        }
        let node = try await get(Key.resource(NodeSpec.self, name: host), Node.self)
        let enabled = try await list(Key.resources(IPPoolSpec.self), IPPool.self).map(\.seen.value).filter {
            $0.isAllocatable && $0.spec.family == simulation.scenario.family
        }
        let labels = node?.value.metadata.labels ?? [:]
        let pools = enabled.filter { pool in
            pool.spec.nodeSelector.map { (try? Selector($0))?.matches(labels) ?? false } ?? true
        }
        guard !pools.isEmpty else { throw Failure.notInPool }
        let claims = try await ownClaims()
        let candidates = claims.filter { cidr in pools.contains { $0.spec.cidr.contains(cidr) } }
        for cidr in claims where enabled.contains(where: { $0.spec.cidr.contains(cidr) }) && !candidates.contains(cidr)
        {
            do { try await release(cidr, of: host, mustBeEmpty: true) } catch let error as Failure {
                if error == .dead { throw error }
            }
        }
        return Search(
            pools: pools, configuration: configuration, reserved: reserved, candidates: candidates,
            owned: candidates.count)
    }

    private func findOrClaimBlock(_ search: inout Search) async throws -> Seen<IPAMBlock> {
        while !search.candidates.isEmpty {
            let cidr = search.candidates.removeFirst()
            if let block = try await ownBlock(cidr), hasRoom(block.value, search.reserved) { return block }
        }
        guard search.owned < search.configuration.blockLimit else { throw Failure.blockLimit }
        for _ in 0..<Self.retries {
            let cidr = try await usableBlock(search)
            do {
                let claim = try await pendingClaim(cidr)
                let block = try await block(of: claim, cidr)
                search.owned += 1
                return block
            } catch let error as Failure {
                guard [.conflict, .missing, .exists, .claimedByAnother, .staleClaim].contains(error) else {
                    throw error
                }
            }
        }
        throw Failure.maximumRetries
    }

    private func ownBlock(_ cidr: CIDR) async throws -> Seen<IPAMBlock>? {
        for _ in 0..<Self.retries {
            guard let claim = try await get(claimKey(cidr), BlockAffinity.self) else { return nil }
            do { return try await block(of: claim, cidr) } catch let error as Failure {
                if error == .dead { throw error }
                guard error == .conflict else { return nil }
            }
        }
        return nil
    }

    private func usableBlock(_ search: Search) async throws -> CIDR {
        let blocks = try await list(Key.blocks, IPAMBlock.self).map(\.seen.value)
        var idle: [IPAMBlock] = []
        for cidr in search.pools.flatMap(order) {
            let fresh = IPAMBlock(cidr: cidr, host: host, now: simulation.now)
            guard hasRoom(fresh, search.reserved) else { continue }
            guard let block = blocks.first(where: { $0.cidr == cidr }) else { return cidr }
            if block.isAffine(to: host), hasRoom(block, search.reserved) { return cidr }
            if block.isEmpty { idle.append(block) }
        }
        for block in idle where age(of: block) >= 60 {
            guard let owner = block.affinity?.dropFirst("host:".count), owner != host else { continue }
            do {
                try await release(
                    block.cidr, of: String(owner), mustBeEmpty: true, sequenceNumber: block.sequenceNumber)
                return block.cidr
            } catch let error as Failure {
                if error == .dead { throw error }
            }
        }
        throw Failure.noFreeBlocks
    }

    /// In seconds; of a block that does not say when it was claimed the age of Go's zero time.
    private func age(of block: IPAMBlock) -> TimeInterval {
        block.affinityClaimTime.flatMap(Timestamp.date).map { simulation.now.timeIntervalSince($0) } ?? .infinity
    }

    /// The pool's blocks from a start that the host's name decides.
    private func order(_ pool: IPPool) -> [CIDR] {
        let length = pool.spec.blockPrefixLength
        let size = UInt128(1) << UInt128(pool.spec.family.bits - length)
        let count = 1 << (length - pool.spec.cidr.prefixLength)
        let start = host.utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xFFFF } % count
        return (0..<count).map { step in
            CIDR(pool.spec.cidr.address.advanced(by: size * UInt128((start + step) % count))!, prefixLength: length)!
        }
    }

    private func hasRoom(_ block: IPAMBlock, _ reserved: [CIDR]) -> Bool {
        block.unallocated.contains { !isReserved(block.address(at: $0), reserved) }
    }

    private func assign(
        in block: Seen<IPAMBlock>, _ owner: AllocationAttributes, _ search: Search, mustBeOwn: Bool
    ) async throws -> IPAddress? {
        var block = block
        for _ in 0..<Self.retries {
            guard !mustBeOwn || block.value.isAffine(to: host) else { throw Failure.wrongAffinity }
            guard let address = block.value.assignNext(to: owner, where: { !isReserved($0, search.reserved) }) else {
                return nil
            }
            do {
                try await save(block, owner)
                return address
            } catch let error as Failure {
                guard error == .conflict || error == .missing else { throw error }
            }
            guard let again = try await self.block(block.value.cidr) else { return nil }
            block = again
        }
        throw Failure.maximumRetries
    }

    /// The handle first; if the block cannot be written, the handle back again.
    private func save(_ block: Seen<IPAMBlock>, _ owner: AllocationAttributes) async throws {
        try await increment(owner.handleID, block.value.cidr)
        do { _ = try await update(block) } catch let error as Failure {
            if error == .dead { throw error }
            do { try await decrement(owner.handleID, block.value.cidr) } catch let error as Failure {
                if error == .dead { throw error }
            }
            throw error
        }
    }

    private func borrow(_ owner: AllocationAttributes, _ search: Search) async throws -> IPAddress {
        for cidr in search.pools.flatMap(order) {
            guard let block = try await block(cidr) else { continue }
            if let address = try await assign(in: block, owner, search, mustBeOwn: false) { return address }
        }
        throw Failure.noFreeBlocks
    }

    // MARK: One particular address

    private func assign(_ address: IPAddress, _ owner: AllocationAttributes) async throws -> IPAddress {
        let configuration = try await get(.ipamConfiguration, IPAMConfiguration.self)?.value ?? IPAMConfiguration()
        let pools = try await list(Key.resources(IPPoolSpec.self), IPPool.self).map(\.seen.value)
        guard let pool = pools.first(where: { $0.spec.cidr.contains(address) && $0.isAllocatable }) else {
            throw Failure.notInPool
        }
        let cidr = CIDR(address, prefixLength: pool.spec.blockPrefixLength)!
        for _ in 0..<Self.retries {
            do {
                var block = try await blockToAssign(cidr)
                guard !configuration.strictAffinity || block.value.isAffine(to: host) else {
                    throw Failure.wrongAffinity
                }
                guard block.value.assign(address, to: owner) else { throw Failure.taken }
                try await save(block, owner)
                return address
            } catch let error as Failure {
                guard [.conflict, .missing, .exists, .claimedByAnother].contains(error) else { throw error }
            }
        }
        throw Failure.maximumRetries
    }

    private func blockToAssign(_ cidr: CIDR) async throws -> Seen<IPAMBlock> {
        if let block = try await block(cidr) { return block }
        return try await claimBlock(cidr, try await pendingClaim(cidr))
    }

    // MARK: Releasing

    private func release(
        _ address: IPAddress, of owner: AllocationAttributes
    ) async throws -> AllocationAttributes? {
        let pools = try await list(Key.resources(IPPoolSpec.self), IPPool.self).map(\.seen.value)
        guard let pool = pools.first(where: { $0.spec.cidr.contains(address) }) else { return nil }
        let cidr = CIDR(address, prefixLength: pool.spec.blockPrefixLength)!
        for _ in 0..<Self.retries {
            guard var block = try await block(cidr), block.value.owner(of: address) == owner else { return nil }
            let cooldown = simulation.scenario.configuration.cooldownSeconds
            _ = block.value.release(address, cooldown: cooldown, now: simulation.now)
            do {
                if block.value.isEmpty, block.value.affinity == nil {
                    try await delete(Key.block(cidr), block)
                } else {
                    _ = try await update(block)
                }
            } catch let error as Failure {
                guard error == .conflict || error == .missing else { throw error }
                continue
            }
            do { try await decrement(owner.handleID, cidr) } catch let error as Failure {
                if error == .dead { throw error }
            }
            return owner
        }
        throw Failure.maximumRetries
    }
}
