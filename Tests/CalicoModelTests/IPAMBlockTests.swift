// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Foundation
import Testing

func owner(_ handle: String?, node: String = "host-1") -> AllocationAttributes {
    AllocationAttributes(handleID: handle, secondary: ["node": node])
}

func decoded<Value: Decodable>(_ type: Value.Type, _ json: String) throws -> Value {
    try JSONDecoder().decode(type, from: Data(json.utf8))
}

func encoded(_ value: some Encodable) throws -> JSONValue {
    try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(value))
}

func address(_ text: String) -> IPAddress { IPAddress(text)! }

@Suite struct `An IPAM block` {
    private let now = Date(timeIntervalSince1970: 1_787_405_600)

    private func block(_ cidr: String = "10.65.0.0/30") -> IPAMBlock {
        IPAMBlock(cidr: CIDR(cidr)!, host: "host-1", now: now)
    }

    @Test(arguments: (20...32).map { "10.64.0.0/\($0)" } + (116...128).map { "fd00:1::/\($0)" })
    func `of every size gives each address once, in order, and takes all back`(cidr: String) throws {
        var block = block(cidr)
        var given: [IPAddress] = []
        while let address = block.assignNext(to: owner("h\(given.count % 5)")) { given.append(address) }
        try block.checkInvariants()
        #expect(given == (0..<block.size).map { block.address(at: $0) })
        #expect(!block.hasFreeAddress)
        for address in given {
            let former = block.release(address)
            #expect(former != nil)
        }
        try block.checkInvariants()
        #expect(block.isEmpty && block.attributes.isEmpty && block.sequenceNumberForAllocation.isEmpty)
    }

    @Test func `reuses the address that has been free longest`() throws {
        var block = block()
        let first = block.assignNext(to: owner("a"))!
        _ = block.assignNext(to: owner("b"))
        try block.checkInvariants()
        let former = block.release(first)
        #expect(former?.handleID == "a")
        try block.checkInvariants()
        let next = (0..<3).map { _ in block.assignNext(to: owner("c"))?.description }
        #expect(next == ["10.65.0.2", "10.65.0.3", "10.65.0.0"])
        try block.checkInvariants()
    }

    @Test func `skips what is not eligible without moving it in the queue`() throws {
        var block = block()
        let odd = block.assignNext(to: owner("a")) { $0.value % 2 == 1 }
        #expect(odd == address("10.65.0.1"))
        #expect(block.unallocated == [0, 2, 3])
        let none = block.assignNext(to: owner("a")) { _ in false }
        #expect(none == nil)
        try block.checkInvariants()
    }

    @Test func `gives a particular address to one owner only`() throws {
        var block = block()
        let isFirst = block.assign(address("10.65.0.2"), to: owner("a"))
        #expect(isFirst)
        let isSecond = block.assign(address("10.65.0.2"), to: owner("b"))
        #expect(!isSecond)
        let isOutside = block.assign(address("10.65.0.4"), to: owner("b"))
        #expect(!isOutside)
        let isForeign = block.assign(address("fd00::2"), to: owner("b"))
        #expect(!isForeign)
        #expect(block.owner(of: address("10.65.0.2"))?.handleID == "a")
        try block.checkInvariants()
    }

    @Test func `shares equal attributes and drops unused ones, re-indexing the rest`() throws {
        var block = block()
        for handle in ["a", "b", "a", "c"] { _ = block.assignNext(to: owner(handle)) }
        #expect(block.allocations == [0, 1, 0, 2])
        let oneOfTwo = block.release(address("10.65.0.0"))
        #expect(oneOfTwo != nil)
        #expect(block.attributes.count == 3)
        try block.checkInvariants()
        let theOnly = block.release(address("10.65.0.1"))
        #expect(theOnly != nil)
        #expect(block.allocations == [nil, nil, 0, 1])
        #expect(block.attributes.map(\.handleID) == ["a", "c"])
        try block.checkInvariants()
    }

    @Test func `frees an address once`() throws {
        var block = block()
        let address = block.assignNext(to: owner("a"))!
        let former = block.release(address)
        #expect(former != nil)
        let again = block.release(address)
        #expect(again == nil)
        #expect(block.unallocated.count == 4)
        try block.checkInvariants()
    }

    @Test func `counts its writes from the clock in nanoseconds, exactly above 2^53`() throws {
        var block = block()
        #expect(block.sequenceNumber == 1_787_405_600_000_000_000)
        block.advanceSequence()
        _ = block.assignNext(to: owner("a"))
        block.advanceSequence()
        #expect(block.sequenceNumberForAllocation == [0: 1_787_405_600_000_000_001])
        let again = try JSONDecoder().decode(IPAMBlock.self, from: JSONEncoder().encode(block))
        #expect(again.sequenceNumber == 1_787_405_600_000_000_002)
        #expect(again == block)
    }

