// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Foundation
import Testing

@Suite struct `Networks` {
    @Test(arguments: [
        ("10.65.3.9/16", "10.65.0.0/16"), ("10.65.3.9/32", "10.65.3.9/32"), ("1.2.3.4/0", "0.0.0.0/0"),
        ("10.0.0.127/25", "10.0.0.0/25"), ("fd00:65::1/64", "fd00:65::/64"), ("FD00::FFFF/122", "fd00::ffc0/122"),
        ("::1/0", "::/0"), ("::1/128", "::1/128"), ("ff00::/1", "8000::/1"),
    ])
    func `lose their host bits`(text: String, canonical: String) {
        #expect(CIDR(text)?.description == canonical)
    }

    @Test(arguments: [
        "", "/", "10.0.0.0", "10.0.0.0/", "/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0/8",
        "::/129", "::/", "10.0.0.0/ 8", "10.0.0.0/8 ", "10.0.0.0/255.0.0.0", "::/1280", "10.0.0.0/８",
        "::ffff:10.0.0.0/104",
    ])
    func `refuse anything but address and length`(text: String) {
        #expect(CIDR(text) == nil)
    }

    @Test func `leniently, a bare address is the network of one`() {
        #expect(CIDR(lenient: "10.0.0.9") == CIDR("10.0.0.9/32"))
        #expect(CIDR(lenient: "fd00::9") == CIDR("fd00::9/128"))
        #expect(CIDR(lenient: "10.0.0.9/8") == CIDR("10.0.0.0/8"))
        #expect(CIDR(lenient: "ten") == nil)
    }

    @Test func `exist for each prefix length and no other`() throws {
        let v4 = try #require(IPAddress("255.255.255.255"))
        let v6 = IPAddress(family: .v6, value: .max)
        for (address, bits) in [(v4, 32), (v6, 128)] {
            #expect(CIDR(address, prefixLength: -1) == nil)
            #expect(CIDR(address, prefixLength: bits + 1) == nil)
            for length in 0...bits {
                let network = try #require(CIDR(address, prefixLength: length))
                #expect(network.hostBits == bits - length)
                #expect(network.last == address)
                #expect(network.contains(address))
                #expect(network.address.value.nonzeroBitCount == length)
            }
        }
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "9.255.255.255", false),
        ("0.0.0.0/0", "255.255.255.255", true), ("0.0.0.0/0", "::", false), ("::/0", "0.0.0.0", false),
        ("10.0.0.1/32", "10.0.0.1", true), ("10.0.0.1/32", "10.0.0.2", false), ("fd00::/122", "fd00::3f", true),
        ("fd00::/122", "fd00::40", false),
    ])
    func `contain the addresses of their family that share the prefix`(network: String, address: String, expected: Bool)
        throws
    {
        #expect(try #require(CIDR(network)).contains(try #require(IPAddress(address))) == expected)
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.1.0.0/16", true, true), ("10.1.0.0/16", "10.0.0.0/8", false, true),
        ("10.0.0.0/8", "10.0.0.0/8", true, true), ("10.0.0.0/9", "10.128.0.0/9", false, false),
        ("0.0.0.0/0", "::/0", false, false),
    ])
    func `contain narrower networks, and overlap both ways`(a: String, b: String, contains: Bool, overlaps: Bool) throws
    {
        let (a, b) = (try #require(CIDR(a)), try #require(CIDR(b)))
        #expect(a.contains(b) == contains)
        #expect(a.overlaps(b) == overlaps)
        #expect(b.overlaps(a) == overlaps)
    }

    @Test func `the block of an address is the network around it`() throws {
        let address = try #require(IPAddress("10.65.3.77"))
        #expect(CIDR.containing(address, prefixLength: 26) == CIDR("10.65.3.64/26"))
        #expect(CIDR.containing(address, prefixLength: 33) == nil)
    }

    @Test func `order by address, the wider first`() throws {
        let texts = ["10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "192.168.0.0/16", "::/0", "fd00::/8"]
        let networks = try texts.map { try #require(CIDR($0)) }
        #expect(networks.shuffled().sorted() == networks)
    }

    @Test func `are JSON strings, and a bare address is taken for one`() throws {
        let networks = try JSONDecoder().decode([CIDR].self, from: Data(#"["10.0.0.9/8","fd00::1"]"#.utf8))
        #expect(networks.map(\.description) == ["10.0.0.0/8", "fd00::1/128"])
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([CIDR].self, from: Data(#"["10.0.0.0/99"]"#.utf8))
        }
    }

    @Test func `an address with prefix keeps its host bits`() throws {
        let parsed = try #require(AddressWithPrefix("10.0.0.9/16"))
        #expect(parsed.description == "10.0.0.9/16")
        #expect(parsed.network == CIDR("10.0.0.0/16"))
        #expect(AddressWithPrefix("10.0.0.9") == nil)
        #expect(AddressWithPrefix("10.0.0.9/33") == nil)
    }
}
