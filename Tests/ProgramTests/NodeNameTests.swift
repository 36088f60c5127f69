// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

@testable import calico_libnetwork

@Suite struct `This node's name` {
    private func decide(
        _ environment: [String: String] = [:], file: String? = nil
    ) throws -> String {
        let reader = SettingReader(environment: environment)
        return try NodeName.decide(
            reader, readFile: { $0 == "/var/lib/calico/nodename" ? file : nil }, hostName: "Kernel"
        ).text
    }

    @Test func `comes from the first that says something`() throws {
        let all = ["CALICO_NODENAME": "one", "NODENAME": "two", "HOSTNAME": "Four"]
        #expect(try decide(all, file: "three") == "one")
        #expect(try decide(all.filter { $0.key != "CALICO_NODENAME" }, file: "three") == "two")
        #expect(try decide(["NODENAME": " ", "HOSTNAME": "Four"], file: "three\n") == "three")
        #expect(try decide(["HOSTNAME": "Four"], file: "\n") == "four")
        #expect(try decide() == "kernel")
    }

    @Test func `may lie in another file`() throws {
        let name = try NodeName.decide(
            SettingReader(environment: ["CALICO_NODENAME_FILE": "/x"]), readFile: { $0 == "/x" ? "five" : nil },
            hostName: "kernel")
        #expect(name.text == "five" && name.origin.description == "/x")
    }

    @Test func `a file that is named has to exist, and naming none is naming none`() throws {
        let reader = SettingReader(environment: ["CALICO_NODENAME_FILE": "/x"])
        #expect { try NodeName.decide(reader, readFile: { _ in nil }, hostName: "kernel") } throws: {
            "\($0)" == "CALICO_NODENAME_FILE=/x: there is no such file"
        }
        #expect(try decide(["CALICO_NODENAME_FILE": ""], file: "three") == "three")
    }

    @Test func `CALICO_NODENAME hides NODENAME even where it is empty`() throws {
        #expect(try decide(["CALICO_NODENAME": "", "NODENAME": "two"], file: "three") == "three")
    }

    @Test(arguments: ["My-Node", "web_1", "-web", "web-", "a b", "a/b"])
    func `must be one that Calico knows`(_ name: String) {
        #expect {
            _ = try Configuration(environment: ["NODENAME": name], readFile: { _ in nil }, hostName: "host-1")
        } throws: {
            "\($0)".contains("cannot be a node's name in Calico") && "\($0)".contains("environment (NODENAME)")
        }
    }

    /// In an endpoint's name its dashes are doubled.
    @Test(arguments: [(166, 0, true), (167, 0, false), (164, 1, true), (164, 2, false), (300, 0, false)])
    func `leaves room for the names of its endpoints`(letters: Int, dashes: Int, isTaken: Bool) throws {
        let name = String(repeating: "a-", count: dashes) + String(repeating: "b", count: letters - dashes)
        let read = { try Configuration(environment: ["NODENAME": name], readFile: { _ in nil }, hostName: "host-1") }
        if isTaken {
            #expect(try read().node == name)
        } else {
            #expect { _ = try read() } throws: {
                "\($0)".contains("it has \(letters + 2 * dashes) bytes, each '-' counted twice, of 166 that")
            }
        }
    }
}
