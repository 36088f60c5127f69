// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Datastore

/// Reads what concerns etcd, and puts it together where etcd is wanted.
struct EtcdSettingReader {
    typealias Found = SettingReader.Found

    static let variables = [
        "ETCD_ENDPOINTS", "ETCD_DISCOVERY_SRV", "ETCD_AUTHORITY", "ETCD_SCHEME", "ETCD_CA_CERT_FILE", "ETCD_CERT_FILE",
        "ETCD_KEY_FILE", "ETCD_USERNAME", "ETCD_PASSWORD",
    ]
    /// PEM texts, which only a file holds.
    static let keys = ["etcdCACert", "etcdCert", "etcdKey"]

    private let server: Server?
    private let scheme: Found?
    private let files: [String: Found]
    private let texts: [String: Found]
    private let user: Found?
    private let password: Found?
    private let readFile: (String) throws -> String?

    /// What leads to the servers.
    enum Server {
        case endpoints(Found), domain(Found), authority(Found)
        /// Given at the same place, so that none counts more.
        case both(endpoints: Found, domain: Found)
    }

    init(_ reader: inout SettingReader, readFile: @escaping (String) throws -> String?) {
        self.readFile = readFile
        server = Self.server(reader)
        _ = reader.optional("ETCD_ENDPOINTS", shown: EtcdURL.withoutUser)
        _ = reader.optional("ETCD_DISCOVERY_SRV")
        _ = reader.optional("ETCD_AUTHORITY", shown: EtcdURL.withoutUser)
        scheme = reader.optional("ETCD_SCHEME")
        var files: [String: Found] = [:]
        for name in Self.variables where name.hasSuffix("_FILE") { files[name] = reader.optional(name) }
        var texts: [String: Found] = [:]
        for key in Self.keys { texts[key] = reader.optional(key: key) { _ in "(inline)" } }
        (self.files, self.texts) = (files, texts)
        user = reader.optional("ETCD_USERNAME")
        password = reader.optional("ETCD_PASSWORD") { _ in "(set)" }
    }

    /// The one given nearest to the command; `ETCD_AUTHORITY`, which is of old, counts least among equals.
    static func server(_ reader: SettingReader) -> Server? {
        let endpoints = reader.find("ETCD_ENDPOINTS")
        let domain = reader.find("ETCD_DISCOVERY_SRV")
        let authority = reader.find("ETCD_AUTHORITY")
        let nearest = [endpoints, domain, authority].compactMap { $0?.origin.rank }.min()
        switch (endpoints?.origin.rank == nearest ? endpoints : nil, domain?.origin.rank == nearest ? domain : nil) {
        case (let endpoints?, let domain?): return .both(endpoints: endpoints, domain: domain)
        case (let endpoints?, nil): return .endpoints(endpoints)
        case (nil, let domain?): return .domain(domain)
        case (nil, nil): return authority.map { .authority($0) }
        }
    }

    /// For where nothing names a server: with a file of this host's own in etcd's place, two hosts would give out the
    /// same addresses.
    /// - Throws: `Configuration.Problem`, where anything else of etcd is given.
    static func refuseRest(_ reader: SettingReader) throws {
        let variable = variables.lazy.compactMap { reader.find($0) }.first
        guard let found = variable ?? keys.lazy.compactMap({ reader.find(key: $0) }).first else { return }
        // Without its value, which may be a secret.
        throw found.complaint(
            "\(found.origin.naming): no etcd endpoints specified; set ETCD_ENDPOINTS, for example to "
                + "https://10.0.0.1:2379, or ETCD_DISCOVERY_SRV. Or set DATASTORE_TYPE=sqlite, if etcd is not meant")
    }

    /// - Parameter type: what asks for etcd, where anything does.
    /// - Throws: `Configuration.Problem`.
    func settings(_ type: Found?) throws -> DatastoreSettings {
        switch server {
        case .endpoints(let found): return .etcd(try settings(EtcdURL.list(found)))
        case .authority(let found): return .etcd(try settings([EtcdURL.endpoint(authority: found, scheme: scheme)]))
        case .domain(let found): return .discoveredEtcd(domain: try EtcdURL.domain(found), try settings([]))
        case .both(let endpoints, let domain):
            throw endpoints.problem(
                "multiple discovery options; \(domain.origin.naming) names servers too, use either",
                shown: EtcdURL.withoutUser(endpoints.text))
        case nil:
            throw (type ?? Found(text: "etcdv3", origin: .standard)).problem(
                "no etcd endpoints specified; set ETCD_ENDPOINTS, for example to http://10.0.0.1:2379, or "
                    + "ETCD_DISCOVERY_SRV")
        }
    }

    private func settings(_ endpoints: [EtcdSettings.Endpoint]) throws -> EtcdSettings {
        try refuseMixture()
        let authorities = try pem("ETCD_CA_CERT_FILE", "etcdCACert")
        let certificate = try pem("ETCD_CERT_FILE", "etcdCert")
        let key = try pem("ETCD_KEY_FILE", "etcdKey")
        try together(files["ETCD_KEY_FILE"] ?? texts["etcdKey"], files["ETCD_CERT_FILE"] ?? texts["etcdCert"])
        return EtcdSettings(
            endpoints: endpoints, authorities: authorities, certificate: certificate, key: key,
            credentials: try credentials())
    }

    private func refuseMixture() throws {
        guard let file = Self.variables.lazy.compactMap({ files[$0] }).first,
            let text = Self.keys.lazy.compactMap({ texts[$0] }).first
        else { return }
        throw Configuration.Problem(
            description:
                "Cannot mix inline certificate-key and certificate / key files: \(text.origin.naming) is inline, "
                + "\(file.origin.naming) names a file")
    }

    private func pem(_ variable: String, _ key: String) throws -> EtcdSettings.PEM? {
        if let found = texts[key] {
            guard found.text.contains("-----BEGIN ") else {
                throw Configuration.Problem(description: "\(found.origin.naming): wants PEM text (-----BEGIN …)")
            }
            return .text(found.text)
        }
        guard let found = files[variable] else { return nil }
        guard try contents(of: found).contains("-----BEGIN ") else {
            throw found.problem("the file holds no PEM text (-----BEGIN …)")
        }
        return .file(found.text)
    }

    private func contents(of file: Found) throws -> String {
        let text: String?
        do { text = try readFile(file.text) } catch { throw file.problem("\(error)") }
        guard let text else { throw file.problem("there is no such file") }
        return text
    }

    private func together(_ key: Found?, _ certificate: Found?) throws {
        switch (key, certificate) {
        case (let key?, nil): throw unpaired(key, "a key without its certificate; set ETCD_CERT_FILE too")
        case (nil, let certificate?):
            throw unpaired(certificate, "a certificate without its key; set ETCD_KEY_FILE too")
        default: return
        }
    }

    private func unpaired(_ found: Found, _ reason: String) -> Configuration.Problem {
        Configuration.Problem(description: "\(found.origin.naming): \(reason)")
    }

    private func credentials() throws -> EtcdSettings.Credentials? {
        switch (user, password) {
        case (let user?, let password?): return .init(user: user.text, password: password.text)
        case (let user?, nil): throw user.problem("a user without password; set ETCD_PASSWORD too, or neither")
        case (nil, let password?):
            throw unpaired(password, "a password without user; set ETCD_USERNAME too, or neither")
        case (nil, nil): return nil
        }
    }
}
