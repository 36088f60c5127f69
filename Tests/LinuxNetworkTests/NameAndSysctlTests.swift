// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import LinuxNetwork
import TestSupport
import Testing

@Suite struct `Names the kernel gets` {
    @Test(arguments: [
        "cali0", "eth0", "a", "br-0123456789ab", "eth0.100", "vxlan.calico", "temp-x_1", "123456789012345",
    ])
    func `interface names are up to 15 printable bytes`(text: String) {
        #expect(InterfaceName(text)?.text == text)
    }

    @Test(arguments: [
        "", ".", "..", "all", "default", "1234567890123456", "a/b", "a b", "a\tb", "a\n", "a:b", "eth%d", "cali*",
        "a\"b",
        "a\\b", "é", "a\u{0}", "../x",
    ])
    func `other interface names are refused`(text: String) {
        #expect(InterfaceName(text) == nil)
    }

    @Test(arguments: ["cali", "s_blue4", "a.b/c-d", "X9"])
    func `nft identifiers are a letter, then letters, digits and four marks`(text: String) {
        #expect(NftIdentifier(text)?.text == text)
    }

    @Test(arguments: [
        "", "9a", "_a", "-a", "a b", "a;b", "a{", "a\nb", "a\"", "é", "a@b", String(repeating: "a", count: 256),
    ])
    func `other nft identifiers are refused`(text: String) {
        #expect(NftIdentifier(text) == nil)
    }

    @Test func `nft text is quoted, or refused where quotes cannot hold it`() {
        #expect(NftText.quoted("policy \\ blue; {}") == "\"policy \\ blue; {}\"")
        #expect(NftText.quoted(name("cali0")) == "\"cali0\"")
        for text in ["a\"b", "a\nb", String(repeating: "a", count: 129)] { #expect(NftText.quoted(text) == nil) }
    }
}

@Suite struct `Kernel settings` {
    @Test func `keys are paths, so that a dot in an interface name does no harm`() {
        #expect(Sysctl.Key.ipv4(name("eth0.100"), "proxy_arp").path == "net/ipv4/conf/eth0.100/proxy_arp")
        #expect(Sysctl.Key.ipv6(name("cali0"), "accept_ra").path == "net/ipv6/conf/cali0/accept_ra")
        #expect(Sysctl.Key.ipv4Neighbour(name("cali0"), "proxy_delay").path == "net/ipv4/neigh/cali0/proxy_delay")
        #expect(Sysctl.Key.ipv6Neighbour(name("cali0"), "proxy_delay").path == "net/ipv6/neigh/cali0/proxy_delay")
        #expect(("net/ipv4/ip_forward" as Sysctl.Key).path == "net/ipv4/ip_forward")
    }

    @Test func `are files below a root`() throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("sysctl-\(UUID().uuidString)")
        let directory = root.appendingPathComponent("net/ipv4")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: root) }
        try Data("0\n".utf8).write(to: directory.appendingPathComponent("ip_forward"))

        let sysctl = Sysctl(root: root.path)
        #expect(try sysctl.read("net/ipv4/ip_forward") == "0")
        try sysctl.write("1", to: "net/ipv4/ip_forward")
        #expect(try sysctl.read("net/ipv4/ip_forward") == "1\n".trimmingCharacters(in: .whitespacesAndNewlines))
    }

    @Test func `of an interface are written and read in the thread's own namespace`() async throws {
        try await inNewNetworkNamespace {
            try RouteSocket().createVethPair(.sample())
            let sysctl = Sysctl()
            for setting in ["proxy_arp", "forwarding", "route_localnet"] as [StaticString] {
                let key = Sysctl.Key.ipv4(name("cali0"), setting)
                #expect(try sysctl.read(key) == "0")
                try sysctl.write("1", to: key)
                #expect(try sysctl.read(key) == "1")
            }
            try sysctl.write("1", to: "net/ipv4/ip_forward")
            #expect(try sysctl.read("net/ipv4/ip_forward") == "1")
        }
    }

    @Test func `that are absent or refused are named in the error`() async throws {
        try await inNewNetworkNamespace {
            let sysctl = Sysctl()
            let absent = #expect(throws: SysctlError.self) { try sysctl.read(.ipv4(name("cali9"), "proxy_arp")) }
            #expect(
                absent?.description
                    == "cannot read kernel setting net/ipv4/conf/cali9/proxy_arp: No such file or directory (2)")
            let refused = #expect(throws: SysctlError.self) { try sysctl.write("maybe", to: "net/ipv4/ip_forward") }
            #expect(
                refused?.description
                    == "cannot write \"maybe\" to kernel setting net/ipv4/ip_forward: Invalid argument (22)")
        }
    }
}