    @Test func `never falls behind the number it replaces, and survives the largest`() throws {
        var block = block()
        block.advanceSequence(past: .max - 1)
        #expect(block.sequenceNumber == .max)
        block.advanceSequence()
        try block.checkInvariants()
    }

    @Test func `lets a released address rest for its cool-down`() throws {
        var block = block()
        let address = block.assignNext(to: owner("a"))!
        let former = block.release(address, cooldown: 60, now: now)
        #expect(former?.handleID == "a")
        try block.checkInvariants()
        #expect(block.owner(of: address)?.isCoolingDown == true)
        let again = block.release(address)
        #expect(again == nil)
        let isTaken = block.assign(address, to: owner("b"))
        #expect(!isTaken)
        block.collectCooledDown(after: 60, now: now.addingTimeInterval(59))
        #expect(block.owner(of: address) != nil)
        block.collectCooledDown(after: 60, now: now.addingTimeInterval(60))
        #expect(block.owner(of: address) == nil)
        #expect(block.unallocated == [1, 2, 3, 0])
        try block.checkInvariants()
    }

    @Test func `counts as empty while only Windows' reserved addresses are held`() {
        var block = block()
        _ = block.assignNext(to: owner("windows-reserved-ipam-handle"))
        #expect(block.isEmpty)
        _ = block.assignNext(to: owner("a"))
        #expect(!block.isEmpty)
    }

    @Test func `can be abandoned and claimed again`() throws {
        var block = block()
        block.abandon()
        #expect(block.affinity == nil && block.affinityClaimTime == nil)
        #expect(try encoded(block)["affinity"] == .null)
        block.claim(for: "host-2", now: now)
        #expect(block.isAffine(to: "host-2"))
        #expect(block.affinityClaimTime == "2026-08-22T13:33:20Z")
        try block.checkInvariants()
    }
}

@Suite struct `An IPAM block on the wire` {
    private let recorded = """
        {"cidr":"10.65.0.0/30","affinity":"host:host-1","affinity_claim_time":"2026-08-22T13:33:20Z",
         "allocations":[0,null,1,null],"unallocated":[1,3],
         "attributes":[{"handle_id":"h1","secondary":{"node":"host-1"},"alternateOwnerAttrs":{"a":"b"}},
                       {"handle_id":null,"secondary":null,"later":[1,2]}],
         "sequenceNumber":1787405600123456789,
         "sequenceNumberForAllocation":{"0":1787405600123456780,"2":1787405600123456788},
         "deleted":false,"strictAffinity":false,"novel":{"x":18446744073709551615}}
        """

    @Test func `keeps members it does not know, of the block and of its attributes`() throws {
        var block = try decoded(IPAMBlock.self, recorded)
        try block.checkInvariants()
        _ = block.assignNext(to: owner("h2"))
        try block.checkInvariants()
        let json = try encoded(block)
        #expect(json["novel"]?["x"] == .unsigned(.max))
        #expect(json["strictAffinity"] == false)
        let attributes = try #require(json["attributes"]?.array)
        #expect(attributes[0]["alternateOwnerAttrs"] == ["a": "b"])
        #expect(attributes[1]["later"] == [1, 2])
        #expect(json["allocations"] == [0, 2, 1, .null])
        #expect(json["sequenceNumber"] == 1_787_405_600_123_456_789)
        #expect(json["sequenceNumberForAllocation"]?["2"] == 1_787_405_600_123_456_788)
        #expect(json["deleted"] == false)
    }

    @Test func `writes every array, also an empty one`() throws {
        let json = try encoded(IPAMBlock(cidr: CIDR("10.0.0.4/32")!, host: "h", now: .now))
        #expect(json["attributes"] == [])
        #expect(json["unallocated"] == [0])
        #expect(json["allocations"] == [.null])
        #expect(json["sequenceNumberForAllocation"] == [:])
    }

    @Test(arguments: [
        #"{"cidr":"10.65.0.0/31","affinity":null,"allocations":[null,null],"unallocated":[0,1],"attributes":null}"#,
        #"{"cidr":"10.65.0.0/31","allocations":[0,null],"unallocated":[1],"attributes":[{}],"#
            + #""sequenceNumberForAllocation":null,"deleted":false}"#,
        #"{"cidr":"10.65.0.0/31","affinity":"host:a","allocations":[0,0],"unallocated":null,"#
            + #""attributes":[{"handle_id":null,"secondary":null}],"sequenceNumber":0}"#,
        #"{"cidr":"10.65.0.0/31","allocations":[0,null],"unallocated":[1],"#
            + #""attributes":[{"releasedAt":"2026-08-22T13:33:20.123456Z"}]}"#,
    ])
    func `of a Go writer with nulls and gaps is read and goes on`(json: String) throws {
        var block = try decoded(IPAMBlock.self, json)
        try block.checkInvariants()
        block.collectCooledDown(after: 0, now: .now)
        try block.checkInvariants()
        _ = block.assignNext(to: owner("a"))
        block.advanceSequence()
        try block.checkInvariants()
    }

