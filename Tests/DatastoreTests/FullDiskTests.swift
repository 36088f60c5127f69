// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct `The SQLite store on a full disk` {
    @Test func `loses nothing it answered, and goes on when there is room`() async throws {
        let disk = try await SmallDisk.mount(bytes: 256 << 10)
        defer { disk.remove() }
        let store = disk.store
        var answered: [Int] = []
        var failure: StoreError?
        for number in 0..<1_000 where failure == nil {
            do {
                _ = try await store.commit(put(number))
                answered.append(number)
            } catch { failure = error }
        }
        guard case .full = failure else {
            Issue.record("a full disk gave \(failure.map { "\($0)" } ?? "no error")")
            return
        }
        #expect(!answered.isEmpty)
        #expect(try await numbers(in: store) == answered)

        try disk.resize(bytes: 4 << 20)
        _ = try await store.commit(put(5_000))
        #expect(try await numbers(in: store) == answered + [5_000])
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
    let store: SQLiteStore
    private let folder: String
    private let requests: @Sendable (@escaping @Sendable () -> Void) -> Void

    private init(
        store: SQLiteStore, folder: String, requests: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void
    ) {
        self.store = store
        self.folder = folder
        self.requests = requests
    }

    static func mount(bytes: Int) async throws -> SmallDisk {
        let folder = NSTemporaryDirectory() + "small-disk-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let lane = ThreadLane()
        return try await lane.run {
            try unshare(0x0002_0000)  // CLONE_NEWNS
            try check("private", Glibc.mount("none", "/", nil, UInt(MS_REC) | UInt(MS_PRIVATE), nil))
            try check("mount", Glibc.mount("tmpfs", folder, "tmpfs", 0, "size=\(bytes)"))
            let store = try SQLiteStore(path: folder + "/store.sqlite")
            return SmallDisk(store: store, folder: folder) { lane.perform($0) }
        }
    }

    func resize(bytes: Int) throws {
        let done = DispatchSemaphore(value: 0)
        let folder = self.folder
        requests {
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
