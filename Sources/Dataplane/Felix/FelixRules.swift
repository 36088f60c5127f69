// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import FoundationEssentials
import LinuxNetwork

/// What Felix's rules in this host's kernel tell: for which interfaces it has any.
///
/// Felix gives each endpoint a chain `cali-tw-INTERFACE`, and hooks its chains to FORWARD by `cali-FORWARD` (Felix
/// `rules/rule_defs.go`); in its own nftables tables the names begin with that of iptables' table, `filter-`.
public struct FelixRules: Sendable {
    /// Names of chains, without `filter-`.
    private let chains: [IPAddress.Family: Set<String>]

    /// Reads the kernel: iptables over nftables, nftables, and iptables of old where that is in use.
    public init(namespace: NetworkNamespace = .own) throws {
        chains = try namespace.run {
            var chains = try Self.nftChains()
            for family in IPAddress.Family.allCases {
                chains[family, default: []].formUnion(try Self.legacyChains(family))
            }
            return chains
        }
    }

    init(chains: [IPAddress.Family: Set<String>]) { self.chains = chains }

    /// Felix is here, or left its rules when it went.
    public var areThere: Bool { !families.isEmpty }

    /// Those that Felix has any rules of; without IPv6 where it was told so.
    private var families: [IPAddress.Family] {
        IPAddress.Family.allCases.filter { chains[$0]?.contains("cali-FORWARD") == true }
    }

    /// Those that lack, in some family, rules of Felix for packets to them.
    func interfacesWithout(_ names: some Sequence<InterfaceName>) -> [InterfaceName] {
        names.filter { name in families.contains { chains[$0]?.contains("cali-tw-\(name)") != true } }
    }

    private static func nftChains() throws -> [IPAddress.Family: Set<String>] {
        let listing = Data(try Nftables().query("list chains", elements: false).utf8)
        let objects = try JSONDecoder().decode(JSONValue.self, from: listing)["nftables"]?.array ?? []
        let families: [String: IPAddress.Family] = ["ip": .v4, "ip6": .v6]
        return objects.compactMap { $0["chain"] }.reduce(into: [:]) { chains, chain in
            guard let family = chain["family"]?.string.flatMap({ families[$0] }), let name = chain["name"]?.string
            else { return }
            chains[family, default: []].insert(name.hasPrefix("filter-") ? String(name.dropFirst(7)) : name)
        }
    }

    private static func legacyChains(_ family: IPAddress.Family) throws -> [String] {
        guard let program = LegacyTables.program(family) else { return [] }
        let lines = try program.output(of: LegacyTables.waiting + ["-S"]).split(separator: "\n")
        return lines.filter { $0.hasPrefix("-N ") }.map { String($0.dropFirst(3)) }
    }
}
