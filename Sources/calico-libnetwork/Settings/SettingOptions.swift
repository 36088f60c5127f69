// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import ArgumentParser

/// The settings that can be given as flags, named after their variables. A flag outdoes environment and file.
struct SettingOptions: ParsableArguments {
    @Option(
        name: name("CALICO_LIBNETWORK_CONFIG"),
        help: .init("The settings file. (default: \(Configuration.path))", valueName: "file"))
    var config: String?
    @Option(name: name("DATASTORE_TYPE"), help: .init("etcdv3 or sqlite.", valueName: "type"))
    var datastoreType: String?
    @Option(
        name: name("CALICO_LIBNETWORK_SQLITE_PATH"), help: .init("The embedded datastore's file.", valueName: "file"))
    var sqlitePath: String?
    @Option(
        name: name("ETCD_ENDPOINTS"), help: .init("etcd's members: URLs, with commas between them.", valueName: "urls"))
    var etcdEndpoints: String?
    @Option(
        name: name("ETCD_DISCOVERY_SRV"),
        help: .init("The domain whose SRV records name etcd's members.", valueName: "domain"))
    var etcdDiscoverySrv: String?
    @Option(
        name: name("ETCD_CA_CERT_FILE"), help: .init("Who signed the members' certificates, PEM.", valueName: "file"))
    var etcdCACertFile: String?
    @Option(name: name("ETCD_CERT_FILE"), help: .init("Our certificate for etcd, PEM.", valueName: "file"))
    var etcdCertFile: String?
    @Option(name: name("ETCD_KEY_FILE"), help: .init("Its key, PEM.", valueName: "file"))
    var etcdKeyFile: String?
    // Everybody on the host can read a process's arguments, so there is no flag for the password.
    @Option(
        name: name("ETCD_USERNAME"),
        help: .init("The user in etcd; the password is set by ETCD_PASSWORD or in the file.", valueName: "name"))
    var etcdUsername: String?
    @Option(name: name("NODENAME"), help: .init("This host's name in Calico.", valueName: "name"))
    var nodename: String?
    @Option(
        name: name("CALICO_LIBNETWORK_LOG_LEVEL"),
        help: .init("trace, debug, info, notice, warning, error or critical.", valueName: "level"))
    var logLevel: String?

    private static func name(_ variable: String) -> NameSpecification {
        .customLong(String(SettingName(variable).flag.dropFirst(2)))
    }

    /// Values by the name of the setting's variable.
    var flags: [String: String] {
        let values: [(String, String?)] = [
            ("CALICO_LIBNETWORK_CONFIG", config), ("DATASTORE_TYPE", datastoreType),
            ("CALICO_LIBNETWORK_SQLITE_PATH", sqlitePath), ("ETCD_ENDPOINTS", etcdEndpoints),
            ("ETCD_DISCOVERY_SRV", etcdDiscoverySrv), ("ETCD_CA_CERT_FILE", etcdCACertFile),
            ("ETCD_CERT_FILE", etcdCertFile), ("ETCD_KEY_FILE", etcdKeyFile), ("ETCD_USERNAME", etcdUsername),
            ("NODENAME", nodename), ("CALICO_LIBNETWORK_LOG_LEVEL", logLevel),
        ]
        return Dictionary(uniqueKeysWithValues: values.compactMap { name, value in value.map { (name, $0) } })
    }

    /// Flags, environment, files and defaults together.
    /// - Throws: `Configuration.Problem`; `ValidationError`, for exit status 64, where a flag's value is wrong.
    func configuration() throws -> Configuration {
        do { return try Configuration(flags: flags) } catch let problem as Configuration.Problem
            where problem.isWrongUsage
        {
            throw ValidationError(problem.description)
        }
    }
}
