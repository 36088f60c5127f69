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
        let guesses = replica.read { state in
            state.networks.values.map(\.value).filter { $0.isProvisional && $0.nextHops[node] != nil }
        }
        for guess in guesses {
            // Silent about one, it is so about all: each would cost the whole patience.
            do { try await complete(guess.id) } catch {
                return logger.warning(
                    "a network is still taken for internal, because the engine does not say what it is",
                    metadata: ["network": "\(guess.id.abbreviated)", "error": "\(error)"])
            }
        }
    }

    /// Completes a guess as soon as the engine answers, for a minute; later that is the reconciler's.
    func completeSoon(_ id: String) {
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
        while network(id)?.value.isProvisional == true {
            try await commit { state in
                state.networks[id].flatMap { guess in
                    state.completing(guess, with: record(id, as: found, options, in: state), Self.recordsPerCommit)
                }
            }
        }
        // Endpoints on other networks have borrowed the guess's profile.
        try await reuniteContainers()
        logger.notice(
            "a network is known now as the engine has it",
            metadata: ["network": "\(id.abbreviated)", "name": "\(found.name)", "internal": "\(found.isInternal)"])
    }
}

extension ClusterState {
    /// What puts the truth about a network in the place of a guess: first in its endpoints, `limit` at a time, and with
    /// the last of them in the record. Until then endpoints that are added take part, see `recording`.
    fileprivate func completing(
        _ guess: Versioned<NetworkRecord>, with truth: NetworkRecord, _ limit: Int
    ) -> Transaction? {
        guard guess.value.isProvisional else { return nil }
        let completed = guess.value.completed(as: truth)
        let old = endpoints.values.filter { $0.value.networkID == completed.id }.compactMap { seen in
            let endpoint = seen.value.moved(from: guess.value, to: completed)
            return endpoint == seen.value ? nil : Versioned(endpoint, seen.revision)
        }
        var transaction = Transaction(if: [.unchanged(completed.key, since: guess.revision)])
        for endpoint in old.prefix(limit) {
            let key = endpoint.value.key
            transaction.merge(
                Transaction(if: [.unchanged(key, since: endpoint.revision)], writes: [.put(key, endpoint.value)]))
        }
        if let profile = completed.profile, completed.wantsProfile, guess.value.profile != nil {
            transaction.merge(providing(profile, for: completed))
        }
        guard old.count <= limit else { return transaction }
        transaction.writes.append(.put(completed.key, completed))
        if let profile = guess.value.profile, profile != completed.profile {
            transaction.merge(
                removing(profile, besidesNetwork: completed.id, besidesEndpoints: Set(old.map(\.value.key))))
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
    /// This endpoint with what it has from its network, once that is known better. Its own choices and its container's
    /// labels stay.
    fileprivate func moved(from guess: NetworkRecord, to network: NetworkRecord) -> WorkloadEndpoint {
        var endpoint = self
        endpoint.metadata.annotations.merge(network.annotations) { _, new in new }
        if !network.isInternal { endpoint.metadata.annotations[Self.internalAnnotation] = nil }
        endpoint.metadata.labels.merge(network.labels) { own, _ in own }
        let profiles = network.profile.map { [$0] } ?? []
        // One that it has borrowed already stays borrowed, and the guess's its own.
        guard ownProfiles == guess.profile.map({ [$0] }) ?? [], profiles.allSatisfy({ !spec.profiles.contains($0) })
        else { return endpoint }
        endpoint.spec.profiles = profiles + spec.profiles.filter { $0 != guess.profile }
        return endpoint
    }
}
