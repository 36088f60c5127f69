// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    /// That the other suites test what they say they do.
    @Suite(.lab(), .cleanAfterwards)
    struct TheLab {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `the engine and its client have the version asked for`() async throws {
            let versions = try await lab.run("docker version --format '{{.Server.Version}} {{.Client.Version}}'")
                .split(separator: " ")
            #expect(versions.count == 2)
            #expect(versions.allSatisfy { $0.hasPrefix(LabEngine.current.rawValue) })
        }

        @Test func `a command in a container works in the container's file system`() async throws {
            try await lab.createNetwork("blue")
            let container = try await lab.start("b1", on: "blue")
            #expect(try await container.run("cat /etc/passwd") == "root:x:0:0::/root:/bin/sh")
        }

        @Test func `the host's new interfaces begin with IPv6 or without, as asked for`() async throws {
            try await lab.run("ip link add probe type veth peer name probe-peer")
            let disabled = try await lab.run("cat /proc/sys/net/ipv6/conf/probe/disable_ipv6")
            try await lab.run("ip link del probe")
            #expect(disabled == (hostBeginsWithIPv6 ? "0" : "1"))
        }
    }
}
