// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Logging

// Whose endpoint it is. Docker's messages do not say: the engine's API does, or from engine 29 on the request for the
// address.

extension NetworkDriver {
    /// The container that `addresses` were taken for, where the engine said so.
    func containerName(holding addresses: [IPAddress], mac: MACAddress?) -> String? {
        replica.read { state in
            addresses.lazy.compactMap { state.owner(of: $0) }.first { owner in
                owner.node == node && owner.secondary["mac"].map { $0 == mac?.description } ?? true
            }?.container
        }
    }

    /// The endpoint with its container's labels, written to the store, where they are wanted and the engine tells them
    /// in time. What comes later is written later.
    func labelled(_ endpoint: WorkloadEndpoint, network: String) async -> WorkloadEndpoint {
        guard settings.labelsEndpoints, endpoint.containerID == nil else { return endpoint }
        let id = endpoint.spec.endpoint
        var reason = "the engine does not list the endpoint yet"
        do {
            let labelled = try await withDeadline(settings.labelPatience) {
                try await learnContainer(of: id, network: network)
            }
            if let labelled { return labelled }
        } catch { reason = "\(error)" }
        logger.warning(
            "a container starts without its labels, which are looked for meanwhile",
            metadata: ["endpoint": "\(id.abbreviated)", "reason": "\(reason)"])
        background.run(id) { await pollContainer(of: id, network: network) }
        return endpoint
    }

    /// Asks the engine whose the endpoint is, and writes the container's name, id and labels to it: one commit.
    ///
    /// - Parameter name: the container's, where it is known.
    /// - Returns: the endpoint as it is then; `nil` where the endpoint is gone or the engine does not know yet.
    /// - Throws: where the engine or the datastore gives no answer.
    @discardableResult
    func learnContainer(
        of id: String, network: String, name known: String? = nil
    ) async throws -> WorkloadEndpoint? {
        guard let seen = try endpoint(id)?.value else { return nil }
        let found = try await container(of: id, network: network, name: known ?? seen.containerName)
        guard let container = found else { return nil }
        let labels = ContainerLabels(container.labels)
        try await commit { state in
            state.changing(seen.key) { endpoint in
                endpoint.belong(to: .init(name: container.name, id: container.id))
                endpoint.take(labels)
            }
        }
        for problem in labels.problems {
            logger.warning(
                "a label of a container is left out",
                metadata: ["container": "\(container.name)", "label": "\(problem)"])
        }
        return try endpoint(id)?.value
    }

    /// The container that an endpoint belongs to; `nil` where the engine does not know yet.
    /// - Parameter name: the container's, where it is known.
    /// - Throws: where the engine gives no answer.
    func container(of id: String, network: String, name known: String?) async throws -> EngineContainer? {
        var name = known
        if name == nil { name = try await engine.lookUp(network)?.containers[id]?.name }
        guard let name else { return nil }
        return try await engine.container(named: name)
    }

    /// For engines that cannot tell within Join. The endpoint's change reaches the dataplane as any other's does.
    private func pollContainer(of id: String, network: String) async {
        do {
            try await withDeadline(settings.labelPollTimeout) {
                while let seen = try endpoint(id)?.value, seen.containerID == nil {
                    if (try? await learnContainer(of: id, network: network)) != nil {
                        return logger.notice("labels learnt late", metadata: ["endpoint": "\(id.abbreviated)"])
                    }
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
        } catch {
            logger.warning(
                "a container's labels could not be learnt; they are looked for again each minute",
                metadata: ["endpoint": "\(id.abbreviated)", "error": "\(error)"])
        }
    }

    /// Writes whose endpoints are, where that is news: a commit for many at once. One that is gone is left out.
    func record(_ containers: [Key: EngineNetwork.Container]) async throws {
        var rest = containers[...]
        while !rest.isEmpty {
            let batch = rest.prefix(Self.recordsPerCommit)
            rest = rest.dropFirst(batch.count)
            try await commit { state in
                batch.reduce(into: Transaction()) { transaction, item in
                    guard let change = state.changing(item.key, { $0.belong(to: item.value) }) else { return }
                    transaction.merge(change)
                }
            }
        }
    }

    /// etcd takes 128 operations in a transaction.
    static let recordsPerCommit = 100
}

extension ClusterState {
    /// What changes an endpoint; `nil` where it is gone or stays as it is.
    fileprivate func changing(_ key: Key, _ body: (inout WorkloadEndpoint) -> Void) -> Transaction? {
        guard let seen = endpoints[key] else { return nil }
        var endpoint = seen.value
        body(&endpoint)
        guard endpoint != seen.value else { return nil }
        return Transaction(if: [.unchanged(key, since: seen.revision)], writes: [.put(key, endpoint)])
    }
}
