// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// A 48-bit Ethernet address.
public struct MACAddress: Hashable, Sendable {
    /// Six bytes, transmission order.
    public let bytes: [UInt8]

    /// `nil` unless there are six bytes.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 6 else { return nil }
        self.bytes = Array(bytes)
    }

    /// Parses `aa:bb:cc:dd:ee:ff` and `aa-bb-cc-dd-ee-ff`, either case.
    public init?(_ text: some StringProtocol) {
        let separator: Character = text.contains("-") ? "-" : ":"
        let parts = text.split(separator: separator, omittingEmptySubsequences: false)
        guard parts.count == 6, parts.allSatisfy({ $0.utf8.count == 2 && $0.allSatisfy(\.isHexDigit) }) else {
            return nil
        }
        let bytes = parts.compactMap { UInt8($0, radix: 16) }
        guard bytes.count == 6 else { return nil }
        self.bytes = bytes
    }

    /// A random unicast, locally administered address (IEEE 802: second-lowest bit of the first byte set).
    public static func random() -> MACAddress {
        var bytes = (0..<6).map { _ in UInt8.random(in: .min ... .max) }
        bytes[0] = bytes[0] & 0xfc | 0x02
        return MACAddress(bytes: bytes)!
    }

    /// Neither multicast nor all zero: fit for an interface.
    public var isUsable: Bool { bytes[0] & 1 == 0 && bytes.contains { $0 != 0 } }
}

extension MACAddress: CustomStringConvertible {
    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
