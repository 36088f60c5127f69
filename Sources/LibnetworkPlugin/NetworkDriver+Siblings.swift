// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
import Logging

// A container on several networks has an endpoint on each, and answers through one default route whatever network it
// was asked on. So each of its endpoints carries the profiles of all its networks, which makes all its addresses
// members of each, on every host; and each may send with the others' addresses.

extension NetworkDriver {
    /// Lets the endpoints of one container know of each other, as it joins another network.
    func unite(_ endpoint: WorkloadEndpoint, _ connection: Connection, sandbox: String?) async throws {
        guard let sandbox, !connection.siblings.isEmpty else { return }
        let interfaces = connection.siblings.union([endpoint.spec.interfaceName])
        do {
            try await commit { state in
                state.uniting(state.endpoints(of: node, on: interfaces), sandbox: sandbox, on: node)
            }
        } catch {
            try? await dataplane.disconnect(interfaceName: endpoint.spec.interfaceName)
            throw error
        }
        let united = replica.read { $0.endpoints(of: node, on: interfaces) }
        await dataplane.apply(united.map { ClusterChange($0.value) })
        warnOfSpoofing(connection, endpoint)
    }

    private func warnOfSpoofing(_ connection: Connection, _ endpoint: WorkloadEndpoint) {
        guard connection.master == .felix, !replica.read({ $0.allowsFurtherSources(on: node) }) else { return }
        logger.warning(
            "a container on several networks can answer on one of them only; set workloadSourceSpoofing: Any in Felix's configuration",
            metadata: ["endpoint": "\(endpoint.spec.endpoint.abbreviated)"])
    }

    /// Puts in force what another endpoint's departure has changed for a container's remaining ones.
    func applyEndpoints(ofSandbox sandbox: String) async {
        let remaining = replica.read { $0.endpoints(of: node, sandbox: sandbox) }
        await dataplane.apply(remaining.map { ClusterChange($0.value) })
    }

    /// Brings the endpoints of all containers on several networks in line with Felix's configuration of today.
    func reuniteContainers() async throws {
        let changing = replica.read { state in
            state.containersOnSeveralNetworks(of: node).filter { sandbox, endpoints in
                !state.uniting(endpoints, sandbox: sandbox, on: node).writes.isEmpty
            }
        }
        for batch in Self.batches(of: changing.mapValues(\.count)) {
            try await commit { state in
                let containers = state.containersOnSeveralNetworks(of: node)
                return batch.reduce(into: Transaction()) { transaction, sandbox in
                    transaction.merge(state.uniting(containers[sandbox] ?? [], sandbox: sandbox, on: node))
                }
            }
        }
    }

    /// Containers by what one commit takes. etcd accepts 128 operations in a transaction; a container may join networks
    /// meanwhile.
    private static func batches(of endpoints: [String: Int], limit: Int = 50) -> [[String]] {
        var batches: [[String]] = []
        var room = 0
        for (sandbox, count) in endpoints {
            if count > room {
                batches.append([])
                room = limit
            }
            batches[batches.count - 1].append(sandbox)
            room -= count
        }
        return batches
    }
}

extension ClusterState {
    /// A node's endpoints that have these interfaces.
    func endpoints(of node: String, on interfaces: Set<String>) -> [Versioned<WorkloadEndpoint>] {
        endpoints.values.filter { $0.value.spec.node == node && interfaces.contains($0.value.spec.interfaceName) }
    }

    /// A node's endpoints that lead to this container, if it is on several networks.
    func endpoints(of node: String, sandbox: String) -> [Versioned<WorkloadEndpoint>] {
        endpoints.values.filter { $0.value.spec.node == node && $0.value.sandbox == sandbox }
    }

    /// A node's endpoints that have siblings, by container.
    func containersOnSeveralNetworks(of node: String) -> [String: [Versioned<WorkloadEndpoint>]] {
        endpoints.values.reduce(into: [:]) { containers, endpoint in
            guard endpoint.value.spec.node == node, let sandbox = endpoint.value.sandbox else { return }
            containers[sandbox, default: []].append(endpoint)
        }
    }

