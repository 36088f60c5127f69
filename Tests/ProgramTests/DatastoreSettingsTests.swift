// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Datastore
import Testing

@testable import calico_libnetwork

@Suite struct `The datastore's settings` {
    private static let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    private let own = "/etc/calico/libnetwork.yaml"
    private let calicoctl = "/etc/calico/calicoctl.cfg"

    private func configuration(
        flags: [String: String] = [:], _ environment: [String: String] = [:], files: [String: String] = [:]
    ) throws -> Configuration {
        try Configuration(
            flags: flags, environment: environment,
            readFile: { path in
                if path == "/secret" {
                    throw Configuration.Problem(description: "cannot read /secret: Permission denied")
                }
                return files[path] ?? (path.hasPrefix("/pem") ? Self.pem : nil)
            }, hostName: "host-1")
    }

    private func etcd(_ environment: [String: String], files: [String: String] = [:]) throws -> EtcdSettings {
        guard case .etcd(let settings) = try configuration(environment, files: files).datastore else {
            throw Configuration.Problem(description: "no etcd")
        }
        return settings
    }

    private func problem(
        flags: [String: String] = [:], _ environment: [String: String] = [:], files: [String: String] = [:]
    ) -> String {
        do {
            _ = try configuration(flags: flags, environment, files: files)
            return "no problem"
        } catch { return "\(error)" }
    }

    private func spec(_ lines: String...) -> String {
        "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata: {}\nspec:\n"
            + lines.map { "  \($0)\n" }.joined()
    }

    // MARK: Which one

