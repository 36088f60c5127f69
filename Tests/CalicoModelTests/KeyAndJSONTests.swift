// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Foundation
import Testing

@Suite struct `A key` {
    @Test func `of a block, its affinity and a handle is Calico's`() {
        let block = CIDR(address("10.65.3.77"), prefixLength: 26)!
        #expect(Key.block(block).path == "/calico/ipam/v2/assignment/ipv4/block/10.65.3.64-26")
        #expect(Key.affinity(host: "n1", block: block).path == "/calico/ipam/v2/host/n1/ipv4/block/10.65.3.64-26")
        #expect(Key.handle("a.b").path == "/calico/ipam/v2/handle/a.b")
        #expect(
            Key.block(CIDR("fd00:1::40/122")!).path == "/calico/ipam/v2/assignment/ipv6/block/fd00:1::40-122")
        #expect(Key.ipamConfiguration.path == "/calico/ipam/v2/config")
    }

    @Test(arguments: [
        ("/calico/felix/v2/no-region/host/web-1/status", "web-1"),
        ("/calico/felix/v2/region-a/host/web-1/status", "web-1"),
        ("/calico/felix/v2/no-region/host/web-1/last_reported_status", nil),
        ("/calico/felix/v2/no-region/host/web-1/workload/libnetwork/w/endpoint/status", nil),
        ("/calico/other/v2/no-region/host/web-1/status", nil),
    ])
    func `of a living Felix's report names its host`(_ path: String, _ host: String?) {
        #expect(Key(path).livingFelixHost == host)
    }

    @Test func `of a resource names plural, namespace and name`() {
        #expect(
            Key.resource(IPPoolSpec.self, name: "p").path == "/calico/resources/v3/projectcalico.org/ippools/p")
        #expect(
            Key.resource(WorkloadEndpointSpec.self, name: "w", namespace: "libnetwork").path
                == "/calico/resources/v3/projectcalico.org/workloadendpoints/libnetwork/w")
        #expect(Key.network("0123").path == "/calico/libnetwork/v1/networks/0123")
    }

    @Test(arguments: ["10.65.3.64/26", "0.0.0.0/20", "fd00:1::40/122", "::/116", "10.0.0.1/32"])
    func `gives its block and host back`(cidr: String) {
        let block = CIDR(cidr)!
        #expect(Key.block(block).blockCIDR == block)
        let affinity = Key.affinity(host: "a.b-c", block: block)
        #expect(affinity.blockCIDR == block && affinity.affinityHost == "a.b-c")
    }

    @Test(arguments: [
        "/calico/ipam/v2/config", "/calico/ipam/v2/host/n1", "/calico/ipam/v2/assignment/ipv4/block/nonsense",
        "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-99", "", "/",
    ])
    func `that names no block has none`(path: String) {
        #expect(Key(path).blockCIDR == nil)
        #expect(Key(path).affinityHost == nil)
    }

    @Test func `sorts by bytes, as the stores do`() {
        #expect(["/b", "/a-b", "/a/b", "/é"].map { Key($0) }.sorted().map(\.path) == ["/a-b", "/a/b", "/b", "/é"])
    }
}

@Suite struct `A JSON value` {
    @Test(arguments: [
        "0", "-1", "9007199254740993", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
        "18446744073709551615", "1787405600123456789", "true", "false", "null", #""""#, #""a/b é \u0000""#, "[]", "{}",
        "1.5", "-0.25", #"{"a":[1,{"b":null}],"1":true}"#,
    ])
    func `is written back as it was read`(json: String) throws {
        let value = try decoded(JSONValue.self, json)
        #expect(try encoded(value) == value)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if !json.contains("\\"), json.first != "{" {
            #expect(try String(decoding: encoder.encode(value), as: UTF8.self) == json)
        }
    }

    @Test func `tells integers, flags and numbers apart`() throws {
        #expect(
            try decoded(JSONValue.self, "[1, true, 1.5, 18446744073709551615]")
                == .array([.integer(1), .bool(true), .number(1.5), .unsigned(.max)]))
    }
}

@Suite struct `The JSON writer` {
    @Test func `writes a block to the same JSON as its encoder`() throws {
        var block = IPAMBlock(cidr: CIDR("10.0.0.0/30")!, host: "h\"\\\u{1}é/", now: .now)
        block.unknown = ["a": [1, .number(1.5), .null, true, "x"], "b": ["c": .unsigned(.max)]]
        _ = block.assignNext(to: owner("a"))
        var odd = owner(nil)
        odd.unknown = ["alternateOwnerAttrs": ["k": "v"]]
        _ = block.assignNext(to: odd)
        _ = block.release(address("10.0.0.0"), cooldown: 9)
        for _ in 0..<2 {
            var writer = JSONWriter()
            block.write(to: &writer)
            #expect(try JSONDecoder().decode(JSONValue.self, from: Data(writer.bytes)) == encoded(block))
            #expect(try JSONDecoder().decode(IPAMBlock.self, from: Data(writer.bytes)) == block)
            block.abandon()
        }
    }

    @Test func `writes a handle to the same JSON as its encoder`() throws {
        let json = #"{"block":{"10.0.0.0/26":2,"fd00::/122":1},"deleted":false,"more":["x"]}"#
        let handle = try decoded(IPAMHandle.self, json)
        var writer = JSONWriter()
        handle.write(to: &writer)
        #expect(String(decoding: writer.bytes, as: UTF8.self) == json)
        #expect(try encoded(handle) == decoded(JSONValue.self, json))
    }
}
