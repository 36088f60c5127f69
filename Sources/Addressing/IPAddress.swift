// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// An IPv4 or IPv6 address.
///
/// Text follows RFC 5952 as Go prints it (the form Calico's keys use): lower case, the longest run of two or more
/// zero groups compressed, never a dotted-quad tail.
public struct IPAddress: Hashable, Sendable {
    /// The address family, with its width.
    public enum Family: String, Sendable, Hashable, CaseIterable, Codable {
        case v4, v6

        /// Address width in bits: 32 or 128.
        public var bits: Int { self == .v4 ? 32 : 128 }
        /// The word Calico's keys and Docker's users use: `ipv4` or `ipv6`.
        public var name: String { self == .v4 ? "ipv4" : "ipv6" }
        /// The number people write: 4 or 6.
        public var number: Int { self == .v4 ? 4 : 6 }
        /// All address bits set.
        public var allOnes: UInt128 { self == .v4 ? UInt128(UInt32.max) : UInt128.max }
    }

    public let family: Family
    /// The address as a number, in the low `family.bits` bits.
    public let value: UInt128

    /// - Precondition: `value` fits the family.
    public init(family: Family, value: UInt128) {
        precondition(value <= family.allOnes, "address value exceeds \(family.name)")
        self.family = family
        self.value = value
    }

    /// Network byte order: 4 or 16 bytes; `nil` for any other count.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.init(family: bytes.count == 4 ? .v4 : .v6, value: bytes.reduce(0) { $0 << 8 | UInt128($1) })
    }

    /// Parses a bare address; no prefix length, no zone, no leading zeros in IPv4 parts (as Go).
    ///
    /// An IPv4-mapped address (`::ffff:10.0.0.1`) becomes the IPv4 address it stands for, as in Go's `net.IP`, so that
    /// one address never has two keys.
    public init?(_ text: some StringProtocol) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let value = IPAddress.parseV6(text) else { return nil }
            let isMapped = value >> 32 == 0xffff
            self.init(family: isMapped ? .v4 : .v6, value: isMapped ? value & 0xffff_ffff : value)
        } else {
            guard let value = IPAddress.parseV4(text) else { return nil }
            self.init(family: .v4, value: UInt128(value))
        }
    }

    /// Network byte order.
    public var bytes: [UInt8] {
        (0..<family.bits / 8).reversed().map { UInt8(truncatingIfNeeded: value >> UInt128($0 * 8)) }
    }

    /// 0.0.0.0 or ::
    public var isUnspecified: Bool { value == 0 }
    /// 169.254.0.0/16 or fe80::/10
    public var isLinkLocal: Bool {
        family == .v4 ? value >> 16 == 0xa9fe : value >> 118 == 0xfe80 >> 6
    }
    /// 127.0.0.0/8 or ::1
    public var isLoopback: Bool { family == .v4 ? value >> 24 == 127 : value == 1 }

    /// This address moved by `offset`; `nil` past the end of the family.
    public func advanced(by offset: UInt128) -> IPAddress? {
        let (sum, overflow) = value.addingReportingOverflow(offset)
        return overflow || sum > family.allOnes ? nil : IPAddress(family: family, value: sum)
    }
}

extension IPAddress: Comparable {
    /// IPv4 before IPv6, then by number.
    public static func < (a: IPAddress, b: IPAddress) -> Bool {
        a.family == b.family ? a.value < b.value : a.family == .v4
    }
}

extension IPAddress: CustomStringConvertible {
    public var description: String {
        family == .v4 ? IPAddress.printV4(UInt32(value)) : IPAddress.printV6(value)
    }
}

extension IPAddress: Codable {
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let parsed = IPAddress(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is not an IP address"))
        }
        self = parsed
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

// MARK: - Text

extension IPAddress {
    private static func parseV4(_ text: some StringProtocol) -> UInt32? {
        var value: UInt32 = 0
        var dots = 0
        var part: UInt32?  // `nil` before its first digit
        for byte in text.utf8 {
            switch (byte, part) {
            case (UInt8(ascii: "."), let byte?):
                value = value << 8 | byte
                dots += 1
                part = nil
            case (48...57, nil): part = UInt32(byte - 48)
            case (48...57, let digits?) where digits > 0 && digits * 10 + UInt32(byte - 48) <= 255:
                part = digits * 10 + UInt32(byte - 48)
            default: return nil
            }
        }
        return part.flatMap { dots == 3 ? value << 8 | $0 : nil }
    }

    private static func printV4(_ value: UInt32) -> String {
        "\(value >> 24).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)"
    }

    private static func parseV6(_ text: some StringProtocol) -> UInt128? {
        let halves = text.components(separatedByDoubleColon: ())
        guard halves.count <= 2, let head = groups(halves[0], mayEndInQuad: halves.count == 1) else { return nil }
        guard halves.count == 2 else { return head.count == 8 ? join(head) : nil }
        guard let tail = groups(halves[1], mayEndInQuad: true), head.count + tail.count <= 7 else { return nil }
        return join(head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail)
    }

    /// The 16-bit groups of one side of `::`; at the end of the whole address a dotted quad may stand.
    private static func groups(_ text: String, mayEndInQuad: Bool) -> [UInt16]? {
        guard !text.isEmpty else { return [] }
        var result: [UInt16] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if mayEndInQuad, part.contains("."), index == parts.count - 1, let quad = parseV4(part) {
                result += [UInt16(quad >> 16), UInt16(quad & 0xffff)]
            } else {
                guard (1...4).contains(part.utf8.count), part.first != "+", part.first != "-",
                    let group = UInt16(part, radix: 16)
                else { return nil }
                result.append(group)
            }
        }
        return result
    }

    private static func join(_ groups: [UInt16]) -> UInt128 { groups.reduce(0) { $0 << 16 | UInt128($1) } }

    private static func printV6(_ value: UInt128) -> String {
        let groups = (0..<8).map { UInt16(truncatingIfNeeded: value >> UInt128((7 - $0) * 16)) }
        let text = { (range: Range<Int>) in groups[range].map { String($0, radix: 16) }.joined(separator: ":") }
        guard let run = longestZeroRun(groups) else { return text(0..<8) }
        return text(0..<run.lowerBound) + "::" + text(run.upperBound..<8)
    }

    private static func longestZeroRun(_ groups: [UInt16]) -> Range<Int>? {
        var best: Range<Int>?
        var start = 0
        for index in 0...groups.count where index == groups.count || groups[index] != 0 {
            if index - start >= 2, index - start > best?.count ?? 0 { best = start..<index }
            start = index + 1
        }
        return best
    }
}

extension StringProtocol {
    /// Splits at every `::`; three or more parts mean the text is no IPv6 address.
    fileprivate func components(separatedByDoubleColon: Void) -> [String] {
        var parts: [String] = []
        var current = ""
        var index = startIndex
        while index < endIndex {
            let next = self.index(after: index)
            if self[index] == ":", next < endIndex, self[next] == ":" {
                parts.append(current)
                current = ""
                index = self.index(after: next)
            } else {
                current.append(self[index])
                index = next
            }
        }
        return parts + [current]
    }
}
