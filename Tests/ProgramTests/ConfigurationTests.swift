// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
import Foundation
import LibnetworkPlugin
import Logging
import Testing

@testable import calico_libnetwork

@Suite struct `The configuration` {
    private func configuration(
        _ environment: [String: String] = [:], files: [String: String] = [:], hostName: String = "host-1"
    ) throws -> Configuration {
        try Configuration(environment: environment, readFile: { files[$0] }, hostName: hostName)
    }

    private func problem(_ environment: [String: String], hostName: String = "host-1") -> String {
        do {
            _ = try configuration(environment, hostName: hostName)
            return "no problem"
        } catch { return "\(error)" }
    }

    @Test func `without any setting everything has its documented default`() throws {
        let defaults = try configuration()
        #expect(defaults.datastore == .sqlite(path: "/var/lib/calico/libnetwork.sqlite"))
        #expect(defaults.socketDirectory == "/run/docker/plugins")
        #expect(defaults.node == "host-1")
        #expect(defaults.requestTimeout == .seconds(10))
        #expect(defaults.engine == .unix(path: "/var/run/docker.sock"))
        #expect(defaults.logLevel == .info)
        #expect(defaults.dataplane == .auto)
        #expect(defaults.driver.scope == "local" && defaults.driver.interfacePrefix == "cali")
        #expect(defaults.driver.mtu == nil && defaults.driver.createsProfiles)
        #expect(defaults.driver.namespace == "libnetwork")
        #expect(!defaults.driver.labelsEndpoints && defaults.driver.labelPollTimeout == .seconds(5))
        #expect(defaults.settings.filter { $0.name != "NODENAME" }.allSatisfy { $0.origin == "default" })
    }

    @Test func `a setting is told with its value and where it came from`() throws {
        let settings = try configuration(["CALICO_LIBNETWORK_VETH_MTU": "1400", "NODENAME": "web-1"]).settings
        let setting = { (name: String) in settings.first { $0.name == name }.map { "\($0.value) \($0.origin)" } }
        #expect(setting("CALICO_LIBNETWORK_VETH_MTU") == "1400 environment (CALICO_LIBNETWORK_VETH_MTU)")
        #expect(setting("NODENAME") == "web-1 environment (NODENAME)")
        #expect(Set(settings.map(\.name)).count == settings.count)
    }

    @Test(arguments: DataplaneChoice.allCases)
    func `on etcd every dataplane can be chosen`(_ choice: DataplaneChoice) throws {
        let environment = ["ETCD_ENDPOINTS": "http://127.0.0.1:2379", "CALICO_LIBNETWORK_DATAPLANE": choice.rawValue]
        #expect(try configuration(environment).dataplane == choice)
    }

    @Test func `Felix is refused where it could not read the datastore`() {
        let text = problem(["CALICO_LIBNETWORK_DATAPLANE": "felix"])
        #expect(text.hasPrefix("CALICO_LIBNETWORK_DATAPLANE=felix: Felix reads etcd"), "\(text)")
    }

    @Test func `what the datastore says of Felix is taken in`() throws {
        let configuration = try configuration(["ETCD_ENDPOINTS": "http://127.0.0.1:2379"])
        var state = ClusterState()
        #expect(configuration.felixCircumstances(state).canReadDatastore)
        #expect(configuration.felixCircumstances(state).interfacePrefixes == ["cali"])
        for (name, prefix) in [("default", "tap"), ("node.host-1", "cali, tap"), ("node.host-2", "eth")] {
            let felix = FelixConfiguration(metadata: .init(name: name), spec: .init(interfacePrefix: prefix))
            state.apply(Change(key: felix.key, value: try JSONEncoder().encode(felix), revision: Revision(1)))
        }
        #expect(configuration.felixCircumstances(state).interfacePrefixes == ["cali", "tap"])
        let report = Key("/calico/felix/v2/no-region/host/host-1/status")
        #expect(!configuration.felixCircumstances(state).reportsItself)
        state.apply(Change(key: report, value: Data("{}".utf8), revision: Revision(2)))
        #expect(configuration.felixCircumstances(state).reportsItself)
        // Its lease has run out.
        state.apply(Change(key: report, value: nil, revision: Revision(3)))
        #expect(!configuration.felixCircumstances(state).reportsItself)
    }

    @Test(arguments: [
        ("10s", Duration.seconds(10)), ("1500ms", .milliseconds(1500)), ("2m", .seconds(120)),
        ("1.5s", .milliseconds(1500)),
    ])
    func `durations are written as Go writes them`(_ text: String, _ expected: Duration) throws {
        #expect(try configuration(["CALICO_LIBNETWORK_REQUEST_TIMEOUT": text]).requestTimeout == expected)
    }

    /// Both others bound it: a request must be answered in time, and who wants no long search wants no long wait.
    @Test(arguments: [
        ("10s", "5s", Duration.seconds(2)), ("2s", "5s", .seconds(1)), ("10s", "200ms", .milliseconds(200)),
    ])
    func `an engine that is asked for labels may hold a start up so long`(
        _ request: String, _ poll: String, _ expected: Duration
    ) throws {
        let driver = try configuration([
            "CALICO_LIBNETWORK_LABEL_ENDPOINTS": "true", "CALICO_LIBNETWORK_REQUEST_TIMEOUT": request,
            "CALICO_LIBNETWORK_LABEL_POLL_TIMEOUT": poll,
        ]).driver
        #expect(driver.labelsEndpoints && driver.labelPatience == expected)
    }

