// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc
import LinuxNetwork
import TestSupport
import Testing

@Suite struct `Connection tracking` {
    @Test func `the entries of an address go, others stay`() async throws {
        try await inNewNetworkNamespace {
            // A rule that asks for the state turns tracking on.
            try Nftables().run(
                "table inet t { chain c { type filter hook output priority 0; ct state new counter accept; }; }")
            let socket = try RouteSocket()
            for number in 1...4 {
                try socket.perform(.addAddress(AddressWithPrefix("10.65.0.\(number)/32")!, index: 1))
            }
            try sendDatagram(from: "10.65.0.1", to: "10.65.0.2")
            try sendDatagram(from: "10.65.0.3", to: "10.65.0.1")
            try sendDatagram(from: "10.65.0.3", to: "10.65.0.4")

            let conntrack = try Conntrack()
            #expect(try conntrack.deleteEntries(of: [address("10.65.0.1"), address("fd00::1")]) == 2)
            #expect(try conntrack.deleteEntries(of: [address("10.65.0.1")]) == 0)
            #expect(try conntrack.deleteEntries(of: [address("10.65.0.3")]) == 1)
            #expect(try conntrack.deleteEntries(of: []) == 0)
        }
    }
}

private func sendDatagram(from source: String, to destination: String) throws {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    defer { close(descriptor) }
    var local = socketAddress(source, port: 0)
    var remote = socketAddress(destination, port: 4000)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutableBytes(of: &local) {
        bind(descriptor, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), size)
    }
    let sent = withUnsafeMutableBytes(of: &remote) {
        sendto(descriptor, "x", 1, 0, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), size)
    }
    try #require(bound == 0 && sent == 1)
}

private func socketAddress(_ text: String, port: UInt16) -> sockaddr_in {
    sockaddr_in(
        sin_family: sa_family_t(AF_INET), sin_port: port.bigEndian,
        sin_addr: in_addr(s_addr: UInt32(truncatingIfNeeded: address(text).value).bigEndian),
        sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
}
