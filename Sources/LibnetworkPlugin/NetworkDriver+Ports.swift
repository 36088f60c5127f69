// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
import Logging

extension NetworkDriver {
    /// Publishes the container's ports (`docker run -p`): only the driver of the container's gateway is asked, and
    /// nobody else does it.
    func programExternalConnectivity(_ request: EndpointRequest) async throws -> EmptyReply {
        guard request.options["com.docker.network.portmap"]?.array?.isEmpty == false else { return EmptyReply() }
        guard let endpoint = try endpoint(request.endpointID)?.value else { throw unknownEndpoint(request.endpointID) }
        guard !isKnownInternal(request.networkID) else {
            logger.notice("ports of an internal network are not published", metadata: request.logged)
            return EmptyReply()
        }
        let bindings = try PortBinding.bindings(in: request.options, families: endpoint.families)
        try await settleUnservable(bindings.filter { !$0.isServable }, of: endpoint, request)
        let siblings = replica.read { Set($0.siblings(of: endpoint).map(\.value.spec.endpoint)) }
        if PortBinding.isForIPv4Only(request.options) { try await leaveIPv4(siblings) }
        let published = try await take(bindings.filter(\.isServable), for: request.endpointID, beside: siblings)
        do { try await setPublished(published, request.endpointID) } catch {
            await ports.release(request.endpointID)
            throw error
        }
        return EmptyReply()
    }

    /// Engines up to 28 ask for no ports of an internal network; later ones do for each that answers a gateway. What is
    /// taken for internal only until the engine says what it is does not count: being asked may prove it open.
    private func isKnownInternal(_ id: String) -> Bool {
        network(id).map { $0.value.isInternal && !$0.value.isProvisional } ?? false
    }

    private func unknownEndpoint(_ endpointID: String) -> PluginError {
        PluginError("endpoint \(endpointID.abbreviated) is not known on node \(node)")
    }

    /// What cannot be published here, because the host's address is of a family that the container has on other networks
    /// at most. An engine sends all ports to each of a container's gateways, from 28 on one for each family, and also to
    /// those that are gateways only until the container has joined its next network (seen on 28.5).
    ///
    /// - Throws: where there is no other network.
    private func settleUnservable(
        _ bindings: [PortBinding], of endpoint: WorkloadEndpoint, _ request: EndpointRequest
    ) async throws {
        guard let first = bindings.first else { return }
        let family = first.families == [.v4] ? "IPv6" : "IPv4"
        guard await mayHaveOtherNetworks(endpoint, request) else {
            throw PluginError(
                "cannot publish \(first.words): the container has no \(family) address; name another address of this "
                    + "host or none, or give the container a network with \(family)")
        }
        logger.notice(
            "ports are not published by way of this network",
            metadata: [
                "endpoint": "\(request.endpointID.abbreviated)",
                "ports": "\(bindings.map(\.words).joined(separator: ", "))",
                "reason": "the container has no \(family) address on it",
            ])
    }

    /// Also where nobody knows.
    private func mayHaveOtherNetworks(_ endpoint: WorkloadEndpoint, _ request: EndpointRequest) async -> Bool {
        if endpoint.sandbox != nil { return true }
        let container = try? await self.container(
            of: request.endpointID, network: request.networkID, name: endpoint.containerName)
        return container.map { $0.networks.count != 1 } ?? true
    }

    /// What endpoints publish of IPv4 is another's of their container from now on: an engine that takes their network
    /// away does not ask that one again.
    private func leaveIPv4(_ endpoints: Set<String>) async throws {
        for (endpoint, rest) in await ports.leaveIPv4(endpoints) { try await setPublished(rest, endpoint) }
    }

    /// Engines that were killed, and those whose words did not reach us, never give ports back: what stands in the way
    /// is looked at before anybody is refused.
    private func take(
        _ bindings: [PortBinding], for endpointID: String, beside siblings: Set<String>
    ) async throws -> [EndpointPort] {
        await releaseStrayPorts()
        do {
            do { return try await ports.take(bindings, for: endpointID, beside: siblings) } catch {
                guard try await removeGoneHolders(of: bindings, besides: endpointID) else { throw error }
                return try await ports.take(bindings, for: endpointID, beside: siblings)
            }
        } catch {
            throw naming(error, besides: endpointID)
        }
    }

