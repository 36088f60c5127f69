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
        // By bytes: every request of an engine brings one.
        let text = Array(text.utf8)
        guard text.count == 17, text[2] == UInt8(ascii: ":") || text[2] == UInt8(ascii: "-") else { return nil }
        var bytes: [UInt8] = []
        for start in stride(from: 0, to: text.count, by: 3) {
            guard let high = text[start].hexDigitValue, let low = text[start + 1].hexDigitValue,
                start == 15 || text[start + 2] == text[2]
            else { return nil }
            bytes.append(high << 4 | low)
        }
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

extension UInt8 {
    /// Of an ASCII character.
    fileprivate var hexDigitValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
