// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

extension Sequence<CIDR> {
    /// In order, without those that lie inside another one: interval sets refuse overlaps.
    var withoutOverlaps: [CIDR] {
        sorted().reduce(into: []) { kept, network in
            if let last = kept.last, last.contains(network) { return }
            kept.append(network)
        }
    }
}

extension CIDR {
    /// As an element of a set: a single address without its length.
    var element: String { isSingleAddress ? address.description : description }
}
