// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import FoundationEssentials

/// Which allocations are this driver's, and which of those nobody uses any more.
enum Orphan {
    /// The least time that an address may wait for its endpoint.
    static let grace: TimeInterval = 60

    /// How long an address may wait for its endpoint, in seconds: an engine asks for an address of each family, then for
    /// the endpoint, and each answer may take as long as `requestTimeout`.
    static func grace(_ requestTimeout: Duration) -> TimeInterval {
        max(grace, 3 * TimeInterval(requestTimeout.components.seconds))
    }

    /// Ends the handle of an `--aux-address`.
    static let reservation = "reserved"

    static func handlePrefix(node: String) -> String { "libnetwork.\(node)." }

    /// Ours to release: allocated here, or by the Go plugin, which left no owner.
    static func isOurs(_ owner: AllocationAttributes, node: String) -> Bool {
        guard let handle = owner.handleID else { return owner.node == nil || owner.node == node }
        return handle.hasPrefix("libnetwork.") && owner.node ?? node == node
    }

    /// An `--aux-address`, of whichever node: the network it belongs to may be removed on another one.
    static func isReservation(_ owner: AllocationAttributes) -> Bool {
        !owner.isForEndpoint && owner.handleID?.hasPrefix("libnetwork.") == true
            && owner.handleID?.hasSuffix(".\(reservation)") == true
    }

    /// Allocated on this node more than `grace` seconds ago, and used by no endpoint.
    static func isUnused(
        _ address: IPAddress, _ owner: AllocationAttributes, node: String, after grace: TimeInterval, at now: Date,
        in state: borrowing ClusterState
    ) -> Bool {
        // The handle alone does not tell: `libnetwork.web.` begins those of a node `web.example.com`, too.
        guard owner.node == node, owner.handleID?.hasPrefix(handlePrefix(node: node)) == true,
            state.endpointsByAddress[address] == nil, !hidesEndpoints(state),
            let since = owner.secondary["timestamp"].flatMap(Timestamp.date)
        else { return false }
        return now.timeIntervalSince(since) > grace
    }

    /// An endpoint that cannot be read may be the one that uses the address.
    private static func hidesEndpoints(_ state: borrowing ClusterState) -> Bool {
        state.unreadable.keys.contains { Key.resources(WorkloadEndpointSpec.self).isPrefix(of: $0) }
    }
}

extension AllocationAttributes {
    /// Endpoints always come with a MAC (RequiresMACAddress).
    var isForEndpoint: Bool { secondary["mac"] != nil }
    /// The pool that an address was taken from without a MAC.
    var reservedFrom: PoolID? { secondary[Self.poolKey].flatMap { PoolID($0) } }

    static let poolKey = "pool"
}
