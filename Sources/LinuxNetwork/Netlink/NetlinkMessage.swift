// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// One message as the kernel sent it: header fields and everything behind the header.
struct NetlinkMessage {
    let type: UInt16
    let flags: UInt16
    let sequence: UInt32
    let payload: ArraySlice<UInt8>

    /// The messages of one datagram, in order.
    /// - Throws: ``NetlinkError/malformed(_:)`` if a length does not fit.
    static func all(in datagram: [UInt8]) throws -> [NetlinkMessage] {
        var messages: [NetlinkMessage] = []
        var rest = datagram[...]
        while !rest.isEmpty {
            guard let length = rest.number(UInt32.self, at: 0).map({ Int($0) }), length >= Netlink.headerLength,
                length <= rest.count
            else {
                throw NetlinkError.malformed("a message length does not fit its datagram of \(datagram.count) bytes")
            }
            messages.append(NetlinkMessage(rest.prefix(length)))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return messages
    }

    /// - Precondition: `bytes` holds a whole header.
    private init(_ bytes: ArraySlice<UInt8>) {
        type = bytes.number(UInt16.self, at: 4)!
        flags = bytes.number(UInt16.self, at: 6)!
        sequence = bytes.number(UInt32.self, at: 8)!
        payload = bytes.dropFirst(Netlink.headerLength)
    }

    /// The attributes behind a fixed struct of `offset` bytes.
    func attributes(after offset: Int) -> NetlinkAttributes {
        NetlinkAttributes(payload.dropFirst((offset + 3) & ~3))
    }
}

/// The attributes of a message or of a nest. Of a repeated type the last one counts, as in the kernel's `nla_parse`.
///
/// Each question walks the bytes: a link has dozens of attributes, of which a handful matters.
struct NetlinkAttributes {
    private let all: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        all = bytes
    }

    /// The value of the attribute. Ends quietly at the first length that does not fit, as `nla_for_each_attr` does.
    func bytes(_ type: UInt16) -> ArraySlice<UInt8>? {
        var value: ArraySlice<UInt8>?
        var rest = all
        while let length = rest.number(UInt16.self, at: 0).map({ Int($0) }),
            let found = rest.number(UInt16.self, at: 2), length >= 4, length <= rest.count
        {
            if found & Netlink.attributeTypeMask == type { value = rest.prefix(length).dropFirst(4) }
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return value
    }

    /// In host byte order.
    func number<N: FixedWidthInteger>(_ type: UInt16, as: N.Type = N.self) -> N? { bytes(type)?.number(N.self, at: 0) }

    /// Up to the first zero byte.
    func text(_ type: UInt16) -> String? {
        bytes(type).map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    func nested(_ type: UInt16) -> NetlinkAttributes? { bytes(type).map { NetlinkAttributes($0) } }
}

extension ArraySlice<UInt8> {
    /// The number in host byte order `offset` bytes behind the slice's start; `nil` past its end.
    func number<N: FixedWidthInteger>(_: N.Type, at offset: Int) -> N? {
        guard offset >= 0, count - offset >= MemoryLayout<N>.size else { return nil }
        return withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: N.self) }
    }
}
