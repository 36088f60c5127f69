// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

/// Builds the part of a netlink message behind its header: a fixed struct, then attributes.
///
/// Numbers go in host byte order, as netlink wants; attributes are padded to 4 bytes (NLA_ALIGNTO).
struct MessageBody {
    private(set) var bytes: [UInt8] = []

    mutating func put(_ number: some FixedWidthInteger) {
        withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) }
    }

    mutating func attribute(_ type: UInt16, _ payload: some Collection<UInt8>) {
        put(UInt16(4 + payload.count))
        put(type)
        bytes.append(contentsOf: payload)
        pad()
    }

    mutating func attribute(_ type: UInt16, number: some FixedWidthInteger) {
        withUnsafeBytes(of: number) { attribute(type, Array($0)) }
    }

    /// With the terminating zero the kernel's NLA_NUL_STRING policies ask for.
    mutating func attribute(_ type: UInt16, text: String) {
        attribute(type, Array(text.utf8) + [0])
    }

    mutating func nested(_ type: UInt16, _ fill: (inout MessageBody) -> Void) {
        let start = bytes.count
        put(UInt16(0))
        put(type)
        fill(&self)
        let length = UInt16(bytes.count - start)
        withUnsafeBytes(of: length) { bytes.replaceSubrange(start..<start + 2, with: $0) }
    }

    private mutating func pad() {
        while bytes.count % 4 != 0 { bytes.append(0) }
    }
}

extension IPAddress.Family {
    /// AF_INET or AF_INET6.
    var number8: UInt8 { self == .v4 ? 2 : 10 }

    init?(number8: UInt8) {
        switch number8 {
        case 2: self = .v4
        case 10: self = .v6
        default: return nil
        }
    }
}
