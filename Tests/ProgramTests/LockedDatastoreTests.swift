// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Testing

@testable import calico_libnetwork

@Suite struct `A locked datastore` {
    private let folder: TemporaryFolder
    private let file: String

    init() async throws {
        folder = try TemporaryFolder()
        file = folder.path("calico.sqlite")
        let pools = [("blue", "10.65.0.0/24", false), ("grey", "10.66.0.0/24", true)].map { name, cidr, isDisabled in
            var pool = IPPool(metadata: ResourceMetadata(name: name).asCreated(), spec: IPPoolSpec(cidr: CIDR(cidr)!))
            pool.spec.disabled = isDisabled
            return pool
        }
        let store = SteppedStore(on: try SQLiteStore(path: file))
        try await store.put(pools.map { .put($0.key, $0) })
        try await store.lock()
    }

    @Test(arguments: [
        ["pool", "create", "red", "--cidr", "10.67.0.0/24"], ["pool", "disable", "blue"], ["pool", "enable", "grey"],
        ["pool", "delete", "blue"],
    ])
    func `is written by no command`(_ arguments: [String]) async throws {
        let before = try await SQLiteStore(path: file).list(under: Key("/")).revision
        let outcome = try BuiltProgram.run(arguments, on: file)
        #expect(outcome.status == 1 && outcome.output.isEmpty)
        #expect(
            outcome.errors.hasPrefix("Error: the datastore is locked (ClusterInformation has datastoreReady: false)"))
        #expect(try await SQLiteStore(path: file).list(under: Key("/")).revision == before)
    }

    @Test func `is read by commands`() throws {
        #expect(try BuiltProgram.run(["pool", "list"], on: file).output.contains("blue"))
    }

    /// Also where the lock comes after the state was read.
    @Test(arguments: [true, false])
    func `is not written at the start`(knowsOfLock: Bool) async throws {
        let store = SteppedStore(on: try SQLiteStore(path: ":memory:"))
        let replica = Replica<ClusterState>(of: store, under: ClusterState.ranges, logger: CommandStore.silent)
        if !knowsOfLock { try await replica.load() }
        try await store.lock()
        if knowsOfLock { try await replica.load() }
        var reader = SettingReader(environment: [:])
        let pools = DefaultPools(settings: try .init(&reader), hostNetworks: [], kernelHasIPv6: true)
        let addresses = try NodeAddresses(&reader)
        let attempts: [(Replica<ClusterState>) async throws -> Void] = [
            { try await addresses.ensureClusterInformation(in: $0) },
            { try await addresses.ensureDefaultTier(in: $0) },
            { try await addresses.ensureNode("host-1", in: $0, HostAddresses()) },
            { try await pools.create(in: $0, CommandStore.silent) },
        ]
        for attempt in attempts {
            await #expect { try await attempt(replica) } throws: { "\($0)".hasPrefix("the datastore is locked") }
        }
        #expect(try await store.list(under: Key("/")).entries.count == 1)
    }
}
