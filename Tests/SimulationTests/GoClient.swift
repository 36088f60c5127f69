// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import IPAM

/// A client that keeps Calico's own discipline: one key per write, each a compare-and-swap, in an order from which
/// every crash can be repaired (libcalico-go `lib/ipam/ipam.go`, `ipam_block_reader_writer.go`, `ipam_handle.go`).
///
/// It is written from the rules, not for speed, and shares with our allocator only the types of the values.
///
/// A class because Swift 6.3 mishandles async methods of large structs that take large arguments.
final class GoClient: Sendable {
    let simulation: Simulation
    let client: Simulation.Client
    let host: String

    init(simulation: Simulation, client: Simulation.Client, host: String) {
        self.simulation = simulation
        self.client = client
        self.host = host
    }

    /// Attempts at one thing before giving up, `datastoreRetries`.
    static let retries = 100

    enum Failure: Error {
        /// The key is not as it was read.
        case conflict
        case exists
        case missing
        case unavailable
        /// This process has died.
        case dead
        /// The claim is to a block of another host.
        case staleClaim
        case claimedByAnother
        case notEmpty
        case noFreeBlocks
        case blockLimit
        case taken
        case wrongAffinity
        case notInPool
        case maximumRetries
    }

    struct Seen<Value: Codable & Sendable>: Sendable {
        var value: Value
        let revision: Revision
    }

    // MARK: One key at a time

    func get<Value: Codable & Sendable>(_ key: Key, _ type: Value.Type) async throws -> Seen<Value>? {
        let change = await simulation.get(key, by: client)
        guard await !simulation.isDead(client) else { throw Failure.dead }
        return change.flatMap(Self.seen)
    }

    func list<Value: Codable & Sendable>(
        _ prefix: Key, _ type: Value.Type
    ) async throws -> [(key: Key, seen: Seen<Value>)] {
        let changes = await simulation.list(under: prefix, by: client).changes
        guard await !simulation.isDead(client) else { throw Failure.dead }
        return changes.compactMap { change in Self.seen(change).map { (change.key, $0) } }
    }

    func create<Value: Codable & Sendable>(_ key: Key, _ value: Value) async throws -> Seen<Value> {
        switch await write(.absent(key), .put(key, value)) {
        case .success(let revision): return Seen(value: value, revision: revision)
        case .failure(let failure): throw failure == .conflict ? .exists : failure
        }
    }

    func update<Value: Codable & Sendable>(_ key: Key, _ seen: Seen<Value>) async throws -> Seen<Value> {
        let revision = try await write(.unchanged(key, since: seen.revision), .put(key, seen.value)).get()
        return Seen(value: seen.value, revision: revision)
    }

    func delete<Value>(_ key: Key, _ seen: Seen<Value>) async throws {
        _ = try await write(.unchanged(key, since: seen.revision), .delete(key)).get()
    }

    private func write(
        _ precondition: Transaction.Precondition, _ write: Transaction.Write
    ) async -> Result<Revision, Failure> {
        let outcome = await simulation.commit(Transaction(if: [precondition], writes: [write]), by: client)
        guard await !simulation.isDead(client) else { return .failure(.dead) }
        switch outcome {
        case .success(.committed(let revision)): return .success(revision)
        case .success(.conflict(let present)):
            return .failure((present.values.first ?? nil) == nil ? .missing : .conflict)
        case .failure: return .failure(.unavailable)
        }
    }

    private static func seen<Value: Codable & Sendable>(_ change: Change) -> Seen<Value>? {
        ((try? change.decoded(Value.self)) ?? nil).map { Seen(value: $0, revision: change.revision) }
    }

    // MARK: Blocks

    /// A block as Go reads it: what has cooled down is free.
    func block(_ cidr: CIDR) async throws -> Seen<IPAMBlock>? {
        guard var seen = try await get(Key.block(cidr), IPAMBlock.self) else { return nil }
        seen.value.collectCooledDown(after: simulation.scenario.configuration.cooldownSeconds, now: simulation.now)
        return seen
    }

    func update(_ block: Seen<IPAMBlock>) async throws -> Seen<IPAMBlock> {
        var block = block
        block.value.advanceSequence()
        return try await update(Key.block(block.value.cidr), block)
    }

    func isReserved(_ address: IPAddress, _ reserved: [CIDR]) -> Bool { reserved.contains { $0.contains(address) } }

    // MARK: Handles

    func increment(_ handle: String?, _ cidr: CIDR) async throws {
        guard let handle else { return }
        let key = Key.handle(handle)
        for _ in 0..<Self.retries {
            do {
                guard var seen = try await get(key, IPAMHandle.self) else {
                    var fresh = IPAMHandle()
                    fresh.increment(cidr)
                    _ = try await create(key, fresh)
                    return
                }
                seen.value.increment(cidr)
                _ = try await update(key, seen)
                return
            } catch let error as Failure {
                if error == .dead { throw error }
            }
        }
        throw Failure.maximumRetries
    }

    func decrement(_ handle: String?, _ cidr: CIDR) async throws {
        guard let handle else { return }
        let key = Key.handle(handle)
        for _ in 0..<Self.retries {
            guard var seen = try await get(key, IPAMHandle.self) else { return }
            seen.value.decrement(cidr)
            do {
                if seen.value.isEmpty { try await delete(key, seen) } else { _ = try await update(key, seen) }
                return
            } catch let error as Failure {
                guard error == .conflict || error == .missing else { throw error }
            }
        }
        throw Failure.maximumRetries
    }
}
