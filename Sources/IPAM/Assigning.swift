// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore

// How an address is found: in an own block, in a block newly claimed, in somebody else's (libcalico-go `lib/ipam`).

extension AllocationPlan {
    mutating func assign(_ request: AddressRequest) throws(IPAMError) -> IPAddress {
        try relyOnUnlocked()
        try relyOnConfiguration()
        if let address = request.address { return try assign(address, request) }
        let pools = try PoolSelection(state: state, node: node).pools(for: request)
        guard let address = try assignAny(request, pools) else { throw exhausted(pools, request) }
        if let pool = pools.first(where: { $0.spec.cidr.contains(address) }) { rely(on: pool) }
        return address
    }

    private mutating func assignAny(_ request: AddressRequest, _ pools: [IPPool]) throws(IPAMError) -> IPAddress? {
        let own = ownBlocks(in: pools)
        if let address = try assignAgain(request, own) { return address }
        for cidr in own {
            guard let block = block(cidr), let address = try assignNext(in: block, request) else { continue }
            confirmAffinity(cidr)
            return address
        }
        if let cidr = try newBlock(for: request, in: pools) {
            return try assignNext(in: claimed(cidr), request)
        }
        return configuration.strictAffinity ? nil : try borrow(request, pools)
    }

    /// The address that this container had before it was stopped or made anew, where it is free.
    private mutating func assignAgain(_ request: AddressRequest, _ own: [CIDR]) throws(IPAMError) -> IPAddress? {
        guard request.owner.container != nil else { return nil }
        for cidr in own {
            guard var block = block(cidr),
                let address = block.assignAgain(to: request.owner, where: eligible(request))
            else { continue }
            try take(block, for: request.owner)
            confirmAffinity(cidr)
            return address
        }
        return nil
    }

    /// A particular address: claims the block where there is none, whatever the limits, as Calico's AssignIP.
    private mutating func assign(_ address: IPAddress, _ request: AddressRequest) throws(IPAMError) -> IPAddress {
        let pool = try PoolSelection(state: state, node: node).pool(for: address, request)
        rely(on: pool)
        let cidr = try blockContaining(address) ?? CIDR(address, prefixLength: pool.spec.blockPrefixLength)!
        try checkReadable(Key.block(cidr))
        guard block(cidr) != nil || !overlapsExisting(cidr) else { throw .overlap(address, block: cidr) }
        var block = self.block(cidr) ?? claimed(cidr)
        if configuration.strictAffinity, !block.isAffine(to: node) {
            throw .strictAffinity(address, block: cidr, owner: block.affinity ?? "nobody")
        }
        if let owner = block.owner(of: address) {
            guard !owner.isCoolingDown, request.mayReplace(address, owner) else { throw .taken(address, by: owner) }
            _ = block.release(address)
            discount(owner.handleID, cidr)
            detach(address)
        }
        guard block.assign(address, to: request.owner) else { throw .taken(address, by: request.owner) }
        try take(block, for: request.owner)
        if block.isAffine(to: node) { confirmAffinity(cidr) }
        return address
    }

    private mutating func borrow(_ request: AddressRequest, _ pools: [IPPool]) throws(IPAMError) -> IPAddress? {
        for cidr in pools.flatMap(existingBlocks) where touches(request, cidr) {
            if let block = block(cidr), let address = try assignNext(in: block, request) { return address }
        }
        return nil
    }

    private mutating func assignNext(
        in block: IPAMBlock, _ request: AddressRequest
    ) throws(IPAMError) -> IPAddress? {
        var block = block
        guard let address = block.assignNext(to: request.owner, where: eligible(request)) else { return nil }
        try take(block, for: request.owner)
        return address
    }

    private func exhausted(_ pools: [IPPool], _ request: AddressRequest) -> IPAMError {
        let existing = pools.flatMap(existingBlocks).filter { touches(request, $0) }
        return .exhausted(
            pools: request.scope.range.map { [$0] } ?? pools.map(\.spec.cidr), node: node, blocks: existing.count,
            foreignBlocks: existing.count { block($0)?.isAffine(to: node) == false },
            isStrict: configuration.strictAffinity, isAnyPool: request.scope == .anyPool)
    }
}