    @Test(arguments: [
        #"{"cidr":"10.65.0.0/30","allocations":[null],"unallocated":[0],"attributes":[]}"#,
        #"{"cidr":"10.65.0.0/31","allocations":[0,null],"unallocated":[1],"attributes":[]}"#,
        #"{"cidr":"10.65.0.0/31","allocations":[-1,null],"unallocated":[1],"attributes":[{}]}"#,
        #"{"cidr":"10.65.0.0/31","allocations":[null,null],"unallocated":[0,7],"attributes":[]}"#,
        #"{"cidr":"::/0","allocations":[],"unallocated":[],"attributes":[]}"#,
        #"{"cidr":"nonsense","allocations":[],"unallocated":[],"attributes":[]}"#,
        #"{"cidr":"10.65.0.0/31","allocations":[null,null],"unallocated":[0,1],"attributes":[],"sequenceNumber":-1}"#,
        #"[]"#, #""#, #"null"#,
    ])
    func `that cannot be relied on is refused`(json: String) {
        #expect(throws: DecodingError.self) { try decoded(IPAMBlock.self, json) }
    }

    @Test func `with a queue that contradicts its allocations is put right by them`() throws {
        let json =
            #"{"cidr":"10.65.0.0/30","allocations":[0,null,null,null],"unallocated":[0,2,2],"#
            + #""attributes":[{"handle_id":"a"}],"sequenceNumber":9,"sequenceNumberForAllocation":{"0":3,"1":4,"x":5}}"#
        var block = try decoded(IPAMBlock.self, json)
        try block.checkInvariants()
        #expect(block.unallocated == [2, 1, 3])
        let next = block.assignNext(to: owner("b"))
        #expect(next == address("10.65.0.2"))
        try block.checkInvariants()
    }
}

@Suite struct `IPAM's other records` {
    @Test(arguments: [("pending", BlockAffinity.State.pending), ("confirmed", .confirmed), ("", .confirmed)])
    func `an affinity's state, and none for a very old one`(text: String, state: BlockAffinity.State) throws {
        #expect(try decoded(BlockAffinity.self, #"{"state":"\#(text)","deleted":false}"#).state == state)
        #expect(try decoded(BlockAffinity.self, "{}").state == .confirmed)
    }

    @Test func `an affinity in a state we do not know is not taken for confirmed`() {
        #expect(throws: DecodingError.self) { try decoded(BlockAffinity.self, #"{"state":"borrowed"}"#) }
    }

    @Test func `an affinity keeps unknown members`() throws {
        let affinity = try decoded(BlockAffinity.self, #"{"state":"pendingDeletion","type":"host"}"#)
        #expect(try encoded(affinity) == ["state": "pendingDeletion", "deleted": false, "type": "host"])
    }

    @Test func `a handle counts per block, empties, and never goes below zero`() throws {
        var handle = try decoded(IPAMHandle.self, #"{"block":{"10.65.0.0/26":1},"deleted":false,"x":1}"#)
        let other = CIDR("10.65.0.64/26")!
        handle.increment(other)
        handle.increment(other)
        #expect(handle.blocks == ["10.65.0.0/26": 1, "10.65.0.64/26": 2])
        handle.decrement(CIDR("10.65.0.0/26")!)
        handle.decrement(CIDR("10.65.0.0/26")!)
        #expect(handle.blocks == ["10.65.0.64/26": 2])
        handle.decrement(other)
        handle.decrement(other)
        #expect(handle.isEmpty)
        #expect(try encoded(handle) == ["block": [:], "deleted": false, "x": 1])
    }

    @Test func `a missing member of the configuration means false, a missing configuration does not`() throws {
        let empty = try decoded(IPAMConfiguration.self, "{}")
        #expect(!empty.strictAffinity && !empty.autoAllocateBlocks && empty.blockLimit == 20)
        #expect(IPAMConfiguration().autoAllocateBlocks)
        let full = try decoded(
            IPAMConfiguration.self,
            #"{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":5,"kubeVirtVMAddressPersistence":"x"}"#
        )
        #expect(full.strictAffinity && full.autoAllocateBlocks && full.blockLimit == 5)
        #expect(
            try encoded(full) == [
                "strict_affinity": true, "auto_allocate_blocks": true, "maxBlocksPerHost": 5,
                "kubeVirtVMAddressPersistence": "x",
            ])
    }
}
