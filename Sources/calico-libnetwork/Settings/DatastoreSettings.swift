// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Datastore
import Glibc
import Logging
import NIOCore

/// Where Calico's data lives.
enum DatastoreSettings: Hashable {
    case sqlite(path: String)
    case etcd(EtcdSettings)
    /// The members are found in the DNS records of a domain; the settings have no endpoints yet.
    case discoveredEtcd(domain: String, EtcdSettings)

    /// Reads the settings; where nothing names a datastore, `calicoctl.cfg` may.
    /// - Throws: `Configuration.Problem`.
    init(_ reader: inout SettingReader, readFile: @escaping (String) throws -> String?) throws {
        try Self.considerCalicoctl(&reader, readFile)
        let type = reader.find("DATASTORE_TYPE")
        let server = EtcdSettingReader.server(reader)
        if type == nil, server == nil { try EtcdSettingReader.refuseRest(reader) }
        let standard = server == nil ? "sqlite" : "etcdv3"
        switch reader.text("DATASTORE_TYPE", default: standard) {
        case "sqlite", "etcdv3": break
        case "kubernetes": throw Self.kubernetes(type)
        default: throw type!.problem("wants etcdv3 or sqlite")
        }
        let path = reader.text("CALICO_LIBNETWORK_SQLITE_PATH", default: "/var/lib/calico/libnetwork.sqlite")
        let etcd = EtcdSettingReader(&reader, readFile: readFile)
        self = (type?.text ?? standard) == "sqlite" ? .sqlite(path: path) : try etcd.settings(type)
    }

    static let calicoctlPath = "/etc/calico/calicoctl.cfg"

    private static func considerCalicoctl(
        _ reader: inout SettingReader, _ readFile: (String) throws -> String?
    ) throws {
        let names = ["DATASTORE_TYPE", "CALICO_LIBNETWORK_SQLITE_PATH"] + EtcdSettingReader.variables
        guard names.allSatisfy({ reader.find($0) == nil }),
            EtcdSettingReader.keys.allSatisfy({ reader.find(key: $0) == nil }),
            let text = try readFile(calicoctlPath)
        else { return }
        let file = try SettingFile(text, path: calicoctlPath)
        guard file.isCalicoctls else {
            throw Configuration.Problem(description: "\(calicoctlPath): invalid config file: unknown APIVersion ''")
        }
        try file.refuseUnknownKeys([])
        reader.calicoctl = file
    }

    private static func kubernetes(_ type: SettingReader.Found?) -> Configuration.Problem {
        type!.problem(
            "a plain Docker host is no node of a Kubernetes cluster and has no place in its API; wants etcdv3 or sqlite"
                + (type!.origin.rank == 2 ? ", or set DATASTORE_TYPE to leave this file's datastore aside" : ""))
    }
}

extension DatastoreSettings: CustomStringConvertible {
    /// For the log; holds no secret.
    var description: String {
        switch self {
        case .sqlite(let path): path
        case .etcd(let settings): settings.endpoints.map(\.description).joined(separator: ",")
        case .discoveredEtcd(let domain, _): "the etcd that \(domain) names"
        }
    }

    /// SQLite's file, where it is still to be made.
    var missingFile: String? {
        guard case .sqlite(let path) = self, access(path, F_OK) != 0, [ENOENT, ENOTDIR].contains(errno) else {
            return nil
        }
        return path
    }

    /// Opens the store. SQLite's file is made where there is none; etcd is not spoken to yet.
    ///
    /// - Parameter patience: how long whoever calls the store can wait, at most; errors come earlier.
    /// - Throws: `StoreError` and `Configuration.Problem`, where SQLite's file cannot be opened.
    func open(_ logger: Logger, on group: any EventLoopGroup, patience: Duration) async throws -> any KeyValueStore {
        let etcd = { @Sendable (settings: EtcdSettings) in
            EtcdStore(settings, eventLoopGroup: group, logger: logger, callLimit: min(.seconds(3), patience / 2))
        }
        switch self {
        case .sqlite(let path):
            try Folder.create(Folder.parent(of: path))
            return try SQLiteStore(path: path)
        case .etcd(let settings): return etcd(settings)
        case .discoveredEtcd(let domain, let settings):
            return DiscoveredEtcdStore(
                settings,
                discover: { () async throws(StoreError) in try await discoverEndpoints(domain: domain) }, open: etcd)
        }
    }
}
