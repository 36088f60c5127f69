// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@Suite struct `The SQLite store on a full disk` {
    @Test(arguments: [false, true])
    func `loses nothing it answered, and goes on when there is room`(isOpenedAnew: Bool) async throws {
        let disk = try await SmallDisk.mount(bytes: 256 << 10)
        defer { disk.remove() }
        let (answered, failure) = await fill(try disk.store)
        guard case .full = failure else {
            Issue.record("a full disk gave \(failure.map { "\($0)" } ?? "no error")")
            return
        }
        #expect(!answered.isEmpty)
        #expect(try await numbers(in: disk.store) == answered)

        try disk.resize(bytes: 4 << 20)
        if isOpenedAnew {
            try await disk.openAnew()
            #expect(try await numbers(in: disk.store) == answered)
        }
        _ = try await disk.store.commit(put(5_000))
        #expect(try await numbers(in: disk.store) == answered + [5_000])
        try await disk.openAnew()
        #expect(try await numbers(in: disk.store) == answered + [5_000])
    }

    private func fill(_ store: SQLiteStore) async -> (answered: [Int], failure: StoreError?) {
        var answered: [Int] = []
        for number in 0..<1_000 {
            do {
                _ = try await store.commit(put(number))
                answered.append(number)
            } catch { return (answered, error) }
        }
        return (answered, nil)
    }

    private func put(_ number: Int) -> Transaction {
        Transaction(writes: [.put(Key("/t/\(10_000 + number)"), bytes: Data(count: 3_000))])
    }

    private func numbers(in store: SQLiteStore) async throws -> [Int] {
        try await store.list(under: Key("/t/")).entries.compactMap { Int($0.key.lastSegment).map { $0 - 10_000 } }
    }
}

/// A tmpfs and a store on it. It is mounted in a mount namespace of one thread: nothing else on the machine sees it.
/// The store opens all of its files there at once and keeps them.
private final class SmallDisk: Sendable {
    private let opened: Mutex<SQLiteStore?>
    private let folder: String
    private let lane: ThreadLane

    private init(store: SQLiteStore, folder: String, lane: ThreadLane) {
        opened = Mutex(store)
        self.folder = folder
        self.lane = lane
    }

    var store: SQLiteStore {
        get throws { try #require(opened.withLock { $0 }) }
    }

    /// What the next process finds.
    func openAnew() async throws {
        opened.withLock { $0 = nil }
        let folder = folder
        let store = try await lane.run { try Self.open(in: folder) }
        opened.withLock { $0 = store }
    }

    private static func open(in folder: String) throws -> SQLiteStore {
        try SQLiteStore(path: folder + "/store.sqlite")
    }

    static func mount(bytes: Int) async throws -> SmallDisk {
        let folder = NSTemporaryDirectory() + "small-disk-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let lane = ThreadLane()
        return try await lane.run {
            try unshare(0x0002_0000)  // CLONE_NEWNS
            try check("private", Glibc.mount("none", "/", nil, UInt(MS_REC) | UInt(MS_PRIVATE), nil))
            try check("mount", Glibc.mount("tmpfs", folder, "tmpfs", 0, "size=\(bytes)"))
            return SmallDisk(store: try open(in: folder), folder: folder, lane: lane)
        }
    }

    func resize(bytes: Int) throws {
        let done = DispatchSemaphore(value: 0)
        let folder = self.folder
        lane.perform {
            if Glibc.mount("tmpfs", folder, "tmpfs", UInt(MS_REMOUNT), "size=\(bytes)") != 0 { perror("remount") }
            done.signal()
        }
        done.wait()
    }

    func remove() { rmdir(folder) }

    private static func check(_ call: String, _ code: Int32) throws {
        if code != 0 { throw SystemCallFailure(call) }
    }
}