    @Test func `an etcd that is named is used, else SQLite`() throws {
        #expect(try configuration().datastore == .sqlite(path: "/var/lib/calico/libnetwork.sqlite"))
        let local = EtcdSettings(endpoints: [.init(usesTLS: false, host: "127.0.0.1", port: 2379)])
        for name in ["ETCD_ENDPOINTS", "CALICO_ETCD_ENDPOINTS"] {
            #expect(try configuration([name: "http://127.0.0.1:2379"]).datastore == .etcd(local))
        }
        for name in ["ETCD_AUTHORITY", "CALICO_ETCD_AUTHORITY"] {
            #expect(try configuration([name: "127.0.0.1:2379"]).datastore == .etcd(local))
        }
        #expect(
            try configuration(["ETCD_DISCOVERY_SRV": "example.org."]).datastore
                == .discoveredEtcd(domain: "example.org", EtcdSettings(endpoints: [])))
    }

    @Test func `DATASTORE_TYPE decides over what else is set`() throws {
        let environment = ["DATASTORE_TYPE": "sqlite", "ETCD_ENDPOINTS": "not even a URL"]
        #expect(try configuration(environment).datastore == .sqlite(path: "/var/lib/calico/libnetwork.sqlite"))
    }

    @Test func `an empty variable with prefix hides the one without`() throws {
        let environment = ["CALICO_ETCD_ENDPOINTS": "", "ETCD_ENDPOINTS": "http://a:1"]
        #expect(try configuration(environment).datastore == .sqlite(path: "/var/lib/calico/libnetwork.sqlite"))
    }

    @Test func `ETCD_AUTHORITY takes its scheme from ETCD_SCHEME and gives way to endpoints`() throws {
        #expect(
            try etcd(["ETCD_AUTHORITY": "[fd00::1]:1", "ETCD_SCHEME": "https"]).endpoints.map(\.description) == [
                "https://[fd00::1]:1"
            ])
        #expect(try etcd(["ETCD_AUTHORITY": "a:1", "ETCD_ENDPOINTS": "http://b:2"]).endpoints.map(\.host) == ["b"])
    }

    @Test func `what is given nearer to the command counts more`() throws {
        let files = [own: "etcdDiscoverySrv: example.org\netcdUsername: root\netcdPassword: 0123\n"]
        let settings = try etcd(["ETCD_ENDPOINTS": "http://b:2"], files: files)
        #expect(settings.endpoints.map(\.host) == ["b"])
        #expect(settings.credentials == .init(user: "root", password: "0123"))
        let byFlag = try configuration(
            flags: ["ETCD_DISCOVERY_SRV": "example.org"], ["ETCD_ENDPOINTS": "http://b:2"]
        ).datastore
        #expect(byFlag == .discoveredEtcd(domain: "example.org", EtcdSettings(endpoints: [])))
    }

    // MARK: Endpoints

    @Test func `endpoints are a list of URLs, written kindly or not`() throws {
        let list =
            " http://10.0.0.1:2379 , https://etcd-2.example.org/,http://[fd00::1]:4001,HTTPS://a_b:1,http://10.0.0.1:2379,"
        #expect(
            try etcd(["ETCD_ENDPOINTS": list]).endpoints == [
                .init(usesTLS: false, host: "10.0.0.1", port: 2379),
                .init(usesTLS: true, host: "etcd-2.example.org", port: 2379),
                .init(usesTLS: false, host: "fd00::1", port: 4001), .init(usesTLS: true, host: "a_b", port: 1),
            ])
        #expect(
            try etcd([:], files: [own: "etcdEndpoints:\n- http://a:1\n- http://b:2\n"]).endpoints.map(\.host) == [
                "a", "b",
            ])
    }

    @Test(arguments: [
        ("10.0.0.1:2379", "is no URL; write http://10.0.0.1:2379 or https://10.0.0.1:2379"),
        ("ftp://a:1", "wants to begin with http:// or https://"), ("unix:///x", "wants to begin with http://"),
        ("http://", "has no host"), ("http://:2379", "has no host"), ("http://a:0", "a port from 1 to 65535"),
        ("http://a:65536", "a port from 1 to 65535"), ("http://a:+1", "a port from 1 to 65535"),
        ("http://a:", "a port from 1"),
        ("http://a:x", "a port from 1 to 65535"), ("http://a:1/v2/keys", "has a path"), ("http://a?x", "has a path"),
        ("http://fd00::1:2379", "has an IPv6 address without brackets"),
        ("http://[a]:1", "has no IPv6 address in the brackets"),
        ("http://[fd00::1]x", "something behind the address"), ("http://a b:1", "characters that no host name has"),
    ])
    func `a bad URL is named, and what is wrong with it`(_ url: String, _ words: String) {
        let text = problem(["CALICO_ETCD_ENDPOINTS": "http://good:1,\(url)"])
        #expect(text.hasPrefix("CALICO_ETCD_ENDPOINTS: \"\(url)\" ") && text.contains(words), "\(text)")
    }

    @Test(arguments: [
        "http://root:hunter2@a:1", "root:hunter2@a:1", "ftp://root:hunter2@a", "http://x:1,http://root:hunter2@a:1",
    ])
    func `a password in a URL is refused and never shown`(_ url: String) throws {
        for name in ["ETCD_ENDPOINTS", "ETCD_AUTHORITY"] {
            let text = problem([name: url])
            #expect(text != "no problem" && !text.contains("hunter2"), "\(text)")
        }
        let both = problem(["ETCD_ENDPOINTS": url, "ETCD_DISCOVERY_SRV": "example.org"])
        #expect(!both.contains("hunter2"), "\(both)")
        let shown = try configuration(["DATASTORE_TYPE": "sqlite", "ETCD_ENDPOINTS": url, "ETCD_AUTHORITY": url])
            .settings
        #expect(!shown.contains { $0.value.contains("hunter2") })
    }

    // MARK: Certificates and users

    @Test func `certificates come from files, or inline from a file of settings`() throws {
        let files = try etcd([
            "ETCD_ENDPOINTS": "https://a:1", "ETCD_CA_CERT_FILE": "/pem/ca", "ETCD_CERT_FILE": "/pem/cert",
            "ETCD_KEY_FILE": "/pem/key",
        ])
        #expect(
            files.authorities == .file("/pem/ca") && files.certificate == .file("/pem/cert")
                && files.key == .file("/pem/key"))
        let inline = "etcdCACert: |\n    -----BEGIN CERTIFICATE-----\n    AA==\n    -----END CERTIFICATE-----"
        let text = try etcd([:], files: [calicoctl: spec("etcdEndpoints: https://a:1", inline)])
        #expect(text.authorities == .text(Self.pem) && text.key == nil)
    }

    @Test(arguments: [
        (["ETCD_KEY_FILE": "/pem"], "ETCD_KEY_FILE: a key without its certificate; set ETCD_CERT_FILE too"),
        (["ETCD_CERT_FILE": "/pem"], "ETCD_CERT_FILE: a certificate without its key; set ETCD_KEY_FILE too"),
        (["ETCD_CA_CERT_FILE": "/nowhere"], "ETCD_CA_CERT_FILE=/nowhere: there is no such file"),
        (["ETCD_CA_CERT_FILE": "/secret"], "ETCD_CA_CERT_FILE=/secret: cannot read /secret: Permission denied"),
        (["ETCD_CA_CERT_FILE": "/empty"], "ETCD_CA_CERT_FILE=/empty: the file holds no PEM text (-----BEGIN …)"),
        (["ETCD_USERNAME": "root"], "ETCD_USERNAME=root: a user without password; set ETCD_PASSWORD too, or neither"),
        (["ETCD_PASSWORD": "hunter2"], "ETCD_PASSWORD: a password without user; set ETCD_USERNAME too, or neither"),
        (
            ["ETCD_DISCOVERY_SRV": "example.org"],
            "ETCD_ENDPOINTS=https://a:1: multiple discovery options; ETCD_DISCOVERY_SRV names servers too, use either"
        ),
    ])
    func `halves and unusable files are refused`(_ environment: [String: String], _ expected: String) {
        let environment = environment.merging(["ETCD_ENDPOINTS": "https://a:1"]) { own, _ in own }
        #expect(problem(environment, files: ["/empty": ""]) == expected)
    }

    @Test(arguments: [
        (["DATASTORE_TYPE": "etcdv3"], "DATASTORE_TYPE=etcdv3: no etcd endpoints specified; set ETCD_ENDPOINTS"),
        (["CALICO_DATASTORE_TYPE": "kubernetes"], "CALICO_DATASTORE_TYPE=kubernetes: a plain Docker host is no node"),
        (["DATASTORE_TYPE": "etcdv2"], "DATASTORE_TYPE=etcdv2: wants etcdv3 or sqlite"),
        (["ETCD_DISCOVERY_SRV": "a..b"], "ETCD_DISCOVERY_SRV=a..b: wants a DNS domain such as example.org"),
        (["ETCD_DISCOVERY_SRV": "http://a"], "ETCD_DISCOVERY_SRV=http://a: wants a DNS domain"),
        (["ETCD_AUTHORITY": "a:1", "ETCD_SCHEME": "tcp"], "ETCD_SCHEME=tcp: wants http or https"),
        (["ETCD_ENDPOINTS": " ,"], "ETCD_ENDPOINTS= ,: wants URLs such as http://10.0.0.1:2379"),
    ])
    func `what names no usable datastore is refused`(_ environment: [String: String], _ expected: String) {
        #expect(problem(environment).hasPrefix(expected), "\(problem(environment))")
    }

    @Test(arguments: [
        "ETCD_SCHEME", "ETCD_CA_CERT_FILE", "ETCD_CERT_FILE", "ETCD_KEY_FILE", "ETCD_USERNAME", "ETCD_PASSWORD",
        "CALICO_ETCD_PASSWORD",
    ])
    func `what is of etcd and names no server does not lead to SQLite`(_ name: String) throws {
        // That file is left aside because of the variable: its server may be another one.
        for files in [[:], [calicoctl: spec("etcdEndpoints: https://c:1")]] {
            let text = problem([name: "hunter2"], files: files)
            #expect(text.hasPrefix("\(name): no etcd endpoints specified; set ETCD_ENDPOINTS"), "\(text)")
            #expect(!text.contains("hunter2"))
        }
        #expect(
            try configuration([name: "hunter2", "DATASTORE_TYPE": "sqlite"]).datastore
                == .sqlite(path: "/var/lib/calico/libnetwork.sqlite"))
        #expect(try configuration([name: ""]).datastore == .sqlite(path: "/var/lib/calico/libnetwork.sqlite"))
    }

    @Test func `nor does what stands in a file or comes as a flag`() {
        #expect(problem(flags: ["ETCD_USERNAME": "root"]).hasPrefix("--etcd-username: no etcd endpoints specified; "))
        let inline = "etcdCACert: \"-----BEGIN hunter2\""
        #expect(
            problem(files: [own: inline]).hasPrefix(
                "etcdCACert (/etc/calico/libnetwork.yaml, line 1): no etcd endpoints specified; "))
        #expect(
            problem(files: [calicoctl: spec(inline)]).hasPrefix(
                "etcdCACert (/etc/calico/calicoctl.cfg, line 5): no etcd endpoints specified; "))
    }

    @Test func `secrets are not shown`() throws {
        let inline = "etcdKey: |\n    -----BEGIN hunter2-----"
        let certificate = "etcdCert: |\n    -----BEGIN hunter2-----"
        let settings = try configuration(
            ["ETCD_USERNAME": "root", "ETCD_PASSWORD": "hunter2", "ETCD_ENDPOINTS": "https://a:1"],
            files: [own: "etcdKey: -----BEGIN hunter2\netcdCert: -----BEGIN hunter2\n"]
        ).settings
        let value = { (name: String) in settings.first { $0.name == name }.map { "\($0.value) \($0.origin)" } }
        #expect(value("ETCD_PASSWORD") == "(set) environment (ETCD_PASSWORD)")
        #expect(value("etcdKey") == "(inline) /etc/calico/libnetwork.yaml, line 1")
        #expect(!settings.contains { $0.value.contains("hunter2") })
        let mixed = problem(
            ["ETCD_CA_CERT_FILE": "/pem"], files: [own: spec("etcdEndpoints: https://a:1", inline, certificate)])
        #expect(
            mixed == "Cannot mix inline certificate-key and certificate / key files: etcdCert "
                + "(/etc/calico/libnetwork.yaml, line 8) is inline, ETCD_CA_CERT_FILE names a file")
    }

    // MARK: calicoctl.cfg

    @Test func `calicoctl's file counts where nothing else names a datastore`() throws {
        let files = [
            calicoctl: spec(
                "datastoreType: etcdv3", "etcdEndpoints: http://c:1", "kubeconfig: /x", "k8sDisableNodePoll: true")
        ]
        let configuration = try configuration(files: files)
        #expect(configuration.datastore == .etcd(EtcdSettings(endpoints: [.init(usesTLS: false, host: "c", port: 1)])))
        let setting = configuration.settings.first { $0.name == "ETCD_ENDPOINTS" }
        #expect(setting?.origin == "/etc/calico/calicoctl.cfg, line 6")
        #expect(
            try self.configuration(["CALICO_LIBNETWORK_SQLITE_PATH": "/x"], files: files).datastore
                == .sqlite(path: "/x"))
        #expect(try etcd(["ETCD_ENDPOINTS": "http://d:1"], files: files).endpoints.map(\.host) == ["d"])
        let ownAndTheirs = files.merging([own: "etcdEndpoints: http://e:1\n"]) { a, _ in a }
        #expect(try etcd([:], files: ownAndTheirs).endpoints.map(\.host) == ["e"])
    }

    @Test func `calicoctl's file may name members, a user and the files of certificates`() throws {
        let files = [
            calicoctl: spec(
                "datastoreType: etcdv3", "etcdEndpoints: https://a:1,https://b:2", "etcdUsername: root",
                "etcdPassword: hunter2", "etcdCACertFile: /pem/ca", "etcdCertFile: /pem/cert", "etcdKeyFile: /pem/key")
        ]
        let expected = EtcdSettings(
            endpoints: [.init(usesTLS: true, host: "a", port: 1), .init(usesTLS: true, host: "b", port: 2)],
            authorities: .file("/pem/ca"), certificate: .file("/pem/cert"), key: .file("/pem/key"),
            credentials: .init(user: "root", password: "hunter2"))
        #expect(try etcd([:], files: files) == expected)
    }

    @Test func `calicoctl's file may hold the certificates themselves`() throws {
        let inline = { (key: String, kind: String) in "\(key): |\n    -----BEGIN \(kind)-----" }
        let files = [
            calicoctl: spec(
                "etcdEndpoints: https://a:1", inline("etcdCACert", "AUTHORITY"), inline("etcdCert", "CERTIFICATE"),
                inline("etcdKey", "PRIVATE KEY"))
        ]
        let expected = EtcdSettings(
            endpoints: [.init(usesTLS: true, host: "a", port: 1)], authorities: .text("-----BEGIN AUTHORITY-----\n"),
            certificate: .text("-----BEGIN CERTIFICATE-----\n"), key: .text("-----BEGIN PRIVATE KEY-----\n"))
        #expect(try etcd([:], files: files) == expected)
    }

    @Test func `calicoctl's file may leave the members to a domain`() throws {
        let files = [calicoctl: spec("datastoreType: etcdv3", "etcdDiscoverySrv: example.org")]
        #expect(
            try configuration(files: files).datastore
                == .discoveredEtcd(domain: "example.org", EtcdSettings(endpoints: [])))
    }

    @Test(arguments: [
        "kubeconfig", "kubeconfigInline", "k8sAPIEndpoint", "k8sKeyFile", "k8sCertFile", "k8sCAFile", "k8sAPIToken",
        "k8sInsecureSkipTLSVerify", "k8sDisableNodePoll", "usePodCIDR", "k8sClientQPS", "k8sCurrentContext",
        "calicoAPIGroup",
    ])
    func `what calicoctl's file says of Kubernetes does no harm`(_ key: String) throws {
        let files = [calicoctl: spec("etcdEndpoints: http://c:1", "\(key): x")]
        let expected = EtcdSettings(endpoints: [.init(usesTLS: false, host: "c", port: 1)])
        #expect(try configuration(files: files).datastore == .etcd(expected))
    }

    @Test func `calicoctl's file may be given as the settings file`() throws {
        #expect(
            try etcd(["CALICO_LIBNETWORK_CONFIG": "/my.cfg"], files: ["/my.cfg": spec("etcdendpoints: http://c:1")])
                .endpoints
                .map(\.host) == ["c"])
    }

    @Test(arguments: [
        ("kind: CalicoAPIConfig", "invalid config file: unknown APIVersion ''"),
        ("apiVersion: v1\nkind: calicoApiConfig", "invalid config file: unknown APIVersion 'v1'"),
        (
            "apiVersion: projectcalico.org/v3\nkind: Node",
            "invalid config file: expected kind 'CalicoAPIConfig', got 'Node'"
        ),
        ("etcdEndpoints: http://a", "invalid config file: unknown APIVersion ''"),
        ("", "invalid config file: unknown APIVersion ''"),
    ])
    func `calicoctl's file is checked as calicoctl checks it`(_ text: String, _ expected: String) {
        #expect(problem(files: [calicoctl: text]) == "/etc/calico/calicoctl.cfg: \(expected)")
    }

    @Test(arguments: [
        ("etcdEndpoint: http://a", "line 5: unknown setting etcdEndpoint; do you mean etcdEndpoints?"),
        ("sqlitePath: /x", "line 5: unknown setting sqlitePath"),
        (
            "datastoreType: kubernetes",
            "datastoreType: kubernetes (/etc/calico/calicoctl.cfg, line 5): a plain Docker host"
        ),
        ("etcdKey: x\n  etcdEndpoints: http://a", "etcdKey (/etc/calico/calicoctl.cfg, line 5): wants PEM text"),
    ])
    func `a mistake in calicoctl's file is named with its line`(_ line: String, _ words: String) {
        let text = problem(files: [calicoctl: spec(line)])
        #expect(text.contains(words), "\(text)")
    }
}
