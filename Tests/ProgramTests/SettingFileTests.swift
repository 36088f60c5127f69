// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import LibnetworkPlugin
import Logging
import Testing

@testable import calico_libnetwork

@Suite struct `The settings file` {
    private let path = "/etc/calico/libnetwork.yaml"

    private func configuration(
        _ text: String?, flags: [String: String] = [:], _ environment: [String: String] = [:]
    ) throws -> Configuration {
        try Configuration(
            flags: flags, environment: environment, readFile: { $0 == path ? text : nil }, hostName: "host-1")
    }

    private func problem(_ text: String?, flags: [String: String] = [:], _ environment: [String: String] = [:])
        -> String
    {
        do {
            _ = try configuration(text, flags: flags, environment)
            return "no problem"
        } catch { return "\(error)" }
    }

    @Test func `holds every setting by a key made of the variable's name`() throws {
        let keys = try configuration(nil).settings.filter { $0.name != "CALICO_LIBNETWORK_CONFIG" }.map {
            $0.name.hasPrefix("etcd") ? $0.name : SettingName($0.name).key
        }
        let expected = [
            "datastoreType", "sqlitePath", "etcdEndpoints", "etcdDiscoverySrv", "etcdAuthority", "etcdScheme",
            "etcdCACertFile", "etcdCertFile", "etcdKeyFile", "etcdCACert", "etcdCert", "etcdKey", "etcdUsername",
            "etcdPassword", "nodename", "socketDir", "scope", "ifPrefix", "vethMTU", "createProfiles", "namespace",
            "requestTimeout", "dockerHost", "logFormat", "logLevel", "debug", "noDefaultPools", "ipv4PoolCIDR",
            "ipv4PoolBlockSize", "ipv4PoolNATOutgoing", "ipv4PoolVXLAN", "ipv4PoolNodeSelector", "ipv6PoolCIDR",
            "ipv6PoolBlockSize", "ipv6PoolNATOutgoing", "ipv6PoolVXLAN", "ipv6PoolNodeSelector", "ip", "ip6",
        ]
        // Others may come; none of these may change its name.
        #expect(Set(expected).subtracting(keys).isEmpty, "\(Set(expected).subtracting(keys))")
        #expect(Set(keys).count == keys.count)
    }

    @Test func `comes after the environment, and that after flags`() throws {
        let text =
            "logLevel: error\nnodename: from-file\nvethMTU: 1400\nsocket_dir: /s\nnamespace:\nCREATE-PROFILES: no\n"
        let configuration = try configuration(
            text, flags: ["CALICO_LIBNETWORK_LOG_LEVEL": "debug"],
            ["NODENAME": "from-environment", "CALICO_LIBNETWORK_LOG_LEVEL": "warning"])
        #expect(configuration.logLevel == .debug && configuration.node == "from-environment")
        #expect(configuration.driver.mtu == 1400 && configuration.socketDirectory == "/s")
        #expect(configuration.driver.namespace == "libnetwork" && !configuration.driver.createsProfiles)
        let origin = { (name: String) in configuration.settings.first { $0.name == name }?.origin }
        #expect(origin("CALICO_LIBNETWORK_LOG_LEVEL") == "flag --log-level")
        #expect(origin("NODENAME") == "environment (NODENAME)")
        #expect(origin("CALICO_LIBNETWORK_VETH_MTU") == "\(path), line 3")
        #expect(origin("CALICO_LIBNETWORK_NAMESPACE") == "default")
    }

    @Test func `names this node before calico's own file does`() throws {
        let name = try NodeName.decide(
            SettingReader(environment: [:], file: SettingFile("nodename: a", path: path)), readFile: { _ in "b" },
            hostName: "c")
        #expect(name.text == "a" && name.origin.description == "\(path), line 1")
    }

    @Test(arguments: ["", "# nothing set\n", "null", "---\n"])
    func `may be empty`(_ text: String) throws {
        #expect(try configuration(text).node == "host-1")
    }

    @Test(arguments: [
        ("vethMTU: 67", "vethMTU: 67 (/etc/calico/libnetwork.yaml, line 1): wants a number between 68 and 65535"),
        ("\nlogLevl: info", "/etc/calico/libnetwork.yaml, line 2: unknown setting logLevl; do you mean logLevel?"),
        ("colour: red", "/etc/calico/libnetwork.yaml, line 1: unknown setting colour; it may hold datastoreType, "),
        (
            "logLevel: info\nlog_level: info",
            "/etc/calico/libnetwork.yaml, line 2: log_level is the same setting as logLevel on line 1"
        ),
        (
            "logLevel: info\nlogLevel: info",
            "/etc/calico/libnetwork.yaml, line 2, column 1: the key \"logLevel\" occurs twice"
        ),
        ("a: [", "/etc/calico/libnetwork.yaml, line 2, column 1: did not find expected node content"),
        ("- a", "/etc/calico/libnetwork.yaml, line 1, column 1: wants lines of the form 'setting: value'"),
        ("scope: {a: b}", "/etc/calico/libnetwork.yaml, line 1: scope wants a single value, or a list"),
        ("nodename: A", "\"A\" (from: /etc/calico/libnetwork.yaml, line 1) cannot be a node's name"),
        ("config: /x", "/etc/calico/libnetwork.yaml, line 1: unknown setting config"),
    ])
    func `is refused with line and key`(_ text: String, _ expected: String) {
        #expect(problem(text).hasPrefix(expected), "\(problem(text))")
    }

    @Test func `may be another one, which has to exist`() throws {
        let read = { (path: String) in path == "/my.yaml" ? "nodename: mine" : nil }
        let environment = ["CALICO_LIBNETWORK_CONFIG": "/my.yaml"]
        #expect(try Configuration(environment: environment, readFile: read, hostName: "host-1").node == "mine")
        #expect(
            problem(nil, ["CALICO_LIBNETWORK_CONFIG": "/x"]) == "CALICO_LIBNETWORK_CONFIG=/x: there is no such file")
        #expect(problem(nil, flags: ["CALICO_LIBNETWORK_CONFIG": "/x"]) == "--config /x: there is no such file")
    }

    @Test func `is read as text, with the reason where it cannot be`() throws {
        #expect(try TextFile.read("/proc/self/comm")?.isEmpty == false)
        #expect(try TextFile.read("/nonexistent/file") == nil)
        #expect { try TextFile.read("/etc") } throws: { "\($0)" == "cannot read /etc: Is a directory" }
        #expect { try TextFile.read("/dev/zero") } throws: { "\($0)".hasSuffix("it is larger than 4 MiB") }
    }
}
