// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// A port in a rule.
public enum PortMatch: Hashable, Sendable {
    case number(UInt16)
    case range(ClosedRange<UInt16>)
    /// The number each endpoint gives this name.
    case named(String)

    /// `80`, `1000:2000` or a name of 1...128 letters, digits, `_`, `.` and `-`.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        if let number = UInt16(text), text.utf8.allSatisfy(isDigit) {
            self = .number(number)
        } else if parts.count == 2, parts.joined().utf8.allSatisfy(isDigit), let low = UInt16(parts[0]),
            let high = UInt16(parts[1]), low <= high
        {
            self = low == high ? .number(low) : .range(low...high)
        } else if parts.count == 1, (1...128).contains(text.utf8.count), !text.utf8.allSatisfy(isDigit),
            text.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "_.-".contains($0)) })
        {
            self = .named(text)
        } else {
            return nil
        }
    }
}

extension PortMatch: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(UInt16.self) {
            self = .number(number)
            return
        }
        guard let text = try? container.decode(String.self), let port = PortMatch(text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "a port is a number up to 65535, a range such as 80:90, or a name")
        }
        self = port
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .number(let number): try container.encode(number)
        case .range(let range): try container.encode("\(range.lowerBound):\(range.upperBound)")
        case .named(let name): try container.encode(name)
        }
    }
}

/// An IP protocol in a rule.
public enum ProtocolMatch: Hashable, Sendable {
    case name(String)
    case number(UInt8)

    public static let tcp = ProtocolMatch.name("TCP")
    public static let udp = ProtocolMatch.name("UDP")
    public static let icmp = ProtocolMatch.name("ICMP")
    public static let icmpv6 = ProtocolMatch.name("ICMPv6")
    public static let sctp = ProtocolMatch.name("SCTP")
    public static let udpLite = ProtocolMatch.name("UDPLite")

    /// A name or a number in text.
    public init(_ text: String) { self = UInt8(text).map(ProtocolMatch.number) ?? .name(text) }

    /// As in IP headers (IANA's registry); `nil` for a name that is none of Calico's.
    public var number: UInt8? {
        switch self {
        case .number(let number): number
        case .name(let name): Self.numbers[name.lowercased()]
        }
    }

    /// Ports mean something in it.
    public var hasPorts: Bool { number.map { [6, 17, 132].contains($0) } ?? false }

    private static let numbers: [String: UInt8] = [
        "tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "sctp": 132, "udplite": 136,
    ]
}

extension ProtocolMatch: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(UInt8.self) {
            self = .number(number)
        } else {
            self.init(try container.decode(String.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .name(let name): try container.encode(name)
        case .number(let number): try container.encode(number)
        }
    }
}

private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
