// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Dataplane
import Datastore
import Logging

// Networks of which only guesses are known. An engine that starts its containers again does not answer before all of
// them run, and names a network by its id alone. Where the store has no record of it, because the store is new or was
// lost, the containers start all the same.
//
// Until the engine answers such a network counts as internal, unless an endpoint shows that it is not: engines send the
// ports of a container, though it has none, for networks that are not internal, and never for one that is. They send
// them once per container that publishes ports, so its endpoints on further networks show nothing; those are shut off
// from the outside for a while. That is the lesser evil: what is internal was meant to be kept in.

extension CreateEndpointRequest {
    /// Whether the engine's message shows that the network is not internal; false means that nothing is known (moby
    /// `daemon/network.go`, in 20.10 `daemon/container_operations.go`).
    var isOfOpenNetwork: Bool { options["com.docker.network.portmap"]?.array != nil }
}

extension NetworkDriver {
    /// What a network is taken for that nobody has told of.
    func guess(_ id: String, because silence: any Error) -> NetworkRecord {
        logger.warning(
            "a network is taken for internal until the engine says what it is",
            metadata: ["network": "\(id.abbreviated)", "error": "\(silence)"])
        var record = record(id, subnets: [], options: NetworkOptions(lenient: [:]), isInternal: true)
        record.isProvisional = true
        return record
    }

    /// Asks the engine about this node's networks that are guesses, and puts in force what it says.
    public func completeProvisionalNetworks() async {
        let (guesses, followers) = replica.read { state in
            (
                state.networks.values.map(\.value).filter { $0.isProvisional && $0.nextHops[node] != nil }.map(\.id),
                Set(state.endpoints.values.filter(\.value.isProvisional).compactMap(\.value.networkID))
            )
        }
        do {
            for id in followers { try await settle(id) }
            // Silent about one, the engine is so about all: each would cost the whole patience.
            for id in guesses { try await complete(id) }
        } catch {
            logger.warning(
                "a network is still taken for internal, because the engine does not say what it is",
                metadata: ["networks": "\(guesses.map(\.abbreviated))", "error": "\(error)"])
        }
    }

    /// An endpoint was added, perhaps to a guess: that is completed as soon as the engine answers, within a minute;
    /// later it is the reconciler's.
    func followProvisional(_ id: String, _ endpoint: Key) async {
        let (isGuess, isBehind) = replica.read { state in
            (state.networks[id]?.value.isProvisional == true, state.endpoints[endpoint]?.value.isProvisional == true)
        }
        // Completed just now, by somebody who did not see this endpoint yet.
        if !isGuess, isBehind { try? await settle(id) }
        guard isGuess else { return }
        background.run("network \(id)") {
            for attempt in 1...60 {
                guard !Task.isCancelled, network(id)?.value.isProvisional == true else { return }
                try? await complete(id)
                try? await Task.sleep(for: .milliseconds(100 * min(attempt, 10)))
            }
        }
    }

    /// - Throws: where engine or datastore give no answer.
    private func complete(_ id: String) async throws {
        guard let found = try await engine.lookUp(id) else { return }
        let options = NetworkOptions(lenient: found.options)
        try await commit { state in
            state.networks[id].flatMap { state.completing($0, with: record(id, as: found, options, in: state)) }
        }
        logger.notice(
            "a network is known now as the engine has it",
            metadata: ["network": "\(id.abbreviated)", "name": "\(found.name)", "internal": "\(found.isInternal)"])
        try await settle(id)
    }

    /// Gives a completed network's endpoints what they have from it, in place of the guess's; many in one commit.
    private func settle(_ id: String) async throws {
        var isDone = false
        while !isDone {
            try await commit { state in
                let transaction = state.settling(id, Self.recordsPerCommit)
                isDone = transaction == nil
                return transaction
            }
        }
        // Endpoints on other networks have borrowed the guess's profile.
        try await reuniteContainers()
    }
}

extension ClusterState {
    /// What puts the truth about a network in the place of a guess.
    fileprivate func completing(_ guess: Versioned<NetworkRecord>, with truth: NetworkRecord) -> Transaction? {
        guard guess.value.isProvisional else { return nil }
        let completed = guess.value.completed(as: truth)
        var transaction = Transaction(
            if: [.unchanged(completed.key, since: guess.revision)], writes: [.put(completed.key, completed)])
        if let profile = completed.profile, completed.wantsProfile, guess.value.profile != nil {
            transaction.merge(providing(profile, for: completed))
        }
        return transaction
    }

    /// What lets some of a network's endpoints follow it that were made while it was a guess, and ends its profile with
    /// the last; `nil` where there is none.
    fileprivate func settling(_ id: String, _ limit: Int) -> Transaction? {
        guard let network = networks[id]?.value, !network.isProvisional else { return nil }
        let behind = endpoints.values.filter { $0.value.isProvisional && $0.value.networkID == id }.prefix(limit)
        guard !behind.isEmpty else { return nil }
        var transaction = Transaction()
        for seen in behind {
            let key = seen.value.key
            transaction.merge(
                Transaction(
                    if: [.unchanged(key, since: seen.revision)], writes: [.put(key, seen.value.settled(on: network))]))
        }
        if network.profile != network.namelessProfile {
            transaction.merge(
                removing(
                    network.namelessProfile, besidesNetwork: id, besidesEndpoints: Set(behind.map(\.value.key))))
        }
        return transaction
    }
}

extension NetworkRecord {
    /// A guess as `truth` has it, with a profile if the guess's endpoints have one already.
    fileprivate func completed(as truth: NetworkRecord) -> NetworkRecord {
        var record = truth
        record.nextHops = nextHops
        record.created = created
        record.unknown = unknown
        if profile != nil { record.profile = truth.profileName }
        return record
    }
}

extension WorkloadEndpoint {
    /// `true` on an endpoint that was made while its network was a guess.
    static let provisionalAnnotation = "libnetwork.projectcalico.org/provisional"

    fileprivate var isProvisional: Bool { metadata.annotations[Self.provisionalAnnotation] != nil }

    /// This endpoint with what it has from its network, now that this is known. Its own choices and its container's
    /// labels stay.
    fileprivate func settled(on network: NetworkRecord) -> WorkloadEndpoint {
        var endpoint = self
        for key in [Self.provisionalAnnotation, Self.internalAnnotation] { endpoint.metadata.annotations[key] = nil }
        endpoint.metadata.annotations.merge(network.annotations) { _, new in new }
        endpoint.metadata.labels.merge(network.labels) { own, _ in own }
        let profiles = network.profile.map { [$0] } ?? []
        // Where the host makes no profiles, the guess had none.
        let guessed = network.wantsProfile || network.profile == nil ? [network.namelessProfile] : []
        // One that it has borrowed already stays borrowed, and the guess's its own.
        guard ownProfiles == guessed, profiles.allSatisfy({ !spec.profiles.contains($0) }) else { return endpoint }
        endpoint.spec.profiles = profiles + spec.profiles.filter { $0 != network.namelessProfile }
        return endpoint
    }
}
