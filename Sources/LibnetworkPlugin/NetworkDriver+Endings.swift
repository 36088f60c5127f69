// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore

extension NetworkDriver {
    /// Ends an endpoint, whoever found out that it is over: its ports, its link, its record, what its container's other
    /// endpoints have of it, and a profile that it was the last to use. One commit. Its addresses are IPAM's to free.
    ///
    /// - Throws: where the record or the link stays.
    func end(_ endpoint: WorkloadEndpoint) async throws { try await end(endpoint.spec.endpoint, endpoint.key) }

    /// - Parameters:
    ///   - id: Docker's, of an endpoint of this node.
    ///   - key: where its record lies, if there is one.
    func end(_ id: String, _ key: Key) async throws {
        await ports.release(id)
        async let disconnected: Void = dataplane.disconnect(interfaceName: EndpointIdentity.interfaceName(id))
        let sandbox = replica.read { $0.endpoints[key]?.value.sandbox }
        var sightings = ProfileSightings()
        try await commit { state in
            state.endpoints[key].map { endpoint in
                var transaction = Transaction(
                    if: [.unchanged(key, since: endpoint.revision)], writes: [.delete(key)])
                transaction.merge(state.parting(endpoint.value))
                transaction.merge(state.removingProfiles(withLast: endpoint.value, &sightings))
                return transaction
            }
        }
        if let sandbox { await applyEndpoints(ofSandbox: sandbox) }
        try await disconnected
    }

    /// Prepares an endpoint for the loss of an address: ends it with its last one, and takes any other from the
    /// container's other endpoints. IPAM takes it from the endpoint itself, in the commit that frees it.
    func withdraw(_ address: IPAddress, from endpoint: WorkloadEndpoint) async throws {
        guard endpoint.spec.addresses != [address] else { return try await end(endpoint) }
        guard let sandbox = endpoint.sandbox else { return }
        try await commit { state in
            let container = state.endpoints(of: node, sandbox: sandbox).map { seen in
                var rest = seen.value
                if rest.key == endpoint.key { rest.spec.ipNetworks.removeAll { $0.address == address } }
                return Versioned(rest, seen.revision)
            }
            return state.uniting(container, sandbox: sandbox, on: node, leaving: endpoint)
        }
        await applyEndpoints(ofSandbox: sandbox)
    }

    /// Ends endpoints of this node that claim one of these addresses: IPAM has given it anew, so their container is
    /// gone.
    ///
    /// - Parameter key: of the endpoint that it was given to.
    func endClaimants(of addresses: [IPAddress], besides key: Key) async throws {
        let claimants = replica.read { state in
            Set(addresses.compactMap { state.endpoint(using: $0)?.value })
        }
        for stale in claimants where stale.key != key && isOurs(stale) { try await end(stale) }
    }

    /// Of this node, and of a container: other orchestrators may have theirs here.
    func isOurs(_ endpoint: WorkloadEndpoint) -> Bool {
        endpoint.spec.node == node && endpoint.spec.orchestrator == EndpointIdentity.orchestrator
    }
}
