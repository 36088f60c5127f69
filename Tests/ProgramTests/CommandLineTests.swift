// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import ArgumentParser
import CalicoModel
import DNS
import Datastore
import Testing
import YAML

@testable import calico_libnetwork

@Suite struct `The command line` {
    @Test(arguments: [
        (["pol", "list"], "unknown command 'pol'; do you mean 'calico-libnetwork pool'?"),
        (["pool", "lst"], "unknown command 'lst'; do you mean 'calico-libnetwork pool list'?"),
        (["Serve"], "unknown command 'Serve'; do you mean 'calico-libnetwork serve'?"),
        (["frobnicate"], "unknown command 'frobnicate'; 'calico-libnetwork' knows serve, pool,"),
        (["pool", "help"], "unknown command 'help'"), (["help", "nosuch"], "unknown command 'nosuch'"),
        (["help", "pool", "lst"], "unknown command 'lst'; do you mean 'calico-libnetwork pool list'?"),
    ])
    func `answers a mistyped command with the nearest one`(_ arguments: [String], _ expected: String) {
        let problem = UnknownCommand.problem(in: arguments, below: CalicoLibnetwork.self)
        #expect(problem?.hasPrefix(expected) == true, "\(problem ?? "none")")
    }

    @Test(arguments: [
        [], ["-v"], ["serve"], ["--nodename", "pol"], ["pool", "list"], ["pool", "show", "pol"], ["help", "pool"],
        ["help"], ["help", "pool", "list"], ["pool", "--output", "json"], ["ipam", "show", "--ip", "10.0.0.1"],
    ])
    func `leaves other words to the parser`(_ arguments: [String]) {
        #expect(UnknownCommand.problem(in: arguments, below: CalicoLibnetwork.self) == nil)
    }

    @Test func `has a flag for each setting that can be given so, named after the variable`() throws {
        let flags = [
            "--config": "CALICO_LIBNETWORK_CONFIG", "--datastore-type": "DATASTORE_TYPE",
            "--sqlite-path": "CALICO_LIBNETWORK_SQLITE_PATH", "--etcd-endpoints": "ETCD_ENDPOINTS",
            "--etcd-discovery-srv": "ETCD_DISCOVERY_SRV", "--etcd-ca-cert-file": "ETCD_CA_CERT_FILE",
            "--etcd-cert-file": "ETCD_CERT_FILE", "--etcd-key-file": "ETCD_KEY_FILE",
            "--etcd-username": "ETCD_USERNAME",
            "--nodename": "NODENAME", "--log-level": "CALICO_LIBNETWORK_LOG_LEVEL",
        ]
        for (flag, variable) in flags {
            #expect(try SettingOptions.parse([flag, "x"]).flags == [variable: "x"])
            #expect(SettingName(variable).flag == flag)
        }
        #expect(try SettingOptions.parse([]).flags.isEmpty)
    }

    @Test func `calls a flag's unusable value wrong usage`() throws {
        let options = try SettingOptions.parse(["--etcd-endpoints", "a:1", "--config", "/dev/null"])
        #expect { try options.configuration() } throws: {
            SettingOptions.exitCode(for: $0) == .validationFailure
                && "\($0)".contains("--etcd-endpoints: \"a:1\" is no URL; write http://a:1 or https://a:1")
        }
    }

    @Test func `a cell of a table stays on its line`() {
        let table = Table(titles: ["CHECK", "FOUND"], rows: [["nftables", "line 1\n  line 2\n"]])
        #expect(table.description == "CHECK      FOUND\nnftables   line 1   line 2")
    }

    @Test func `prints the same for JSON and YAML`() throws {
        let settings = [Configuration.Setting(name: "IP", value: "", origin: "default")]
        #expect(try OutputOptions.yaml(settings) == "- name: IP\n  origin: default\n  value: \"\"\n")
        #expect(try JSONValue(yaml: OutputOptions.json(settings)) == JSONValue(yaml: OutputOptions.yaml(settings)))
    }
}

@Suite struct `Finding etcd by DNS` {
    private func discover(
        _ records: [String: [ServiceRecord]], failing: Set<String> = []
    ) async throws -> [String] {
        try await discoverEndpoints(domain: "example.org") { name throws(ResolverError) in
            if failing.contains(name) { throw ResolverError(name: name, reason: "broken") }
            return records[name] ?? []
        }.map(\.description)
    }

    private let secure = "_etcd-client-ssl._tcp.example.org"
    private let plain = "_etcd-client._tcp.example.org"

    @Test func `takes TLS members first, each kind by priority`() async throws {
        let found = try await discover([
            plain: [.init(priority: 0, weight: 0, port: 2379, target: "c")],
            secure: [
                .init(priority: 2, weight: 0, port: 1, target: "b"),
                .init(priority: 1, weight: 0, port: 2, target: "a"),
                .init(priority: 0, weight: 0, port: 0, target: ""),
            ],
        ])
        #expect(found == ["https://a:2", "https://b:1", "http://c:2379"])
    }

    @Test func `is content with one kind`() async throws {
        let records = [plain: [ServiceRecord(priority: 0, weight: 0, port: 1, target: "c")]]
        #expect(try await discover(records, failing: [secure]) == ["http://c:1"])
    }

    @Test func `says what was asked where nothing is found`() async {
        await #expect { try await discover([:]) } throws: {
            "\($0)"
                == "the datastore is not available: no etcd found by ETCD_DISCOVERY_SRV=example.org: there is no SRV record \(secure) or \(plain)"
        }
        await #expect { try await discover([:], failing: [secure]) } throws: {
            "\($0)"
                == "the datastore is not available: no etcd found by ETCD_DISCOVERY_SRV=example.org: cannot look up \(secure): broken"
        }
    }
}