    @Test(arguments: [
        ("CALICO_LIBNETWORK_LABEL_ENDPOINTS", "some", "true or false"),
        ("CALICO_LIBNETWORK_LABEL_POLL_TIMEOUT", "50ms", "between 0.1 and 600 seconds"),
        ("CALICO_LIBNETWORK_REQUEST_TIMEOUT", "10", "a duration such as 10s"),
        ("CALICO_LIBNETWORK_REQUEST_TIMEOUT", "nans", "a duration such as 10s"),
        ("CALICO_LIBNETWORK_REQUEST_TIMEOUT", "500ms", "between 1 and 600 seconds"),
        ("CALICO_LIBNETWORK_VETH_MTU", "67", "between 68 and 65535"),
        ("CALICO_LIBNETWORK_DATAPLANE", "bpf", "builtin, felix or auto"),
        ("CALICO_LIBNETWORK_IFPREFIX", "thirteenchars", "1 to 12 letters and digits"),
        ("CALICO_LIBNETWORK_IFPREFIX", "müll", "1 to 12 letters and digits"),
        ("CALICO_LIBNETWORK_SCOPE", "swarm", "local or global"),
        ("CALICO_LIBNETWORK_NAMESPACE", "-x", "a letter or digit at both ends"),
        ("CALICO_LIBNETWORK_CREATE_PROFILES", "maybe", "true or false"),
        ("CALICO_LIBNETWORK_LOG_LEVEL", "loud", "trace, debug"),
        ("DOCKER_HOST", "ssh://host", "unix:///path or tcp://host:port"),
        ("CALICO_IPV4POOL_CIDR", "fd00::/64", "an ipv4 CIDR, or none"),
        ("CALICO_IPV4POOL_BLOCK_SIZE", "33", "a prefix length in 20...32"),
        ("CALICO_IPV4POOL_CIDR", "10.0.0.0", "an ipv4 CIDR, or none"),
        ("IP", "fd00::1", "an ipv4 address"),
    ])
    func `an unusable value is refused with what it should be`(_ name: String, _ value: String, _ words: String) {
        let text = problem([name: value])
        #expect(text.hasPrefix("\(name)=\(value): wants "), "\(text)")
        #expect(text.contains(words), "\(text)")
    }

    @Test(arguments: [
        ("CALICO_IPV4POOL_CIDR", "10.0.0.0/28", "10.0.0.0/28 is smaller than one block of /26"),
        ("CALICO_IPV4POOL_CIDR", "10.1.2.3/16", "has host bits; do you mean 10.1.0.0/16?"),
        ("CALICO_IPV4POOL_CIDR", "169.254.0.0/16", "overlaps the link-local range"),
        ("CALICO_IPV4POOL_NODE_SELECTOR", "a ===", "selector \"a ===\""),
        ("CALICO_IPV6POOL_CIDR", "fd00::/124", "fd00::/124 is smaller than one block of /122"),
        ("CALICO_IPV6POOL_CIDR", "fd00::1/64", "has host bits; do you mean fd00::/64?"),
        ("CALICO_IPV6POOL_NODE_SELECTOR", "a ===", "selector \"a ===\""),
    ])
    func `a first pool that could not be made is refused at the start`(_ name: String, _ value: String, _ words: String)
    {
        let text = problem([name: value])
        #expect(text.hasPrefix("\(name)=\(value): ") && text.contains(words), "\(text)")
    }

    @Test(arguments: [
        ("warn", Logger.Level.warning), ("WARNING", .warning), ("Debug", .debug), ("critical", .critical),
    ])
    func `log levels are understood in any case`(_ word: String, _ expected: Logger.Level) throws {
        #expect(try configuration(["CALICO_LIBNETWORK_LOG_LEVEL": word]).logLevel == expected)
    }

    /// Flag, environment, file: what is given nearer counts, and among equals CALICO_DEBUG.
    @Test func `CALICO_DEBUG outdoes a log level that is not given nearer to the command`() throws {
        let level = { (flags: [String: String], environment: [String: String], file: String) in
            try Configuration(
                flags: flags, environment: environment, readFile: { $0 == Configuration.path ? file : nil },
                hostName: "host-1"
            ).logLevel
        }
        let name = "CALICO_LIBNETWORK_LOG_LEVEL"
        #expect(try level([:], ["CALICO_DEBUG": "true"], "") == .debug)
        #expect(try level([:], ["CALICO_DEBUG": "true", name: "error"], "") == .debug)
        #expect(try level([:], ["CALICO_DEBUG": "true"], "logLevel: error") == .debug)
        #expect(try level([name: "error"], ["CALICO_DEBUG": "1"], "") == .error)
        #expect(try level([:], [name: "error"], "debug: true") == .error)
        #expect(try level([:], ["CALICO_DEBUG": "false"], "") == .info)
    }

    @Test func `variables that look like ours and are none are told, with the one that was meant`() throws {
        let environment = [
            "CALICO_LIBNETWORK_VETHMTU": "1400", "CALICO_LIBNETWORK_COLOUR": "red", "CALICO_LIBNETWORK_IFPREFIX": "eth",
            "CALICO_LIBNETWORK_CONFIG": "", "OTHER": "x",
        ]
        #expect(
            try configuration(environment).unknownVariables == [
                "CALICO_LIBNETWORK_COLOUR is no setting and has no effect",
                "CALICO_LIBNETWORK_VETHMTU is no setting and has no effect; do you mean CALICO_LIBNETWORK_VETH_MTU?",
            ])
    }
}
