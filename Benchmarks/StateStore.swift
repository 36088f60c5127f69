// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Glibc
import Logging

/// What the daemon can keep its state in.
enum StoreKind: String, CaseIterable {
    case sqlite = "SQLite"
    case etcd = "etcd"
}

/// A datastore of its own for one measurement, empty at first.
struct StateStore {
    /// An SQLite file or etcd's folder; logs lie beside it.
    let path: String
    /// What tells the daemon of it, as `NAME=value`.
    let variables: [String]
    private let server: EtcdServer?

    static func sqlite(_ path: String) -> StateStore {
        StateStore(
            path: path, variables: ["DATASTORE_TYPE=sqlite", "CALICO_LIBNETWORK_SQLITE_PATH=\(path)"], server: nil)
    }

    /// An etcd of one member that has been started and answers.
    static func etcd(_ path: String) async throws -> StateStore {
        let server = try await EtcdServer(folder: path)
        let variables = ["DATASTORE_TYPE=etcdv3", "ETCD_ENDPOINTS=\(EtcdServer.endpoint)"]
        return StateStore(path: path, variables: variables, server: server)
    }

    /// The daemon's own client of this store, to commit with it directly: to the same etcd, or to another file on the
    /// same disk.
    func client() throws -> any KeyValueStore {
        server == nil ? try SQLiteStore(path: path + ".bare") : EtcdServer.client()
    }

    func stop() { server?.stop() }
}

extension Plan {
    /// - Parameter subject: what it is for; every measurement has its own.
    func store(_ kind: StoreKind, for subject: String) async throws -> StateStore {
        switch kind {
        case .sqlite: .sqlite("\(folder)/\(subject).sqlite")
        case .etcd: try await .etcd("\(folder)/\(subject).etcd")
        }
    }
}

/// etcd, in this network and on the same disk as the other stores.
private struct EtcdServer {
    static let endpoint = EtcdSettings.Endpoint(usesTLS: false, host: "127.0.0.1", port: 2379)
    private static let patience = Duration.seconds(20)

    private let process: ChildProcess

    init(folder: String) async throws {
        let peer = "http://127.0.0.1:2380"
        process = try ChildProcess(
            [
                "etcd", "--name", "bench", "--data-dir", folder, "--listen-client-urls", "\(Self.endpoint)",
                "--advertise-client-urls", "\(Self.endpoint)", "--listen-peer-urls", peer,
                "--initial-advertise-peer-urls", peer, "--initial-cluster", "bench=\(peer)",
            ], variables: Self.variables, output: folder + ".server.log")
        do {
            let client = Self.client(callLimit: Self.patience)
            _ = try await client.get(Key("/bench/0"))
            await client.close()
        } catch {
            stop()
            throw BenchmarkError("etcd does not answer: \(error); its log ends so: \(tail(of: folder + ".server.log"))")
        }
    }

    /// Nobody needs its files any more, so it need not put them in order.
    func stop() {
        kill(process.id, SIGKILL)
        _ = process.wait()
    }

    static func client(callLimit: Duration = .seconds(3)) -> EtcdStore {
        let silent = Logger(label: "etcd") { _ in SwiftLogNoOpLogHandler() }
        return EtcdStore(EtcdSettings(endpoints: [endpoint]), logger: silent, callLimit: callLimit)
    }

    /// etcd 3.4 wants to be told that it may run on ARM.
    private static var variables: [String] {
        #if arch(arm64)
            ["ETCD_UNSUPPORTED_ARCH=arm64"]
        #else
            []
        #endif
    }
}
