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
    private let chains: Set<String>

    /// Reads the kernel: iptables over nftables, nftables, and iptables of old where that is in use.
    public init(namespace: NetworkNamespace = .own) throws {
        chains = try namespace.run { try Self.nftChains().union(Self.legacyChains()) }
    }

    init(chains: Set<String>) { self.chains = chains }

    /// Felix is here, or left its rules when it went.
    public var areThere: Bool { chains.contains("cali-FORWARD") }

    /// Those without rules of Felix for packets to them.
    func interfacesWithout(_ names: some Sequence<InterfaceName>) -> [InterfaceName] {
        names.filter { !chains.contains("cali-tw-\($0)") }
    }

    private static func nftChains() throws -> Set<String> {
        let listing = Data(try Nftables().query("list chains", elements: false).utf8)
        let objects = try JSONDecoder().decode(JSONValue.self, from: listing)["nftables"]?.array ?? []
        return names(objects.compactMap { $0["chain"]?["name"]?.string })
    }

    private static func legacyChains() throws -> Set<String> {
        guard LegacyTables.areInUse(.v4), let program = HostCommand("iptables-legacy") else { return [] }
        let lines = try program.run(["-w", "2", "-S"]).output.split(separator: "\n")
        return names(lines.filter { $0.hasPrefix("-N ") }.map { String($0.dropFirst(3)) })
    }

    private static func names(_ chains: [String]) -> Set<String> {
        Set(chains.map { $0.hasPrefix("filter-") ? String($0.dropFirst("filter-".count)) : $0 })
    }
}
