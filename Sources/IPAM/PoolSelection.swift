// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore

/// Which pools may serve a request of a node.
struct PoolSelection {
    let state: ClusterState
    let node: String
    static let use = "Workload"

    /// Pools for an automatic assignment, in the order in which they are tried; never empty.
    func pools(for request: AddressRequest) throws(IPAMError) -> [IPPool] {
        switch request.scope {
        case .anyPool: return try automaticPools(request.family)
        case .pools(let names): return try usable(names, request.family)
        case .pool(let name, _, _):
            let pool = try named(name, request.family)
            try check(request.scope, liesIn: pool)
            return [pool]
        }
    }

    /// Those of several named pools that can serve now; where none can, the first one's reason is thrown.
    private func usable(_ names: [String], _ family: IPAddress.Family) throws(IPAMError) -> [IPPool] {
        var pools: [IPPool] = []
        var failure = IPAMError.noPool(family: family, node: node)
        for name in names.reversed() {
            do throws(IPAMError) { pools.insert(try named(name, family), at: 0) } catch { failure = error }
        }
        guard !pools.isEmpty else { throw failure }
        return pools
    }

    /// The pool may have been deleted and made again with another range since the network was.
    private func check(_ scope: AddressScope, liesIn pool: IPPool) throws(IPAMError) {
        for range in [scope.subnet, scope.range].compactMap(\.self) where !pool.spec.cidr.contains(range) {
            throw .subnetOutsidePool(range, pool: pool.name, pool.spec.cidr)
        }
    }

    /// The pool for one particular address.
    func pool(for address: IPAddress, _ request: AddressRequest) throws(IPAMError) -> IPPool {
        if case .pool(let name, let subnet, _) = request.scope {
            let pool = try named(name)
            guard pool.family == address.family else { throw .wrongFamily(address, pool: "pool \(name)") }
            try check(request.scope, liesIn: pool)
            let bounds = subnet ?? pool.spec.cidr
            guard bounds.contains(address) else { throw .outsideSubnet(address, bounds) }
            return pool
        }
        guard address.family == request.family else {
            throw .wrongFamily(address, pool: "this \(request.family.name) request")
        }
        if case .pools(let names) = request.scope {
            let pools = try usable(names, request.family)
            guard let pool = pools.first(where: { $0.spec.cidr.contains(address) }) else {
                throw .outsidePools(address, pools.map(\.spec.cidr))
            }
            return pool
        }
        guard let pool = state.pool(containing: address), pool.isAllocatable else {
            throw .notInPool(address, known: state.allocatablePools(request.family).map(\.spec.cidr))
        }
        guard pool.spec.allows(use: Self.use) else { throw .noPoolForUse(Self.use, node: node) }
        return pool
    }

    /// True where the pool gives its addresses to this node.
    func selectsNode(_ pool: IPPool) -> Bool {
        matches(pool.spec.nodeSelector, state.nodes[node]?.value.metadata.labels ?? [:])
    }

    private func automaticPools(_ family: IPAddress.Family) throws(IPAMError) -> [IPPool] {
        // Containers have no namespace object whose labels could match.
        let selected = state.allocatablePools(family).filter {
            $0.spec.isAutomatic && selectsNode($0) && matches($0.spec.namespaceSelector, [:])
        }
        guard !selected.isEmpty else { throw .noPool(family: family, node: node) }
        let usable = selected.filter { $0.spec.allows(use: Self.use) }
        guard !usable.isEmpty else { throw .noPoolForUse(Self.use, node: node) }
        return usable
    }

    private func named(_ name: String, _ family: IPAddress.Family) throws(IPAMError) -> IPPool {
        let pool = try named(name)
        guard pool.family == family else { throw .unknownPool(name: name, known: names(family)) }
        return pool
    }

    private func named(_ name: String) throws(IPAMError) -> IPPool {
        guard let pool = state.pools[name]?.value else {
            throw .unknownPool(name: name, known: state.pools.keys.sorted())
        }
        guard pool.isAllocatable else { throw .poolDisabled(name, others: names(pool.family)) }
        guard pool.spec.allows(use: Self.use) else { throw .noPoolForUse(Self.use, node: node) }
        return pool
    }

    private func names(_ family: IPAddress.Family) -> [String] { state.allocatablePools(family).map(\.name) }

    /// A selector that does not parse selects nothing: giving out addresses by mistake is the worse error.
    private func matches(_ selector: String?, _ labels: [String: String]) -> Bool {
        guard let selector, !selector.isEmpty else { return true }
        return (try? Selector(selector))?.matches(labels) ?? false
    }
}

extension ClusterState {
    /// Those of a family that addresses come from, by name.
    public func allocatablePools(_ family: IPAddress.Family) -> [IPPool] {
        poolsInOrder.filter { $0.family == family && $0.isAllocatable }
    }
}

extension IPPool {
    var family: IPAddress.Family { spec.family }

    /// Enabled, not being deleted, at least one block large, and (Calico v3.32) not reported unallocatable.
    public var isAllocatable: Bool {
        let isBeingDeleted = metadata.unknown["deletionTimestamp"] ?? .null != .null
        guard !spec.disabled, !isBeingDeleted, spec.hasUsableBlockSize else { return false }
        let conditions = unknown["status"]?["conditions"]?.array ?? []
        return !conditions.contains { $0["type"]?.string == "Allocatable" && $0["status"]?.string == "False" }
    }
}

extension IPPoolSpec {
    fileprivate var hasUsableBlockSize: Bool {
        Self.blockSizes(family).contains(blockPrefixLength) && cidr.prefixLength <= blockPrefixLength
    }
}
