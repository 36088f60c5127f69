// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM
import Logging
import Testing

/// Some hosts on one store in memory, each with its allocator and its copy of the state.
final class Cluster: Sendable {
    let sqlite: SQLiteStore

    init(pools: String..., blockSize: Int? = nil, configuration: IPAMConfiguration? = nil) async throws {
        sqlite = try SQLiteStore(path: ":memory:")
        for (index, cidr) in pools.enumerated() {
            try await put(pool: "pool\(index + 1)", cidr) { $0.spec.blockSize = blockSize }
        }
        if let configuration { try await put(.ipamConfiguration, configuration) }
    }

    func put(pool name: String, _ cidr: String, _ change: (inout IPPool) -> Void = { _ in }) async throws {
        var pool = IPPool(metadata: ResourceMetadata(name: name).asCreated(), spec: IPPoolSpec(cidr: CIDR(cidr)!))
        change(&pool)
        try await put(pool.key, pool)
    }

    func put(_ key: Key, _ value: some Encodable & Sendable) async throws {
        _ = try await sqlite.commit(Transaction(writes: [.put(key, value)]))
    }

    func put(_ key: Key, text: String) async throws {
        _ = try await sqlite.commit(Transaction(writes: [.put(key, bytes: Data(text.utf8))]))
    }

    func delete(_ key: Key) async throws { _ = try await sqlite.commit(Transaction(writes: [.delete(key)])) }

    func reserve(_ cidrs: String...) async throws {
        let reservation = IPReservation(
            metadata: ResourceMetadata(name: "r").asCreated(), spec: IPReservationSpec(reservedCIDRs: cidrs))
        try await put(reservation.key, reservation)
    }

    func node(_ name: String, labels: [String: String]) async throws {
        var node = Node(metadata: ResourceMetadata(name: name).asCreated(), spec: NodeSpec())
        node.metadata.labels = labels
        try await put(node.key, node)
    }

    /// A host whose state is as of now; later changes reach it only through its own commits and conflicts.
    func host(
        _ name: String = "host-1", through store: (any KeyValueStore)? = nil, now: Date? = nil
    ) async throws -> Host {
        let replica = Replica<ClusterState>(
            of: store ?? sqlite, under: ClusterState.ranges, logger: Logger(label: "test"))
        try await replica.load()
        let allocator = AddressAllocator(
            replica: replica, node: name, logger: Logger(label: "test"),
            surroundings: Surroundings(now: { now ?? .now }))
        return Host(name: name, replica: replica, allocator: allocator)
    }

    func state() async throws -> ClusterState { try await host().replica.snapshot }

    func paths(under prefix: Key = .ipam) async throws -> [String] {
        try await sqlite.list(under: prefix).entries.map(\.key.path)
    }

    /// Transactions that `body` commits.
    func commits(_ body: () async throws -> Void) async throws -> Int {
        let before = await sqlite.counters.transactions
        try await body()
        return await sqlite.counters.transactions - before
    }

    func expectInvariants(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await IPAMTests.expectInvariants(of: sqlite, sourceLocation: sourceLocation)
    }
}

struct Host: Sendable {
    let name: String
    let replica: Replica<ClusterState>
    let allocator: AddressAllocator

    func owner(_ handle: String?) -> AllocationAttributes {
        AllocationAttributes(handleID: handle, secondary: ["node": name])
    }

    func request(
        _ handle: String? = nil, _ family: IPAddress.Family = .v4, from scope: AddressScope = .anyPool,
        address: String? = nil,
        mayReplace: @escaping @Sendable (IPAddress, AllocationAttributes) -> Bool = { _, _ in false }
    ) -> AddressRequest {
        AddressRequest(
            family: family, scope: scope, address: address.map { IPAddress($0)! }, owner: owner(handle),
            mayReplace: mayReplace)
    }

    @discardableResult
    func assign(
        _ handle: String? = nil, _ family: IPAddress.Family = .v4, from scope: AddressScope = .anyPool,
        address: String? = nil
    ) async throws -> IPAddress {
        try await allocator.assign(request(handle, family, from: scope, address: address))
    }

    @discardableResult
    func release(
        _ address: IPAddress, if isAllowed: @escaping @Sendable (AllocationAttributes) -> Bool = { _ in true }
    ) async throws -> AllocationAttributes? {
        try await allocator.release(.init(address, if: isAllowed))
    }
}

/// Checks what `docs/ipam.md` says always holds, across blocks, affinities and handles.
func expectInvariants(of store: any KeyValueStore, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    var state = ClusterState()
    for entry in try await store.list(under: Key("/calico/")).entries { state.apply(Change(entry)) }
    let blocks = state.blocks.values.map(\.value)
    var counted: [String: [String: Int]] = [:]
    for block in blocks {
        #expect(throws: Never.self, sourceLocation: sourceLocation) { try block.checkInvariants() }
        for (address, owner) in block.assignments where !owner.isCoolingDown {
            #expect(owner.node != nil, "\(address) has no node", sourceLocation: sourceLocation)
            if let handle = owner.handleID { counted[handle, default: [:]][block.cidr.description, default: 0] += 1 }
        }
        if let host = block.affinity?.split(separator: ":").last.map(String.init) {
            let claim = state.affinities[Key.affinity(host: host, block: block.cidr)]?.value
            #expect(claim?.state == .confirmed, "\(block.cidr) of \(host)", sourceLocation: sourceLocation)
        }
    }
    let addresses = blocks.flatMap { $0.assignments.map(\.address) }
    #expect(Set(addresses).count == addresses.count, "an address has two owners", sourceLocation: sourceLocation)
    #expect(state.handles.mapValues(\.value.blocks) == counted, sourceLocation: sourceLocation)
    for (key, _) in state.affinities {
        let block = key.blockCIDR.flatMap { state.blocks[$0] }?.value
        #expect(block?.affinity == key.affinityHost.map { "host:\($0)" }, "\(key)", sourceLocation: sourceLocation)
    }
}

/// A store between whose reader and writer a test can put another writer.
actor InterleavingStore: KeyValueStore {
    private let store: any KeyValueStore
    private var before: [@Sendable () async throws -> Void]
    private(set) var conflicts = 0
    private(set) var attempts = 0

    /// - Parameter before: what happens before the first commit, the second, and so on.
    init(_ store: any KeyValueStore, before: [@Sendable () async throws -> Void]) {
        self.store = store
        self.before = before
    }

    func get(_ key: Key) async throws(StoreError) -> Entry? { try await store.get(key) }
    func list(under prefix: Key) async throws(StoreError) -> Snapshot { try await store.list(under: prefix) }

    func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        attempts += 1
        if !before.isEmpty {
            let next = before.removeFirst()
            do { try await next() } catch let error as StoreError { throw error } catch {
                throw .unavailable("\(error)")
            }
        }
        let outcome = try await store.commit(transaction)
        if case .conflict = outcome { conflicts += 1 }
        return outcome
    }

    nonisolated func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        store.changes(under: prefix, after: revision)
    }
}

/// The text of the error that `body` ends with.
func failure(of body: () async throws -> some Sendable) async -> String {
    do {
        _ = try await body()
        return "no error"
    } catch { return "\(error)" }
}
