// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore

extension CommandStore {
    /// Deletes `pool` with its blocks and the claims to them.
    ///
    /// As Calico does: it is disabled first, so that whoever is about to take an address sees it. If that was too late
    /// it is as it was before; empty blocks that are gone by then are claimed anew when they are needed.
    /// - Parameter pause: how long others may take to notice.
    /// - Throws: naming who uses the pool.
    func delete(_ pool: IPPool, pause: Duration = .milliseconds(500)) async throws {
        try await commit { try $0.setting(pool.name, disabled: true) }
        do {
            try await Task.sleep(for: pause)
            try await replica.load()
            while state.pools[pool.name] != nil {
                try await commit { try $0.deleting(pool.name) }
            }
        } catch {
            try await restore(pool, after: error)
            throw error
        }
    }

    private func restore(_ pool: IPPool, after failure: any Error) async throws {
        do {
            try await commit { state in
                state.pools[pool.name] == nil ? nil : try state.setting(pool.name, disabled: pool.spec.disabled)
            }
        } catch {
            throw ValidationFailure("\(failure); and pool \(pool.name) stays disabled: \(error)")
        }
    }
}

extension ClusterState {
    /// How many blocks and claims one step of a deletion removes: each is a condition, too, and etcd takes 128 of either.
    static let deletionLimit = 64

    /// The next step: some of the pool's blocks, each with the claims to it, and with the last of them the pool.
    /// - Throws: where there is no such pool, or somebody uses it.
    func deleting(_ name: String) throws -> Transaction {
        let pool = try self.pool(named: name)
        try checkUnused(pool)
        var transaction = Transaction(if: [.asSeen(pool.key, pools[name]?.revision)])
        var rest = preconditions(byBlockOf: pool)[...]
        while transaction.writes.count < Self.deletionLimit, let block = rest.popFirst() {
            transaction.merge(Transaction(if: block, writes: block.map { .delete($0.key) }))
        }
        if rest.isEmpty { transaction.writes.append(.delete(pool.key)) }
        return transaction
    }

    /// That each block of a pool and the claims to it are as they were seen, block by block.
    private func preconditions(byBlockOf pool: IPPool) -> [[Transaction.Precondition]] {
        var found: [CIDR: [Transaction.Precondition]] = [:]
        for (cidr, block) in blocks where pool.spec.cidr.contains(cidr) {
            found[cidr, default: []].append(.unchanged(Key.block(cidr), since: block.revision))
        }
        for (key, claim) in affinities {
            guard let cidr = key.blockCIDR, pool.spec.cidr.contains(cidr) else { continue }
            found[cidr, default: []].append(.unchanged(key, since: claim.revision))
        }
        return found.sorted { $0.key < $1.key }.map(\.value)
    }
}