    /// The refusal of a port with the endpoint that has it, where one of this node's does: `docker ps` does not tell.
    private func naming(_ error: any Error, besides endpointID: String) -> any Error {
        guard var refusal = error as? PortUnavailable else { return error }
        let holder = publishingEndpoints().first { [refusal] endpoint in
            endpoint.spec.endpoint != endpointID && endpoint.spec.ports.contains { refusal.isDue(to: $0) }
        }
        refusal.holder = holder.map { EndpointWords(endpoint: $0).text }
        return refusal
    }

    /// Gives back the ports of endpoints that are no more.
    func releaseStrayPorts() async { await ports.release { id in ((try? endpoint(id)) ?? nil) == nil } }

    /// - Returns: whether there were any.
    private func removeGoneHolders(of bindings: [PortBinding], besides endpointID: String) async throws -> Bool {
        let departures = Departures(dataplane: dataplane, engine: engine, node: node)
        var isAnyGone = false
        for endpoint in publishingEndpoints() where endpoint.spec.endpoint != endpointID {
            guard bindings.contains(where: { endpoint.spec.ports.contains(where: $0.mayMeet) }),
                await departures.isGone(endpoint)
            else { continue }
            logger.notice(
                "taking ports over from a container that is gone",
                metadata: ["endpoint": "\(endpoint.spec.endpoint.abbreviated)"])
            try await end(endpoint)
            isAnyGone = true
        }
        return isAnyGone
    }

    private func publishingEndpoints() -> [WorkloadEndpoint] {
        replica.read { state in
            state.endpoints.values.map(\.value).filter { $0.spec.node == node && !$0.spec.ports.isEmpty }
        }
    }

    func revokeExternalConnectivity(_ request: EndpointRequest) async throws -> EmptyReply {
        await ports.release(request.endpointID)
        let recorded = try endpoint(request.endpointID)?.value.spec.ports ?? []
        if recorded.contains(where: { $0.hostPort != nil }) { try await setPublished([], request.endpointID) }
        return EmptyReply()
    }

    /// Takes the host ports again that were published before this process started.
    public func restorePorts() async {
        for endpoint in publishingEndpoints() {
            let id = endpoint.spec.endpoint
            for failure in await ports.restore(endpoint.spec.ports, for: id, families: endpoint.families) {
                logger.warning(
                    "a published port could not be taken again; stop the other program, or restart the container",
                    metadata: ["endpoint": "\(id.abbreviated)", "error": "\(failure)"])
            }
        }
    }

    /// Records the ports with the endpoint, so that they outlive this process, and puts them in force.
    ///
    /// - Throws: where the endpoint is gone, as one is whose engine did not wait any longer: its ports are nobody's.
    private func setPublished(_ published: [EndpointPort], _ endpointID: String) async throws {
        let key = try identity(endpointID).key()
        try await commit { state in
            guard let seen = state.endpoints[key] else {
                if published.isEmpty { return nil }
                throw unknownEndpoint(endpointID)
            }
            var endpoint = seen.value
            endpoint.spec.ports = endpoint.spec.ports.filter { $0.hostPort == nil } + published
            endpoint.metadata.annotations[WorkloadEndpoint.portsAnnotation] = published.words
            guard endpoint != seen.value else { return nil }
            return Transaction(if: [.unchanged(key, since: seen.revision)], writes: [.put(key, endpoint)])
        }
        guard let endpoint = try endpoint(endpointID)?.value else { return }
        await dataplane.apply([ClusterChange(key: key, value: .endpoint(endpoint))])
    }
}

extension WorkloadEndpoint {
    fileprivate var families: [IPAddress.Family] {
        IPAddress.Family.allCases.filter { family in spec.addresses.contains { $0.family == family } }
    }
}
