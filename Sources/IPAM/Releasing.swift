// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore

extension AllocationPlan {
    /// Frees `address` if somebody holds it and `isAllowed` agrees; says who held it.
    ///
    /// An endpoint that still names the address loses it, and with its last address is deleted: Docker releases an
    /// address only once the endpoint is gone, but after a crash never says DeleteEndpoint.
    mutating func release(
        _ address: IPAddress, if isAllowed: (AllocationAttributes) -> Bool
    ) throws(IPAMError) -> AllocationAttributes? {
        try relyOnUnlocked()
        guard let cidr = try blockContaining(address), var block = block(cidr), let owner = block.owner(of: address),
            !owner.isCoolingDown, isAllowed(owner)
        else { return nil }
        _ = block.release(address, cooldown: configuration.cooldownSeconds, now: now)
        if isSpent(block) { delete(block) } else { leave(block) }
        discount(owner.handleID, cidr)
        detach(address)
        return owner
    }

    /// Deletes an empty block of this host, and its claim.
    mutating func giveBack(_ cidr: CIDR) throws(IPAMError) {
        try relyOnUnlocked()
        try checkReadable(Key.affinity(host: node, block: cidr))
        guard let block = block(cidr), block.isAffine(to: node), block.isEmpty else { return }
        delete(block)
    }

    /// An empty block that no longer serves: nobody claims it, or its pool no longer wants this node.
    private func isSpent(_ block: IPAMBlock) -> Bool {
        guard block.isEmpty else { return false }
        guard block.affinity != nil else { return true }
        guard block.isAffine(to: node), state.nodes[node] != nil,
            let pool = state.pool(containing: block.cidr), pool.isAllocatable
        else { return false }
        return !PoolSelection(state: state, node: node).selectsNode(pool)
    }
}
