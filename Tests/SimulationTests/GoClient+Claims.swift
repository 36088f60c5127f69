// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM

// Claiming blocks, and giving them up.

extension GoClient {
    func claimKey(_ cidr: CIDR, of host: String? = nil) -> Key { Key.affinity(host: host ?? self.host, block: cidr) }

    func pendingClaim(_ cidr: CIDR) async throws -> Seen<BlockAffinity> {
        do { return try await create(claimKey(cidr), BlockAffinity(.pending)) } catch let error as Failure {
            guard error == .exists || error == .conflict else { throw error }
        }
        guard var seen = try await get(claimKey(cidr), BlockAffinity.self) else { throw Failure.conflict }
        guard seen.value.state != .confirmed else { return seen }
        seen.value.state = .pending
        return try await update(claimKey(cidr), seen)
    }

    /// The block that a claim names, whatever state a crash has left the two in.
    func block(of claim: Seen<BlockAffinity>, _ cidr: CIDR) async throws -> Seen<IPAMBlock> {
        var claim = claim
        guard let seen = try await block(cidr) else {
            claim.value.state = .pending
            return try await claimBlock(cidr, try await update(claimKey(cidr), claim))
        }
        guard seen.value.isAffine(to: host) else {
            try await delete(claimKey(cidr), claim)
            throw Failure.staleClaim
        }
        guard claim.value.state != .confirmed else { return seen }
        claim.value.state = .pending
        claim = try await update(claimKey(cidr), claim)
        // Fences off whoever is about to delete the block.
        let fenced = try await update(seen)
        try await confirm(claim, cidr)
        return fenced
    }

    func claimBlock(_ cidr: CIDR, _ claim: Seen<BlockAffinity>) async throws -> Seen<IPAMBlock> {
        do {
            let fresh = IPAMBlock(cidr: cidr, host: host, now: simulation.now)
            let block = try await create(Key.block(cidr), fresh)
            try await confirm(claim, cidr)
            return block
        } catch let error as Failure {
            guard error == .exists else { throw error }
        }
        guard let present = try await block(cidr) else { throw Failure.conflict }
        guard present.value.isAffine(to: host) else {
            try await delete(claimKey(cidr), claim)
            throw Failure.claimedByAnother
        }
        try await confirm(claim, cidr)
        return present
    }

    private func confirm(_ claim: Seen<BlockAffinity>, _ cidr: CIDR) async throws {
        var confirmed = claim
        confirmed.value.state = .confirmed
        do { _ = try await update(claimKey(cidr), confirmed) } catch let error as Failure {
            guard error == .conflict || error == .missing else { throw error }
            guard try await get(claimKey(cidr), BlockAffinity.self)?.value.state == .confirmed else { throw error }
        }
    }

    /// Gives a block of `owner` up: its claim is marked, the block deleted or left to nobody, the claim deleted.
    func release(
        _ cidr: CIDR, of owner: String, mustBeEmpty: Bool, sequenceNumber: UInt64? = nil
    ) async throws {
        guard var claim = try await get(claimKey(cidr, of: owner), BlockAffinity.self),
            var block = try await block(cidr)
        else { throw Failure.missing }
        if let sequenceNumber, block.value.sequenceNumber != sequenceNumber { throw Failure.conflict }
        guard block.value.isAffine(to: owner) else {
            if block.value.affinity != nil { try await delete(claimKey(cidr, of: owner), claim) }
            throw Failure.claimedByAnother
        }
        guard !mustBeEmpty || block.value.isEmpty else { throw Failure.notEmpty }
        claim.value.state = .pendingDeletion
        claim = try await update(claimKey(cidr, of: owner), claim)
        if block.value.isEmpty {
            try await delete(Key.block(cidr), block)
        } else {
            block.value.abandon()
            _ = try await update(block)
        }
        try await delete(claimKey(cidr, of: owner), claim)
    }

    func ownClaims() async throws -> [CIDR] {
        let prefix = Key.affinities(host: host, family: simulation.scenario.family)
        return try await list(prefix, BlockAffinity.self).compactMap { $0.key.blockCIDR }
    }

    /// `calicoctl node delete` and its like.
    ///
    /// - Parameter mustBeEmpty: whether the host keeps the blocks that are in use. Else they are nobody's afterwards.
    func releaseHostAffinities(mustBeEmpty: Bool) async {
        do {
            for cidr in try await ownClaims() {
                do { try await release(cidr, of: host, mustBeEmpty: mustBeEmpty) } catch let error as Failure {
                    if error == .dead { throw error }
                }
            }
        } catch {}
    }

    /// Looks at each own claim as an assignment would.
    func finishClaims() async {
        do {
            for cidr in try await ownClaims() {
                guard let claim = try await get(claimKey(cidr), BlockAffinity.self) else { continue }
                do { _ = try await block(of: claim, cidr) } catch let error as Failure {
                    if error == .dead { throw error }
                }
            }
        } catch {}
    }
}
