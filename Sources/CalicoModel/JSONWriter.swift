// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

/// Writes compact JSON. For values on the path of a container start: a full block takes `JSONEncoder` 580 µs, more
/// than the disk commit it is for, and this about a fifth of that.
public struct JSONWriter {
    public private(set) var bytes: [UInt8] = []
    private var needsComma = false

    public init() {}

    /// A value that writes itself, to the same JSON (in another member order) as its `Encodable` form.
    public protocol Writable {
        func write(to writer: inout JSONWriter)
    }

    public mutating func object(_ members: (inout JSONWriter) -> Void) { enclosed("{", "}", members) }
    public mutating func array(_ elements: (inout JSONWriter) -> Void) { enclosed("[", "]", elements) }

    /// The name of the member whose value is written next.
    public mutating func name(_ name: String) {
        string(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    public mutating func null() { token("null") }
    public mutating func bool(_ value: Bool) { token(value ? "true" : "false") }
    public mutating func integer(_ value: some BinaryInteger) { token(value.description) }

    public mutating func string(_ text: String) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0..<0x20: bytes += Array("\\u00".utf8) + [Self.digits[Int(byte >> 4)], Self.digits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    public mutating func value(_ value: JSONValue) {
        switch value {
        case .null: null()
        case .bool(let value): bool(value)
        case .integer(let value): integer(value)
        case .unsigned(let value): integer(value)
        case .number(let value): token("\(value)")
        case .string(let value): string(value)
        case .array(let values): array { writer in for value in values { writer.value(value) } }
        case .object(let members): object { $0.members(members) }
        }
    }

    /// Members of an object, by name.
    public mutating func members(_ members: [String: JSONValue]) {
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            self.name(name)
            self.value(value)
        }
    }

    private static let digits = Array("0123456789abcdef".utf8)

    private mutating func enclosed(_ open: Character, _ close: Character, _ body: (inout JSONWriter) -> Void) {
        separate()
        bytes.append(open.asciiValue!)
        needsComma = false
        body(&self)
        bytes.append(close.asciiValue!)
        needsComma = true
    }

    private mutating func token(_ text: String) {
        separate()
        bytes += text.utf8
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }
}

extension IPAMBlock: JSONWriter.Writable {
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.name("cidr")
            writer.string(cidr.description)
            writer.name("affinity")
            if let affinity { writer.string(affinity) } else { writer.null() }
            if let affinityClaimTime {
                writer.name("affinity_claim_time")
                writer.string(affinityClaimTime)
            }
            writer.name("allocations")
            writer.array { writer in
                for index in allocations { if let index { writer.integer(index) } else { writer.null() } }
            }
            writer.name("unallocated")
            writer.array { writer in for ordinal in unallocated { writer.integer(ordinal) } }
            writer.name("attributes")
            writer.array { writer in for owner in attributes { owner.write(to: &writer) } }
            writeSequence(to: &writer)
            writer.name("deleted")
            writer.bool(false)
            if !lastContainers.isEmpty {
                writer.name(CodingKeys.lastContainers.rawValue)
                writer.object { $0.members(lastContainers.texts.mapValues { .string($0) }) }
            }
            writer.members(unknown)
        }
    }

    private func writeSequence(to writer: inout JSONWriter) {
        writer.name("sequenceNumber")
        writer.integer(sequenceNumber)
        writer.name("sequenceNumberForAllocation")
        writer.object { writer in
            for (ordinal, number) in sequenceNumberForAllocation.sorted(by: { $0.key < $1.key }) {
                writer.name(ordinal.description)
                writer.integer(number)
            }
        }
    }
}

extension IPAMHandle: JSONWriter.Writable {
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.name(CodingKeys.blocks.rawValue)
            writer.object { writer in
                for (block, count) in blocks.sorted(by: { $0.key < $1.key }) {
                    writer.name(block)
                    writer.integer(count)
                }
            }
            writer.name(CodingKeys.deleted.rawValue)
            writer.bool(false)
            writer.members(unknown)
        }
    }
}

extension AllocationAttributes: JSONWriter.Writable {
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            if let handleID {
                writer.name("handle_id")
                writer.string(handleID)
            }
            if !secondary.isEmpty {
                writer.name("secondary")
                writer.object { $0.members(secondary.mapValues { .string($0) }) }
            }
            if let releasedAt {
                writer.name("releasedAt")
                writer.string(releasedAt)
            }
            writer.members(unknown)
        }
    }
}
