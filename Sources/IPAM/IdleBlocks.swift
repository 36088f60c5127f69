// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing
import CalicoModel
public import Datastore
public import FoundationEssentials

/// Finds this host's blocks that have long been empty, so that other hosts may have them.
///
/// One block of each pool that serves this host stays: the next container then costs no claim, and its route is
/// already known. Calico's kube-controllers leave a node its last block for the same reason; another host in need may
/// still take it over (`AllocationPlan.idleBlockAge`).
public struct IdleBlocks: Sendable {
    /// How long a block must have stayed empty, in seconds.
    public static let patience: TimeInterval = 600

    private struct Sight {
        let sequenceNumber: UInt64
        let since: Date
    }

    private var sights: [CIDR: Sight] = [:]

    public init() {}

    /// Looks at the blocks of `node` and says which to give back. Call it every minute or so: a block that was used
    /// between two looks is known by its sequence number.
    public mutating func look(at state: borrowing ClusterState, node: String, now: Date) -> [CIDR] {
        let own = (state.blocksByAffinity["host:\(node)"] ?? []).compactMap { state.blocks[$0]?.value }
        var seen: [CIDR: Sight] = [:]
        for block in own where block.isEmpty {
            let before = sights[block.cidr].flatMap { $0.sequenceNumber == block.sequenceNumber ? $0 : nil }
            seen[block.cidr] = before ?? Sight(sequenceNumber: block.sequenceNumber, since: now)
        }
        sights = seen
        let idle = seen.filter { now.timeIntervalSince($0.value.since) >= Self.patience }.keys.sorted()
        let selection = PoolSelection(state: copy state, node: node)
        return Dictionary(grouping: idle) { cidr in state.pool(containing: cidr)?.name }.flatMap { name, idle in
            // A block outside every pool serves nobody, nor does one whose pool is switched off or wants other nodes.
            guard let pool = name.flatMap({ state.pools[$0]?.value }), pool.isAllocatable, selection.selectsNode(pool)
            else { return idle }
            let count = own.count { pool.spec.cidr.contains($0.cidr) }
            return idle.count < count ? idle : Array(idle.dropFirst())
        }
    }
}
