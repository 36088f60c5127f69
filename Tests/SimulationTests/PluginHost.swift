// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM
import Logging

/// The store as one process of ours reaches it.
struct SimulatedStore: KeyValueStore {
    let simulation: Simulation
    let client: Simulation.Client

    func get(_ key: Key) async throws(StoreError) -> Entry? {
        await simulation.get(key, by: client).flatMap(StoredKeys.entry)
    }

    func list(under prefix: Key) async throws(StoreError) -> Snapshot {
        let (changes, revision) = await simulation.list(under: prefix, by: client)
        return Snapshot(entries: changes.compactMap(StoredKeys.entry), revision: revision)
    }

    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        try await simulation.commit(transaction, by: client).get()
    }

    func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        AsyncThrowingStream { continuation in
            simulation.executor.start {
                await simulation.watch(prefix, after: revision, continuation, by: client)
            }
        }
    }
}

/// One life of the plugin on a host: the real allocator on the real replica.
final class PluginHost: Sendable {
    let simulation: Simulation
    let client: Simulation.Client
    let node: String
    let replica: Replica<ClusterState>
    let allocator: AddressAllocator

    init(_ simulation: Simulation, _ client: Simulation.Client, node: String) {
        self.simulation = simulation
        self.client = client
        self.node = node
        let store = SimulatedStore(simulation: simulation, client: client)
        let logger = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }
        replica = Replica(of: store, under: ClusterState.ranges, logger: logger)
        allocator = AddressAllocator(
            replica: replica, node: node, logger: logger,
            surroundings: Surroundings(
                now: { simulation.now }, pause: { _ in await simulation.pause(client) },
                executor: simulation.executor.tasks))
    }

    func assign(_ id: String, _ request: AddressRequest) async {
        do {
            let address = try await allocator.assign(request)
            await simulation.answered(id, address, to: client)
        } catch {
            await simulation.refused(id, "\(error)", error.certainty, to: client)
        }
    }

    func release(_ id: String, _ address: IPAddress, _ owner: AllocationAttributes) async {
        do {
            let found = try await allocator.release(.init(address) { $0 == owner })
            await simulation.released(id, found, by: client)
        } catch {
            await simulation.failedToRelease(id, "\(error)", error.certainty, by: client)
        }
    }

    /// Takes what it can get and gives it all back: whatever is left half done on the way is made good.
    func makeTheRounds() async {
        var ids: [String] = []
        for _ in 0..<20 {
            let (id, request) = await simulation.newRequest(of: client)
            await assign(id, request)
            guard await simulation.isHeld(id) else { break }
            ids.append(id)
        }
        for id in ids { await simulation.release(id, by: client) }
    }

    /// Where this host's copy differs from the store, now that every watch has told all.
    func difference(from keys: StoredKeys) -> String? {
        let copy = replica.snapshot
        for change in keys.entries.values.sorted(by: { $0.key < $1.key }) where Key.ipam.isPrefix(of: change.key) {
            guard let seen = copy.value(at: change.key) else { return "\(client.name) does not know of \(change.key)" }
            guard seen == (try? change.value(at: change.key)) else { return "\(client.name) has an old \(change.key)" }
        }
        let known = copy.blocks.keys.map(Key.block) + copy.affinities.keys + copy.handles.keys.map(Key.handle)
        let gone = known.filter { keys.entries[$0] == nil }.min()
        return gone.map { "\(client.name) believes in \($0), which is gone" }
    }
}

extension ClusterState {
    fileprivate func value(at key: Key) -> AnyHashable? {
        if Key.blocks.isPrefix(of: key) { return key.blockCIDR.flatMap { blocks[$0]?.value } }
        if Key.affinities.isPrefix(of: key) { return affinities[key]?.value }
        if Key.handles.isPrefix(of: key) { return handles[key.lastSegment]?.value }
        return ipamConfiguration?.value
    }
}

extension Change {
    fileprivate func value(at key: Key) throws -> AnyHashable? {
        if Key.blocks.isPrefix(of: key) { return try decoded(IPAMBlock.self) }
        if Key.affinities.isPrefix(of: key) { return try decoded(BlockAffinity.self) }
        if Key.handles.isPrefix(of: key) { return try decoded(IPAMHandle.self) }
        return try decoded(IPAMConfiguration.self)
    }
}

/// What an error says about what was done.
enum Certainty: Sendable { case nothingDone, unknown, willBeUndone }

extension IPAMError {
    var certainty: Certainty {
        switch self {
        case .abandoned: .willBeUndone
        case .store(.outcomeUnknown): .unknown
        default: .nothingDone
        }
    }
}
