// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import IPAM

/// What IPAM calls a pool towards Docker, which stores it and sends it back with every request for an address.
///
/// `CalicoPoolIPv4` and `CalicoPoolIPv6` (any pool; the names are the Go plugin's), a Calico pool's name, or
/// `NAME@SUBNET`, each with `#RANGE` for `--ip-range`, or `NAME,NAME…` for several pools.
struct PoolID: Hashable, CustomStringConvertible {
    let family: IPAddress.Family?
    let scope: AddressScope

    static func any(_ family: IPAddress.Family) -> PoolID { PoolID(family: family, scope: .anyPool) }

    init(family: IPAddress.Family?, scope: AddressScope) {
        self.family = family
        self.scope = scope
    }

    /// `nil` where the text is none of ours.
    init?(_ text: String) {
        switch text {
        case "": return nil
        case "CalicoPoolIPv4": self = .any(.v4)
        case "CalicoPoolIPv6": self = .any(.v6)
        case _ where text.contains(","):
            let names = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            guard names.allSatisfy({ !$0.isEmpty && !$0.contains("@") && !$0.contains("#") }) else { return nil }
            self.init(family: nil, scope: .pools(names))
        default:
            let (rest, range) = PoolID.cut(text, at: "#")
            let (name, subnet) = PoolID.cut(rest, at: "@")
            let networks = [range, subnet].compactMap(\.self).map { CIDR($0) }
            guard !name.isEmpty, networks.allSatisfy({ $0 != nil }) else { return nil }
            self.init(
                family: nil,
                scope: .pool(name: name, subnet: subnet.flatMap { CIDR($0) }, range: range.flatMap { CIDR($0) }))
        }
    }

    var description: String {
        switch scope {
        case .anyPool: family == .v6 ? "CalicoPoolIPv6" : "CalicoPoolIPv4"
        case .pools(let names): names.joined(separator: ",")
        case .pool(let name, let subnet, let range):
            name + (subnet.map { "@\($0)" } ?? "") + (range.map { "#\($0)" } ?? "")
        }
    }

    /// The Calico pools that it names; none for any pool.
    var poolNames: [String] {
        switch scope {
        case .anyPool: []
        case .pool(let name, _, _): [name]
        case .pools(let names): names
        }
    }

    private static func cut(_ text: String, at mark: Character) -> (String, String?) {
        let parts = text.split(separator: mark, maxSplits: 1, omittingEmptySubsequences: false)
        return (String(parts[0]), parts.count == 2 ? String(parts[1]) : nil)
    }
}
