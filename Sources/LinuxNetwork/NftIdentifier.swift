// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// A name of a table, chain, set or map, safe to put in an nft command: it can end no word and begin no other.
///
/// A reserved word of the language is still refused by libnftables, so names made from outside text get a prefix.
public struct NftIdentifier: Hashable, Sendable, CustomStringConvertible {
    /// Bytes: NFT_NAME_MAXLEN of `<linux/netfilter/nf_tables.h>` less the terminating zero; for sets and chains alike.
    public static let maximumLength = 255

    public let text: String

    /// `nil` unless the text is a letter and then only letters, digits and `_ . / -`, all ASCII, 255 bytes at most.
    public init?(_ text: some StringProtocol) {
        guard let first = text.utf8.first, Self.isLetter(first), text.utf8.count <= Self.maximumLength,
            text.utf8.allSatisfy({ Self.isLetter($0) || (48...57).contains($0) || Self.marks.contains($0) })
        else { return nil }
        self.text = String(text)
    }

    public var description: String { text }

    private static let marks = Array("_./-".utf8)

    private static func isLetter(_ byte: UInt8) -> Bool {
        (65...90).contains(byte) || (97...122).contains(byte)
    }
}

/// Quoted text for nft commands, e.g. a rule's comment.
public enum NftText {
    /// Bytes: NFTNL_UDATA_COMMENT_MAXLEN of libnftnl.
    public static let maximumCommentLength = 128

    /// `"text"`; `nil` where nft's quotes cannot hold it: quotes, control characters, over 128 bytes. (The language has
    /// no escapes.)
    public static func quoted(_ text: String) -> String? {
        guard text.utf8.count <= maximumCommentLength, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x22 && $0 != 0x7f })
        else { return nil }
        return "\"\(text)\""
    }

    /// An interface name in quotes. ``InterfaceName`` has refused what quotes cannot hold.
    public static func quoted(_ name: InterfaceName) -> String { "\"\(name)\"" }
}
