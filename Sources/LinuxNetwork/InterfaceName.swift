// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// A name fit for one interface: given to the kernel, put in `/proc/sys` paths and between quotes in nft commands.
///
/// Stricter than the kernel's own rule (`dev_valid_name`, net/core/dev.c): printable ASCII only, and nothing that is a
/// pattern to the kernel (`%`) or a wildcard, quote or escape to nft.
public struct InterfaceName: Hashable, Sendable, CustomStringConvertible {
    /// Bytes, IFNAMSIZ - 1, `<linux/if.h>`.
    public static let maximumLength = 15

    /// 1...15 bytes.
    public let text: String

    /// `nil` for an empty name, one over 15 bytes, `.`, `..`, `all` and `default` (the kernel keeps these for its
    /// settings), and for any white space, control or non-ASCII byte or one of `/ : % * " \`.
    public init?(_ text: some StringProtocol) {
        guard (1...Self.maximumLength).contains(text.utf8.count),
            ![".", "..", "all", "default"].contains(String(text)),
            text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && !Self.refused.contains($0) })
        else { return nil }
        self.text = String(text)
    }

    public var description: String { text }

    private static let refused = Array("/:%*\"\\".utf8)
}
