// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
import FoundationEssentials
import Logging

extension NetworkDriver {
    /// One commit: the endpoint, with the network's profile where this is its first.
    func createEndpoint(_ request: CreateEndpointRequest) async throws -> CreateEndpointReply {
        let identity = try identity(request.endpointID)
        let addresses = try self.addresses(of: request)
        let given = try self.mac(of: request)
        let options = try NetworkOptions(endpoint: request.options, logger: logger)
        var known = try await knownNetwork(request.networkID)
        if known.isProvisional, request.isOfOpenNetwork { known.isInternal = false }
        let key = try identity.key()
        // The engine repeats a request whose answer it lost: the second answer must name the first one's MAC.
        let earlier = replica.read { $0.endpoints[key]?.value.spec.mac.flatMap { MACAddress($0) } }
        let mac = given ?? earlier ?? .random()
        let draft = EndpointDraft(
            identity: identity, addresses: addresses, mac: mac, options: options,
            container: containerName(holding: addresses, mac: given), keepsOwnLabels: settings.labelsEndpoints)
        warnOfMissingName(known)
        await background.end(undoing(request.endpointID))
        defer { nextHops.end(known.id) }
        try await endClaimants(of: addresses, besides: key)
        try await commit(ifInDoubt: { undo($0, of: request.endpointID, key) }) { state in
            var network = state.networks[known.id]?.value.filled(from: known) ?? known
            network.nextHops[node] = nextHop(of: network.id, in: state)
            // The endpoint's own choice, where it has one, stays its own: the network's other endpoints do not follow.
            let profile = draft.profile(on: network)
            return try state.adding(
                draft.endpoint(on: network), to: network, profile: profile == network.profileName ? profile : nil)
        }
        warnOfMissingProfiles(
            ["endpoint": "\(request.endpointID.abbreviated)", "network": "\(known.id.abbreviated)"]
        ) { $0.endpoints[key]?.value.spec.profiles ?? [] }
        await followProvisional(known.id, key)
        return CreateEndpointReply(Interface: .init(MacAddress: given == nil ? mac.description : nil))
    }

    /// One commit; also ends what Leave would have: an engine that was killed never says Leave.
    func deleteEndpoint(_ request: EndpointRequest) async throws -> EmptyReply {
        try await end(request.endpointID, identity(request.endpointID).key())
        return EmptyReply()
    }

    /// The engine was told that there is no endpoint, frees its addresses, and never says DeleteEndpoint. Yet it may
    /// have been written, or may yet be. Committing the same transaction once more decides it; then the endpoint ends.
    private func undo(_ transaction: Transaction, of id: String, _ key: Key) {
        background.run(undoing(id)) {
            guard await decide(transaction) else { return }
            do { try await end(id, key) } catch {
                logger.warning(
                    "an endpoint that could not be made waits for reconciliation",
                    metadata: ["endpoint": "\(id.abbreviated)", "error": "\(error)"])
            }
        }
    }

    private func undoing(_ id: String) -> String { "undo \(id)" }

    private func addresses(of request: CreateEndpointRequest) throws -> [IPAddress] {
        let texts = request.addresses
        guard !texts.isEmpty else {
            throw PluginError("No address assigned for endpoint; use --ipam-driver calico-ipam for the network")
        }
        return try texts.map { text in
            guard let address = IPAddress(lenient: text) else {
                throw PluginError("the engine sent \"\(text)\" as the endpoint's address, which is none")
            }
            return address
        }
    }

    private func mac(of request: CreateEndpointRequest) throws -> MACAddress? {
        guard let text = request.interface?.macAddress, !text.isEmpty else { return nil }
        guard let mac = MACAddress(text), mac.isUsable else {
            throw PluginError("\"\(text)\" is not a MAC address that an interface can have")
        }
        return mac
    }

    /// A guess's profile gets its right name later.
    private func warnOfMissingName(_ network: NetworkRecord) {
        guard network.name == nil, network.profile == nil, network.wantsProfile, !network.isProvisional else { return }
        logger.warning(
            "the engine did not tell the network's name; its profile is named by id instead",
            metadata: ["network": "\(network.id.abbreviated)"])
    }

