// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
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
        #expect(defaults.sqlitePath == "/var/lib/calico/libnetwork.sqlite")
        #expect(defaults.socketDirectory == "/run/docker/plugins")
        #expect(defaults.node == "host-1")
        #expect(defaults.requestTimeout == .seconds(10))
        #expect(defaults.engine == .unix(path: "/var/run/docker.sock"))
        #expect(defaults.logLevel == .info)
        #expect(defaults.driver.scope == "local" && defaults.driver.interfacePrefix == "cali")
        #expect(defaults.driver.mtu == nil && defaults.driver.createsProfiles)
        #expect(defaults.driver.namespace == "libnetwork")
        #expect(defaults.settings.filter { $0.name != "NODENAME" }.allSatisfy { $0.origin == "default" })
    }

    @Test func `a setting is told with its value and where it came from`() throws {
        let settings = try configuration(["CALICO_LIBNETWORK_VETH_MTU": "1400", "NODENAME": "web-1"]).settings
        let setting = { (name: String) in settings.first { $0.name == name }.map { "\($0.value) \($0.origin)" } }
        #expect(setting("CALICO_LIBNETWORK_VETH_MTU") == "1400 environment (CALICO_LIBNETWORK_VETH_MTU)")
        #expect(setting("NODENAME") == "web-1 environment (NODENAME)")
        #expect(Set(settings.map(\.name)).count == settings.count)
    }

    @Test(arguments: [
        ("10s", Duration.seconds(10)), ("1500ms", .milliseconds(1500)), ("2m", .seconds(120)),
        ("1.5s", .milliseconds(1500)),
    ])
    func `durations are written as Go writes them`(_ text: String, _ expected: Duration) throws {
        #expect(try configuration(["CALICO_LIBNETWORK_REQUEST_TIMEOUT": text]).requestTimeout == expected)
    }

    @Test(arguments: [
        ("CALICO_LIBNETWORK_REQUEST_TIMEOUT", "10", "a duration such as 10s"),
        ("CALICO_LIBNETWORK_REQUEST_TIMEOUT", "nans", "a duration such as 10s"),
        ("CALICO_LIBNETWORK_REQUEST_TIMEOUT", "500ms", "between 1 and 600 seconds"),
        ("CALICO_LIBNETWORK_VETH_MTU", "67", "between 68 and 65535"),
        ("CALICO_LIBNETWORK_IFPREFIX", "thirteenchars", "1 to 12 letters and digits"),
        ("CALICO_LIBNETWORK_IFPREFIX", "müll", "1 to 12 letters and digits"),
        ("CALICO_LIBNETWORK_SCOPE", "swarm", "local or global"),
        ("CALICO_LIBNETWORK_NAMESPACE", "-x", "a letter or digit at both ends"),
        ("CALICO_LIBNETWORK_CREATE_PROFILES", "maybe", "true or false"),
        ("CALICO_LIBNETWORK_LOG_LEVEL", "loud", "trace, debug"),
        ("DOCKER_HOST", "ssh://host", "unix:///path or tcp://host:port"),
        ("CALICO_IPV4POOL_CIDR", "fd00::/64", "an ipv4 CIDR, or none"),
        ("CALICO_IPV4POOL_BLOCK_SIZE", "33", "a prefix length in 20...32"),
        ("IP", "fd00::1", "an ipv4 address"),
    ])
    func `an unusable value is refused with what it should be`(_ name: String, _ value: String, _ words: String) {
        let text = problem([name: value])
        #expect(text.hasPrefix("\(name)=\(value): wants "), "\(text)")
        #expect(text.contains(words), "\(text)")
    }

    @Test(arguments: [
        ["DATASTORE_TYPE": "etcdv3"], ["CALICO_DATASTORE_TYPE": "kubernetes"],
        ["ETCD_ENDPOINTS": "http://127.0.0.1:2379"],
        ["CALICO_ETCD_ENDPOINTS": "http://127.0.0.1:2379"], ["ETCD_AUTHORITY": "127.0.0.1:2379"],
        ["CALICO_ETCD_AUTHORITY": "127.0.0.1:2379"], ["ETCD_DISCOVERY_SRV": "example.org"],
    ])
    func `who asks for another datastore does not get this one`(_ environment: [String: String]) {
        #expect(problem(environment).contains("stores its data in SQLite only"))
    }

    @Test func `CALICO_DEBUG outdoes the log level`() throws {
        #expect(try configuration(["CALICO_DEBUG": "true", "CALICO_LIBNETWORK_LOG_LEVEL": "error"]).logLevel == .debug)
    }
}

@Suite struct `This node's name` {
    private func decide(
        _ environment: [String: String] = [:], file: String? = nil
    ) -> String {
        NodeName.decide(
            environment: environment, readFile: { $0 == "/var/lib/calico/nodename" ? file : nil }, hostName: "Kernel"
        )
        .name
    }

    @Test func `comes from the first that says something`() {
        let all = ["CALICO_NODENAME": "one", "NODENAME": "two", "HOSTNAME": "Four"]
        #expect(decide(all, file: "three") == "one")
        #expect(decide(all.filter { $0.key != "CALICO_NODENAME" }, file: "three") == "two")
        #expect(decide(["NODENAME": " ", "HOSTNAME": "Four"], file: "three\n") == "three")
        #expect(decide(["HOSTNAME": "Four"], file: "\n") == "four")
        #expect(decide() == "kernel")
    }

    @Test func `may lie in another file`() {
        let name = NodeName.decide(
            environment: ["CALICO_NODENAME_FILE": "/x"], readFile: { $0 == "/x" ? "five" : nil }, hostName: "kernel")
        #expect(name.name == "five" && name.origin == "/x")
    }

    @Test(arguments: ["My-Node", "web_1", "-web", "web-", "a b", "a/b"])
    func `must be one that Calico knows`(_ name: String) {
        #expect {
            _ = try Configuration(environment: ["NODENAME": name], readFile: { _ in nil }, hostName: "host-1")
        } throws: {
            "\($0)".contains("cannot be a node's name in Calico") && "\($0)".contains("environment (NODENAME)")
        }
    }
}
