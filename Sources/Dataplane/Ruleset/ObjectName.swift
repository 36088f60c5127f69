// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import LinuxNetwork

/// Names of chains and sets made from outside text.
enum ObjectName {
    /// Bytes up to which text stands in the name as it is; kernels before 4.14 allow 128 in all.
    private static let readableLength = 64

    /// `prefix-text` where nft can read that, else `prefix_hash`.
    static func readable(_ prefix: String, _ text: String) -> String {
        let name = "\(prefix)-\(text)"
        return text.utf8.count <= readableLength && NftIdentifier(name) != nil ? name : "\(prefix)_\(hash(text))"
    }

    /// FNV-1a, 64 bits, 16 hex digits: names that stay the same from run to run, with no need to resist attack.
    static func hash(_ text: String) -> String {
        let value = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