    /// Of those that a user named and that we do not make. To Calico a missing profile is one that allows nothing.
    func warnOfMissingProfiles(
        _ metadata: @autoclosure () -> Logger.Metadata, _ names: (borrowing ClusterState) -> [String]
    ) {
        let missing = replica.read { state in
            names(state).filter { $0 != Profile.builtInName && state.profiles[$0] == nil }
        }
        for name in missing {
            logger.warning(
                "a profile that does not exist lets nothing pass; create it, or name another",
                metadata: metadata().merging(["profile": "\(name)"]) { $1 })
        }
    }
}

/// An endpoint as far as it does not depend on its network, of which more may be known at each attempt.
private struct EndpointDraft {
    let identity: EndpointIdentity
    let addresses: [IPAddress]
    let mac: MACAddress
    let options: NetworkOptions
    let container: String?
    let keepsOwnLabels: Bool

    func profile(on network: NetworkRecord) -> String? {
        options.profile.map { $0 == "none" ? nil : $0 } ?? network.profileName
    }

    func endpoint(on network: NetworkRecord) throws -> WorkloadEndpoint {
        var endpoint = try identity.endpoint(
            addresses: addresses, mac: mac, profiles: profile(on: network).map { [$0] } ?? [],
            labels: network.labels.merging(options.labels) { _, own in own }, annotations: network.annotations)
        if keepsOwnLabels { endpoint.ownLabels = options.labels.keys.sorted() }
        if let container { endpoint.belong(to: .init(name: container)) }
        return endpoint
    }
}

extension NetworkRecord {
    /// Those of its endpoints.
    var annotations: [String: String] {
        var annotations = [EndpointIdentity.networkAnnotation: id]
        annotations[EndpointIdentity.networkNameAnnotation] = name
        if isInternal { annotations[WorkloadEndpoint.internalAnnotation] = "true" }
        if isProvisional { annotations[WorkloadEndpoint.provisionalAnnotation] = "true" }
        return annotations
    }
}

extension ClusterState {
    /// What adds `endpoint`: itself, the profile it is the first to need, and what was learnt of its network.
    ///
    /// - Parameters:
    ///   - network: its record as it is, with what is known besides.
    ///   - profile: the network's, if the endpoint uses it.
    func adding(
        _ endpoint: WorkloadEndpoint, to network: NetworkRecord, profile: String?
    ) throws -> Transaction? {
        var transaction = Transaction()
        if let present = endpoints[endpoint.key] {
            var update = present.value
            update.spec = endpoint.spec
            update.spec.ports = present.value.spec.ports
            if present.value.sandbox != nil { update.spec.profiles = present.value.spec.profiles }
            update.spec.allowSpoofedSourcePrefixes = present.value.spec.allowSpoofedSourcePrefixes
            update.spec.unknown = present.value.spec.unknown
            guard update != present.value else { return nil }
            transaction.preconditions.append(.unchanged(endpoint.key, since: present.revision))
            transaction.writes.append(.put(endpoint.key, update))
        } else {
            transaction.preconditions.append(.absent(endpoint.key))
            transaction.writes.append(.put(endpoint.key, endpoint))
        }
        if let profile, network.wantsProfile { transaction.merge(providing(profile, for: network)) }
        transaction.merge(recording(network, profile: profile))
        return transaction
    }

    /// The profile, unless it is there; then the proof that it still is: a network may take it along as it goes.
    func providing(_ name: String, for network: NetworkRecord) -> Transaction {
        let new = network.newProfile(name)
        guard let present = profiles[name] else {
            // A value nobody can read is there all the same.
            guard unreadable[new.key] == nil else { return Transaction() }
            return Transaction(if: [.absent(new.key)], writes: [.put(new.key, new)])
        }
        return adopting(present, for: network)
    }

    /// The network's record with name, profile and the node's next hop, if it lacks them.
    private func recording(_ network: NetworkRecord, profile: String?) -> Transaction {
        let seen = networks[network.id]
        var record = network
        if record.wantsProfile { record.profile = record.profile ?? profile }
        var transaction = Transaction()
        // A guess must still be one: afterwards endpoints are as the network is.
        if record != seen?.value || record.isProvisional {
            transaction.preconditions.append(.asSeen(record.key, seen?.revision))
        }
        if record != seen?.value { transaction.writes.append(.put(record.key, record)) }
        return transaction
    }
}
