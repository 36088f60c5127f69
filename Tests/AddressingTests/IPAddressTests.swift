// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Foundation
import Testing

@Suite struct `IP addresses` {
    @Test(arguments: [
        ("10.65.0.1", "10.65.0.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("FD00:65::ABCD", "fd00:65::abcd"),
        ("0:0:0:0:0:0:0:0", "::"), ("0:0:0:0:0:0:0:1", "::1"), ("1:0:0:0:0:0:0:0", "1::"),
        ("2001:0db8::0001", "2001:db8::1"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        ("fe80::ecee:eeff:feee:eeee", "fe80::ecee:eeff:feee:eeee"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ])
    func `print as RFC 5952 and Go write them`(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(IPAddress(canonical) == address)
    }

    @Test(arguments: [
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),  // RFC 5952, 4.2.2: a single zero group stays
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),  // 4.2.3: the longest run
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),  // 4.2.3: of equal runs the first
        ("0:0:1:0:0:0:0:0", "0:0:1::"),
    ])
    func `compress the longest run of zero groups, the first of equals, never a single group`(
        text: String, canonical: String
    ) {
        #expect(IPAddress(text)?.description == canonical)
    }

    @Test(arguments: [
        "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.0.0.1", "01.2.3.4", "1.2.3.04",
        "1.2.3.-4",
        "1.2.3.+4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/32", "0x1.2.3.4", "1.2.3.0000", "１.2.3.4",
        ":", ":::", "1:", ":1", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
        "::1:2:3:4:5:6:7:8",
        "12345::", "g::", "+1::", "-1::", "fe80::1%eth0", "::1/128", "[::1]", "1:::2",
        "1.2.3.4::", "::1.2.3.4:5", "1.2.3.4:5::", "::1.2.3", "::256.1.1.1", "::01.2.3.4", "1:2:3:4:5:6:7:1.2.3.4",
    ])
    func `refuse what is not a bare address`(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(arguments: ["::ffff:10.0.0.1", "::FFFF:a00:1", "0:0:0:0:0:ffff:a00:0001"])
    func `an IPv4-mapped address is the IPv4 address, as in Go`(text: String) {
        #expect(IPAddress(text) == IPAddress("10.0.0.1"))
    }

    @Test func `a number of a thousand random addresses survives text and bytes`() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<1000 {
            // Sparse numbers have the zero runs that matter.
            let value = UInt128.random(in: 0...UInt128.max, using: &generator) & (0xffff_0000_ffff_0000 << 32 | 0xf0f)
            let address = IPAddress(family: .v6, value: value)
            #expect(IPAddress(address.description) == address)
            #expect(IPAddress(bytes: address.bytes) == address)
        }
    }

    @Test func `have network-order bytes`() {
        #expect(IPAddress("10.65.0.1")?.bytes == [10, 65, 0, 1])
        #expect(IPAddress("fd00::1")?.bytes == [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
        #expect(IPAddress(bytes: [10, 65, 0, 1]) == IPAddress("10.65.0.1"))
        #expect(IPAddress(bytes: [UInt8](repeating: 0, count: 5)) == nil)
        #expect(IPAddress(bytes: []) == nil)
    }

    @Test func `order IPv4 before IPv6, then by number, not by text`() throws {
        let texts = ["10.0.0.9", "10.0.0.10", "255.0.0.0", "::", "::2", "::10"]
        let addresses = try texts.map { try #require(IPAddress($0)) }
        #expect(addresses.shuffled().sorted() == addresses)
    }

    @Test func `advance within the family and no further`() throws {
        let last = try #require(IPAddress("255.255.255.255"))
        #expect(last.advanced(by: 0) == last)
        #expect(last.advanced(by: 1) == nil)
        #expect(IPAddress("10.0.0.255")?.advanced(by: 1) == IPAddress("10.0.1.0"))
        #expect(IPAddress("::ffff")?.advanced(by: 1) == IPAddress("::1:0"))
        #expect(IPAddress(family: .v6, value: .max).advanced(by: 1) == nil)
        #expect(last.advanced(by: .max) == nil)
    }

    @Test(arguments: [
        ("169.254.1.1", true), ("169.255.0.0", false), ("fe80::1", true), ("febf::1", true), ("fec0::1", false),
    ])
    func `know link-local ranges`(text: String, isLinkLocal: Bool) {
        #expect(IPAddress(text)?.isLinkLocal == isLinkLocal)
    }

    @Test func `know loopback and unspecified`() {
        #expect(IPAddress("127.8.0.1")?.isLoopback == true)
        #expect(IPAddress("::1")?.isLoopback == true)
        #expect(IPAddress("128.0.0.1")?.isLoopback == false)
        #expect(IPAddress("0.0.0.0")?.isUnspecified == true)
        #expect(IPAddress("::")?.isUnspecified == true)
    }

    @Test func `are JSON strings, and other strings are refused`() throws {
        let json = Data(#"["10.0.0.1","FD00::1"]"#.utf8)
        let addresses = try JSONDecoder().decode([IPAddress].self, from: json)
        #expect(String(decoding: try JSONEncoder().encode(addresses), as: UTF8.self) == #"["10.0.0.1","fd00::1"]"#)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([IPAddress].self, from: Data(#"["10.0.0.1/24"]"#.utf8))
        }
    }
}
