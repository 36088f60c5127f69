// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// A network: a masked address and a prefix length. Host bits are always zero.
public struct CIDR: Hashable, Sendable {
    public let address: IPAddress
    /// 0...32 or 0...128.
    public let prefixLength: Int

    /// Masks `address`; `nil` if the prefix length is out of range.
    public init?(_ address: IPAddress, prefixLength: Int) {
        guard (0...address.family.bits).contains(prefixLength) else { return nil }
        self.address = IPAddress(
            family: address.family, value: address.value & CIDR.mask(address.family, prefixLength))
        self.prefixLength = prefixLength
    }

    /// The network that holds just `address`: /32 or /128.
    public init(host address: IPAddress) {
        self.address = address
        prefixLength = address.family.bits
    }

    /// Parses `address/length`, masking host bits. A bare address is not a CIDR; see ``init(lenient:)``.
    public init?(_ text: some StringProtocol) {
        guard let parsed = AddressWithPrefix(text) else { return nil }
        self = parsed.network
    }

    /// As ``init(_:)``, and a bare address becomes its /32 or /128.
    public init?(lenient text: some StringProtocol) {
        if let host = IPAddress(text) {
            self.init(host: host)
        } else {
            self.init(text)
        }
    }

    public var family: IPAddress.Family { address.family }
    /// Number of host bits.
    public var hostBits: Int { family.bits - prefixLength }
    public var isSingleAddress: Bool { hostBits == 0 }

    /// The last address of the network.
    public var last: IPAddress {
        IPAddress(family: family, value: address.value | (family.allOnes ^ CIDR.mask(family, prefixLength)))
    }

    public func contains(_ other: IPAddress) -> Bool {
        other.family == family && other.value & CIDR.mask(family, prefixLength) == address.value
    }

    public func contains(_ other: CIDR) -> Bool {
        other.prefixLength >= prefixLength && contains(other.address)
    }

    public func overlaps(_ other: CIDR) -> Bool { contains(other) || other.contains(self) }

    /// The network of `prefixLength` bits that holds `address`, e.g. an address's IPAM block.
    public static func containing(_ address: IPAddress, prefixLength: Int) -> CIDR? {
        CIDR(address, prefixLength: prefixLength)
    }

    /// Bits of `prefixLength` ones followed by zeros, within the family's width.
    static func mask(_ family: IPAddress.Family, _ prefixLength: Int) -> UInt128 {
        let hostBits = family.bits - prefixLength
        return hostBits >= 128 ? 0 : (family.allOnes >> UInt128(hostBits)) << UInt128(hostBits)
    }
}

extension CIDR: Comparable {
    /// By address, then the wider network first.
    public static func < (a: CIDR, b: CIDR) -> Bool {
        a.address == b.address ? a.prefixLength < b.prefixLength : a.address < b.address
    }
}

extension CIDR: CustomStringConvertible {
    public var description: String { "\(address)/\(prefixLength)" }
}

extension CIDR: Codable {
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let parsed = CIDR(lenient: text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is not a CIDR"))
        }
        self = parsed
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// An address together with the length of its network's prefix, host bits kept: `10.0.0.9/16`.
public struct AddressWithPrefix: Hashable, Sendable, CustomStringConvertible {
    public let address: IPAddress
    public let prefixLength: Int

    /// - Parameter separator: between the two, in ASCII; Calico's keys have `-`.
    public init?(_ text: some StringProtocol, separator: Unicode.Scalar = "/") {
        guard let mark = text.utf8.firstIndex(of: UInt8(ascii: separator)), let address = IPAddress(text[..<mark])
        else { return nil }
        let digits = text[text.utf8.index(after: mark)...]
        guard (1...3).contains(digits.utf8.count), digits.utf8.allSatisfy({ (48...57).contains($0) }),
            let length = Int(digits), length <= address.family.bits
        else { return nil }
        self.address = address
        prefixLength = length
    }

    /// The network the address lies in.
    public var network: CIDR { CIDR(address, prefixLength: prefixLength)! }
    public var description: String { "\(address)/\(prefixLength)" }
}

extension IPAddress {
    /// A bare address, or one together with its network's prefix length, which is dropped.
    public init?(lenient text: some StringProtocol) {
        guard let address = IPAddress(text) ?? AddressWithPrefix(text)?.address else { return nil }
        self = address
    }
}
