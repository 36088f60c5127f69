// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import Testing

@testable import LibnetworkPlugin

/// What the plugin has written, as a test compares it.
struct Contents: Equatable, CustomStringConvertible {
    var endpoints: Set<String> = []
    var addresses: Set<String> = []
    var networks: Set<String> = []
    var profiles: Set<String> = []
    /// Addresses that handles count.
    var handled = 0

    var description: String {
        "endpoints \(endpoints.sorted()), addresses \(addresses.sorted()), handles count \(handled), "
            + "networks \(networks.sorted()), profiles \(profiles.sorted())"
    }

    static let nothing = Contents()
}

extension Plugin {
    /// Read from the store itself, not from the plugin's copy of it.
    func contents() async throws -> Contents {
        let replica = Replica<ClusterState>(of: store, under: ClusterState.ranges, logger: .silent)
        try await replica.load()
        let state = replica.snapshot
        #expect(state.unreadable.isEmpty)
        for block in state.blocks.values { try block.value.checkInvariants() }
        var contents = Contents()
        contents.endpoints = Set(state.endpoints.values.map(\.value.spec.endpoint))
        contents.addresses = Set(
            state.blocks.values.flatMap { $0.value.assignments.map { "\($0.address)" } })
        contents.networks = Set(state.networks.keys)
        contents.profiles = Set(state.profiles.keys)
        contents.handled = state.handles.values.flatMap(\.value.blocks.values).reduce(0, +)
        return contents
    }

    func endpoint(_ id: String) throws -> WorkloadEndpoint? { try network.endpoint(id)?.value }
    func record(_ id: String) -> NetworkRecord? { network.network(id)?.value }

    /// Neither the store nor the kernel holds anything of any container or network.
    func expectNothingLeft(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        #expect(try await contents() == .nothing, sourceLocation: sourceLocation)
        #expect(dataplane.interfaces.isEmpty, sourceLocation: sourceLocation)
    }
}

extension FaultyStore {
    func put(pool name: String, _ cidr: String) async throws {
        let pool = IPPool(
            metadata: ResourceMetadata(name: name).asCreated(), spec: IPPoolSpec(cidr: try #require(CIDR(cidr))))
        _ = try await commit(Transaction(writes: [.put(pool.key, pool)]))
    }
}
