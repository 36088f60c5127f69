// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import FoundationEssentials
import IPAM
import Logging

extension Reconciler {
    /// Frees addresses of this node that two sweeps in a row have found without use.
    func releaseUnused(at now: Date) async {
        let found = await findUnused(at: now)
        for (address, owner) in found where unused[address] == owner {
            logger.notice(
                "releasing an address that nobody uses",
                metadata: ["address": "\(address)", "owner": "\(owner.words)"])
            await release(address, from: owner)
        }
        unused = found
    }

    private func findUnused(at now: Date) async -> [IPAddress: AllocationAttributes] {
        let old = replica.read { state in
            state.blocks.values.flatMap { block in
                block.value.assignments.filter {
                    Orphan.isUnused($0.address, $0.owner, node: node, after: grace, at: now, in: state)
                }
            }
        }
        // No endpoint ever comes for the others. No answer is no evidence.
        let isAnyReserved = old.contains { !$0.owner.isForEndpoint }
        let networks = isAnyReserved ? try? await engine.networks() : nil
        var found: [IPAddress: AllocationAttributes] = [:]
        for (address, owner) in old {
            let isUnused = owner.isForEndpoint || networks.map { isForgotten(address, owner, by: $0) } == true
            if isUnused { found[address] = owner }
        }
        return found
    }

    /// Whether an address that was taken without a MAC belongs to none of these networks, which are all that the engine
    /// knows.
    private func isForgotten(
        _ address: IPAddress, _ owner: AllocationAttributes, by networks: [EngineNetwork]
    ) -> Bool {
        if owner.isSwarmReservation {
            return !replica.read(\.hasSwarmNetwork) && !networks.contains(where: \.isOfSwarm)
        }
        let seesAllNetworks = !driver.settings.isGlobal || networks.contains(where: \.isGlobal)
        // Engines tell the addresses only of networks that have a --subnet; the others' come from pools that
        // --ipam-opt names, or from any.
        guard seesAllNetworks, Orphan.isReservation(owner), case .pool(let pool, _, _)? = owner.reservedFrom?.scope
        else { return false }
        return !networks.contains {
            $0.auxiliaryAddresses.contains(address) || $0.ipamOptions[NetworkOptions.poolKey]?.contains(pool) == true
        }
    }

    /// Frees an address, if it is still `owner`'s and no endpoint uses it.
    func release(_ address: IPAddress, from owner: AllocationAttributes) async {
        await attempt("release \(address)") { [allocator, replica] in
            try await allocator.release(
                .init(address) { $0 == owner && replica.read { $0.endpointsByAddress[address] == nil } })
        }
    }
}

extension ClusterState {
    /// An endpoint's addresses, less those that are another container's by now: it then has that one's MAC.
    func addresses(heldFor endpoint: WorkloadEndpoint) -> [(IPAddress, AllocationAttributes)] {
        endpoint.spec.addresses.compactMap { address in
            guard let owner = owner(of: address), Orphan.isOurs(owner, node: endpoint.spec.node),
                owner.secondary["mac"].map({ $0 == endpoint.spec.mac }) ?? true
            else { return nil }
            return (address, owner)
        }
    }
}