    /// What makes endpoints know of each other; all those of one container.
    /// - Parameter leaving: one that is about to go.
    func uniting(
        _ endpoints: [Versioned<WorkloadEndpoint>], sandbox: String, on node: String, leaving: WorkloadEndpoint? = nil
    ) -> Transaction {
        var transaction = Transaction()
        let container = endpoints.map(\.value).sorted { $0.name < $1.name }
        for seen in endpoints {
            let siblings = container.filter { $0.key != seen.value.key }
            let united = seen.value.united(
                with: siblings, formerly: siblings + [leaving].compactMap(\.self), sandbox: sandbox,
                namesSources: allowsFurtherSources(on: node))
            guard united != seen.value else { continue }
            transaction.merge(
                Transaction(
                    if: [.unchanged(united.key, since: seen.revision)], writes: [.put(united.key, united)]))
        }
        return transaction
    }

    /// The other endpoints of its container.
    func siblings(of endpoint: WorkloadEndpoint) -> [Versioned<WorkloadEndpoint>] {
        guard let sandbox = endpoint.sandbox else { return [] }
        return endpoints(of: endpoint.spec.node, sandbox: sandbox).filter { $0.value.key != endpoint.key }
    }

    /// What takes an endpoint's profiles and addresses from its container's other endpoints.
    func parting(_ endpoint: WorkloadEndpoint) -> Transaction {
        guard let sandbox = endpoint.sandbox else { return Transaction() }
        return uniting(siblings(of: endpoint), sandbox: sandbox, on: endpoint.spec.node, leaving: endpoint)
    }

    /// Felix heeds endpoints that name further addresses to send from. Otherwise it ignores them.
    func allowsFurtherSources(on node: String) -> Bool { felixSetting(\.workloadSourceSpoofing, of: node) == "Any" }
}

extension WorkloadEndpoint {
    private static let sandboxAnnotation = "libnetwork.projectcalico.org/sandbox"
    private static let borrowedAnnotation = "libnetwork.projectcalico.org/profiles-of-other-networks"

    /// Equal for the endpoints of one container on several networks; `nil` on those of all others.
    var sandbox: String? { metadata.annotations[Self.sandboxAnnotation] }

    /// Those that it would have without siblings.
    var ownProfiles: [String] {
        let borrowed = metadata.annotations[Self.borrowedAnnotation]?.split(separator: ",").map(String.init) ?? []
        return spec.profiles.filter { !borrowed.contains($0) }
    }

    /// This endpoint as one of several of its container.
    /// - Parameters:
    ///   - siblings: the other ones.
    ///   - former: they, and those that were.
    ///   - namesSources: whether the siblings' addresses may stand in it.
    fileprivate func united(
        with siblings: [WorkloadEndpoint], formerly former: [WorkloadEndpoint], sandbox: String, namesSources: Bool
    ) -> WorkloadEndpoint {
        var endpoint = self
        let own = ownProfiles
        // Without a profile of its own it is closed to what no policy lets in, and stays so.
        let borrowed = own.isEmpty ? [] : siblings.flatMap(\.ownProfiles).withoutRepetition.filter { !own.contains($0) }
        let sources = namesSources ? siblings.flatMap(\.networkTexts) : []
        let others = Set(former.flatMap(\.networkTexts))
        endpoint.spec.profiles = own + borrowed
        endpoint.spec.allowSpoofedSourcePrefixes =
            spec.allowSpoofedSourcePrefixes.filter { !others.contains($0) } + sources
        endpoint.metadata.annotations[Self.sandboxAnnotation] = siblings.isEmpty ? nil : sandbox
        endpoint.metadata.annotations[Self.borrowedAnnotation] =
            borrowed.isEmpty ? nil : borrowed.joined(separator: ",")
        return endpoint
    }

    private var networkTexts: [String] { spec.ipNetworks.map(\.description) }
}

extension [String] {
    /// Each once, where it comes first.
    fileprivate var withoutRepetition: [String] {
        var seen: Set<String> = []
        return filter { seen.insert($0).inserted }
    }
}
