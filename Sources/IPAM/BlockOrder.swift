// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel

/// The order in which a host looks through a pool's blocks: from a start that its name decides, upwards, around.
///
/// Hosts so begin far apart and seldom race, and processes of one host meet at the same block. Calico's Go clients use
/// another start (Go's random source); nothing depends on it (libcalico-go `lib/ipam/ipam_block_reader_writer.go`).
struct BlockOrder: Sequence {
    private let pool: CIDR
    private let prefixLength: Int
    private let count: UInt128
    private let start: UInt128
    /// The block after the wholly reserved stretch that holds the given one; `nil` where it is not reserved.
    private let skip: (CIDR) -> IPAddress?

    /// - Parameter skip: for a block nobody may use, the last address of the stretch to jump over.
    init(
        pool: CIDR, blockPrefixLength: Int, host: String, skipping skip: @escaping (CIDR) -> IPAddress? = { _ in nil }
    ) {
        self.pool = pool
        prefixLength = blockPrefixLength
        // 127: only ::/0 in blocks of one address would have more, and nobody walks that far.
        count = UInt128(1) << UInt128(Swift.min(Swift.max(0, blockPrefixLength - pool.prefixLength), 127))
        start = UInt128(FNV.hash32(host)) % count
        self.skip = skip
    }

    func makeIterator() -> AnyIterator<CIDR> {
        var step: UInt128 = 0
        return AnyIterator {
            while step < count {
                let index = (start + step) % count
                let block = self.block(at: index)
                guard let end = skip(block) else {
                    step += 1
                    return block
                }
                let last = (Swift.min(end.value, pool.last.value) - pool.address.value) >> hostBits
                step += Swift.max(last, index) - index + 1
            }
            return nil
        }
    }

    /// Where the walk begins, reserved or not.
    var first: CIDR { block(at: start) }

    private var hostBits: UInt128 { UInt128(pool.family.bits - prefixLength) }

    private func block(at index: UInt128) -> CIDR {
        let base = IPAddress(family: pool.family, value: pool.address.value + index << hostBits)
        return CIDR(base, prefixLength: prefixLength)!
    }
}

/// The Fowler-Noll-Vo hash, version 1 (multiply, then xor), as Calico seeds its block order.
enum FNV {
    static func hash32(_ text: String) -> UInt32 {
        text.utf8.reduce(2_166_136_261) { ($0 &* 16_777_619) ^ UInt32($1) }
    }
}
