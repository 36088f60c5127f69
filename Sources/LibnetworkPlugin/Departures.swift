// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Dataplane
import FoundationEssentials

/// Tells whose container is gone although nobody said so: an engine that finds this plugin down gives up after a while,
/// and never repeats Leave, DeleteEndpoint or ReleaseAddress.
///
/// Asked where such an endpoint stands in somebody's way; the `Reconciler` finds the others in time.
struct Departures: Sendable {
    let dataplane: any Dataplane
    let engine: any NetworkDirectory
    let node: String
    /// Seconds that an endpoint counts as young.
    var grace = Orphan.grace

    /// An endpoint of this node, no longer young, behind whose interface nobody answers, and unknown to the engine.
    /// What nobody can say for sure means no.
    func isGone(_ endpoint: WorkloadEndpoint) async -> Bool {
        guard endpoint.spec.node == node, endpoint.spec.orchestrator == EndpointIdentity.orchestrator,
            let network = endpoint.networkID,
            // A new one has no interface until Join, and the engine does not tell of it until then.
            let created = endpoint.metadata.creationTimestamp.flatMap(Timestamp.date),
            Date.now.timeIntervalSince(created) > grace,
            await dataplane.isIdle(interfaceName: endpoint.spec.interfaceName)
        else { return false }
        do { return try await engine.lookUp(network)?.endpoints.contains(endpoint.spec.endpoint) != true } catch {
            return false
        }
    }
}
