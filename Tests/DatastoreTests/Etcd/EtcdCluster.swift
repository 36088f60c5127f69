// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Glibc
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// A real etcd of one or three members in a network namespace of its own, and stores that live in there, too.
final class EtcdCluster: Sendable {
    let members: [EtcdMember]
    let certificates: Certificates?
    let folder: String
    private let thread: NamespaceThread
    private let group: MultiThreadedEventLoopGroup
    /// Closed before their event loop ends.
    private let stores = Mutex<[EtcdStore]>([])

    /// Members that are started and, together, ready.
    static func start(
        members count: Int = 1, certificates: Certificates? = nil, arguments: [String] = []
    ) async throws -> EtcdCluster {
        let cluster = try await EtcdCluster(count, certificates, arguments)
        for index in cluster.members.indices { try await cluster.start(index) }
        try await cluster.awaitReady()
        return cluster
    }

    private init(_ count: Int, _ certificates: Certificates?, _ arguments: [String]) async throws {
        folder = NSTemporaryDirectory() + "etcd-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        thread = try await NamespaceThread()
        // The loop's threads are made by the thread in the namespace, so their sockets are in there.
        group = try await thread.run { MultiThreadedEventLoopGroup(numberOfThreads: 1) }
        self.certificates = certificates
        let all = (1...count).map { "m\($0)=http://127.0.0.1:\(23800 + $0)" }.joined(separator: ",")
        members = (1...count).map { [folder] number in
            let common = EtcdCluster.arguments(number, folder: folder, all: all, tls: certificates)
            return EtcdMember(port: 23790 + number, arguments: common + arguments, log: "\(folder)/\(number).log")
        }
    }

    deinit {
        for member in members { member.kill() }
        try? FileManager.default.removeItem(atPath: folder)
        let (group, stores) = (group, stores.withLock { $0 })
        Task.detached {
            for store in stores { await store.close() }
            try? await group.shutdownGracefully()
        }
    }

    private static func arguments(_ number: Int, folder: String, all: String, tls: Certificates?) -> [String] {
        let client = "\(tls == nil ? "http" : "https")://127.0.0.1:\(23790 + number)"
        let peer = "http://127.0.0.1:\(23800 + number)"
        var arguments = [
            "--name", "m\(number)", "--data-dir", "\(folder)/\(number)", "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", all, "--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap",
            "--log-level", "error",
        ]
        if let tls {
            arguments += [
                "--cert-file", tls.path("server.pem"), "--key-file", tls.path("server.key"), "--client-cert-auth",
                "--trusted-ca-file", tls.path("ca.pem"),
            ]
        }
        return arguments
    }

    // MARK: Members

    func start(_ index: Int) async throws {
        let member = members[index]
        try await thread.run { try member.start() }
    }

    /// The member that leads.
    func leader() async throws -> Int {
        let store = store()
        for _ in 0..<50 {
            let statuses = await store.status()
            if let index = statuses.firstIndex(where: { (try? $0.result.get().isLeader) == true }) {
                await store.close()
                return index
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw TestFailure("the cluster has no leader")
    }

    func awaitReady() async throws {
        let store = store(callLimit: .seconds(15))
        do { _ = try await store.get(Key("/")) } catch {
            let message = "\(error)"
            // With authentication, or with a certificate of no use: ready to say so, which is enough.
            let isReady = ["ETCD_USERNAME", "not for 127.0.0.1", "in common"].contains { message.contains($0) }
            guard isReady else { throw TestFailure("etcd did not start: \(message)\n\(logs())") }
        }
        await store.close()
    }

    private func logs() -> String {
        members.indices.map { (try? String(contentsOfFile: "\(folder)/\($0 + 1).log", encoding: .utf8)) ?? "" }
            .joined(separator: "\n")
    }

    /// `etcdctl`, in the namespace.
    @discardableResult
    func etcdctl(_ arguments: String..., user: String? = nil) async throws -> String {
        let endpoints = settings().endpoints.map(\.description).joined(separator: ",")
        let tls = certificates.map {
            ["--cacert", $0.path("ca.pem"), "--cert", $0.path("client.pem"), "--key", $0.path("client.key")]
        }
        let login = user.map { ["--user", $0] } ?? []
        let command = ["etcdctl", "--endpoints", endpoints] + (tls ?? []) + login + arguments
        return try await thread.run { try NamespaceThread.run(command, environment: ["ETCDCTL_API": "3"]) }
    }

    /// Runs in the namespace.
    func inside<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await thread.run(body)
    }

    // MARK: Stores

    func settings() -> EtcdSettings {
        let endpoints = members.map {
            EtcdSettings.Endpoint(usesTLS: certificates != nil, host: "127.0.0.1", port: $0.port)
        }
        guard let certificates else { return EtcdSettings(endpoints: endpoints) }
        return EtcdSettings(
            endpoints: endpoints, authorities: .file(certificates.path("ca.pem")),
            certificate: .file(certificates.path("client.pem")), key: .file(certificates.path("client.key")))
    }

    /// A store of its own connection.
    ///
    /// - Parameter change: What differs from ``settings()``.
    func store(
        callLimit: Duration = .seconds(3), _ change: (inout EtcdSettings) -> Void = { _ in }
    ) -> EtcdStore {
        var settings = settings()
        change(&settings)
        let store = EtcdStore(settings, eventLoopGroup: group, logger: .silent, callLimit: callLimit)
        stores.withLock { $0.append(store) }
        return store
    }

    /// Deletes every key.
    func empty() async throws {
        let store = store()
        let keys = try await store.list(under: Key("")).entries.map(\.key)
        for start in stride(from: 0, to: keys.count, by: 100) {
            let writes = keys[start..<min(start + 100, keys.count)].map { Transaction.Write.delete($0) }
            _ = try await store.commit(Transaction(writes: writes))
        }
        await store.close()
    }
}

extension Logger {
    /// Lost connections are what these tests are about.
    static let silent = Logger(label: "etcd") { _ in SwiftLogNoOpLogHandler() }
}

/// A transaction that puts `text` at `path` if it is as it was `since`.
func put(_ path: String, _ text: String, since revision: Revision? = nil) -> Transaction {
    let key = Key(path)
    return Transaction(if: [.asSeen(key, revision)], writes: [.put(key, bytes: Data(text.utf8))])
}
