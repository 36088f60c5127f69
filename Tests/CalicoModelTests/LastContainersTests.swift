// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Foundation
import Testing

@Suite struct `A block that remembers containers` {
    private let member = "libnetwork.projectcalico.org/lastContainers"

    private func block(_ cidr: String = "10.65.0.0/29") -> IPAMBlock {
        IPAMBlock(cidr: CIDR(cidr)!, host: "host-1", now: Date(timeIntervalSince1970: 1_787_405_600))
    }

    private func container(_ name: String) -> AllocationAttributes {
        AllocationAttributes(handleID: "h-\(name)", secondary: ["node": "host-1", "container": name])
    }

    /// Mutating calls do not fit into an expectation.
    private func again(
        _ name: String, _ block: inout IPAMBlock, where isEligible: (IPAddress) -> Bool = { _ in true }
    ) -> IPAddress? {
        block.assignAgain(to: container(name), where: isEligible)
    }

    @Test func `gives a container its address again, and others the one that has been free longest`() throws {
        var block = block()
        let web = block.assignNext(to: container("web"))!
        let db = block.assignNext(to: container("db"))!
        for address in [web, db] { _ = block.release(address) }
        try block.checkInvariants()
        #expect(again("cache", &block) == nil)
        let nameless = block.assignAgain(to: owner("h"))
        #expect(nameless == nil)
        #expect(again("db", &block) == db)
        let next = block.assignNext(to: container("cache"))
        #expect(next?.description == "10.65.0.2")
        #expect(again("web", &block, where: { $0 != web }) == nil)
        #expect(again("web", &block) == web)
        #expect(again("web", &block) == nil)
        try block.checkInvariants()
    }

    @Test func `keeps nobody from an address, and forgets whose it was once it is taken`() throws {
        var block = block("10.65.0.0/32")
        let web = block.assignNext(to: container("web"))!
        _ = block.release(web)
        let taken = block.assignNext(to: container("db"))
        #expect(taken == web)
        _ = block.release(web)
        #expect(again("web", &block) == nil)
        #expect(again("db", &block) == web)
    }

    @Test func `gives a container of two networks both addresses in the order of their release`() throws {
        var block = block()
        let (first, second) = (block.assignNext(to: container("web"))!, block.assignNext(to: container("web"))!)
        for address in [second, first] { _ = block.release(address) }
        #expect([again("web", &block), again("web", &block)] == [second, first])
    }

    @Test func `remembers 64 of them, the latest`() throws {
        var block = block("10.65.0.0/24")
        let addresses = (0..<70).map { block.assignNext(to: container("c\($0)"))! }
        for address in addresses { _ = block.release(address) }
        try block.checkInvariants()
        #expect((0..<70).filter { again("c\($0)", &block) != nil } == Array(6..<70))
    }

    @Test func `keeps them on the wire, in a member that others ignore`() throws {
        var block = block()
        #expect(try encoded(block)[member] == nil)
        let web = block.assignNext(to: container("web"))!
        _ = block.release(web)
        let wire = try encoded(block)
        #expect(wire[member] == .object(["0": .string("web")]))
        var writer = JSONWriter()
        block.write(to: &writer)
        #expect(try decoded(JSONValue.self, String(decoding: writer.bytes, as: UTF8.self)) == wire)
        var read = try JSONDecoder().decode(IPAMBlock.self, from: JSONEncoder().encode(wire))
        #expect(read == block)
        #expect(again("web", &read) == web)
    }

    @Test(arguments: [#"{"0":"web","2":"db","9":"x","-1":"y","z":"z"}"#, #"["web"]"#, "7"])
    func `takes what a foreign writer left for what can be`(_ text: String) throws {
        let json = """
            {"cidr":"10.65.0.0/30","affinity":"host:host-1","allocations":[0,null,null,null],"unallocated":[1,2,3],
            "attributes":[{"handle_id":"h","secondary":{"node":"host-1"}}],"deleted":false,"\(member)":\(text)}
            """
        var block = try decoded(IPAMBlock.self, json)
        try block.checkInvariants()
        #expect(again("web", &block) == nil, "somebody holds it")
        #expect(again("db", &block) == (text.hasPrefix("{") ? address("10.65.0.2") : nil))
    }

    @Test func `leaves a resting address alone`() throws {
        var block = block()
        let web = block.assignNext(to: container("web"))!
        _ = block.release(web, cooldown: 60, now: .now)
        try block.checkInvariants()
        #expect(again("web", &block) == nil)
    }
}
