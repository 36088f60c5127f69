// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import IPAM
import Logging

/// The first pools, as calico/node makes them: one of each family, where none exists.
struct DefaultPools {
    struct Settings {
        struct Family {
            /// `nil`: chosen; `.some(nil)`: none wanted.
            let cidr: CIDR??
            let blockSize: Int
            let natOutgoing: Bool
            let vxlan: IPPoolSpec.Encapsulation
            let nodeSelector: String
        }

        let areWanted: Bool
        let families: [IPAddress.Family: Family]

        init(_ reader: inout SettingReader) throws {
            areWanted = try !reader.flag("NO_DEFAULT_POOLS", default: false)
            families = [.v4: try Self.family(.v4, &reader), .v6: try Self.family(.v6, &reader)]
        }

        private static func family(_ family: IPAddress.Family, _ reader: inout SettingReader) throws -> Family {
            let prefix = family == .v4 ? "CALICO_IPV4POOL_" : "CALICO_IPV6POOL_"
            let sizes = IPPoolSpec.blockSizes(family)
            let setting = Family(
                cidr: try reader.parsed(
                    prefix + "CIDR", default: "", { range($0, family) }, wants: "an \(family.name) CIDR, or none"),
                blockSize: try reader.parsed(
                    prefix + "BLOCK_SIZE", default: String(IPPoolSpec.defaultBlockSize(family)),
                    { Int($0).flatMap { sizes.contains($0) ? $0 : nil } },
                    wants: "a prefix length in \(sizes.lowerBound)...\(sizes.upperBound)"),
                natOutgoing: try reader.flag(prefix + "NAT_OUTGOING", default: family == .v4),
                vxlan: try reader.parsed(
                    prefix + "VXLAN", default: "Never", IPPoolSpec.Encapsulation.init(word:),
                    wants: "Never, Always or CrossSubnet"),
                nodeSelector: reader.text(prefix + "NODE_SELECTOR", default: "all()"))
            try check(setting, family, prefix, reader)
            return setting
        }

        /// `nil` for what is no range: the outermost optional.
        private static func range(_ text: String, _ family: IPAddress.Family) -> CIDR??? {
            if text.isEmpty { return .some(.none) }
            if text.lowercased() == "none" { return .some(.some(.none)) }
            return CIDR(text).flatMap { $0.family == family ? .some(.some(.some($0))) : nil }
        }

        /// What IPAM would refuse later is refused at the start, by the name of the setting.
        private static func check(
            _ setting: Family, _ family: IPAddress.Family, _ prefix: String, _ reader: SettingReader
        ) throws {
            let given = reader.find(prefix + "CIDR")
            if let given, let range = AddressWithPrefix(given.text), range.address != range.network.address {
                throw given.problem("has host bits; do you mean \(range.network)?")
            }
            // Where a range is still to be chosen it is wide enough: any will do to check the rest.
            let anyRange = CIDR(family == .v4 ? "192.168.0.0/16" : "fd00::/48")!
            do throws(CalicoModel.ValidationError) {
                try setting.pool(setting.cidr.flatMap(\.self) ?? anyRange, family).validate()
            } catch {
                let name = prefix + (error.field == "spec.nodeSelector" ? "NODE_SELECTOR" : "CIDR")
                let text = reader.find(name)?.problem(error.reason)
                throw text ?? Configuration.Problem(description: "\(name): \(error.reason)")
            }
        }
    }

    let settings: Settings
    /// Addresses of this host's interfaces: a pool that overlaps them would cut them off.
    let hostNetworks: [CIDR]
    let kernelHasIPv6: Bool

    /// The pools to create beside `existing`.
    func missing(beside existing: [IPPool]) -> [IPPool] {
        guard settings.areWanted else { return [] }
        return IPAddress.Family.allCases.compactMap { family in
            guard !existing.contains(where: { $0.spec.family == family }), family == .v4 || kernelHasIPv6,
                let setting = settings.families[family], let cidr = cidr(setting, family, existing)
            else { return nil }
            return setting.pool(cidr, family)
        }
    }

    private func cidr(_ setting: Settings.Family, _ family: IPAddress.Family, _ existing: [IPPool]) -> CIDR? {
        if let decided = setting.cidr { return decided }
        guard family == .v4 else { return Self.randomULA() }
        let choices = [CIDR("192.168.0.0/16")!] + (16...31).map { CIDR("172.\($0).0.0/16")! }
        return choices.first { choice in !hostNetworks.contains(where: choice.overlaps) } ?? choices[0]
    }

    /// A random unique local /48 (RFC 4193).
    private static func randomULA() -> CIDR {
        let random = UInt128(UInt64.random(in: 0..<1 << 40))
        return CIDR(IPAddress(family: .v6, value: (0xfd << 40 | random) << 80), prefixLength: 48)!
    }

    /// Creates what is missing; a pool that another process made meanwhile is fine.
    func create(in replica: Replica<ClusterState>, _ logger: Logger) async throws {
        for pool in missing(beside: replica.read { $0.poolsInOrder }) {
            try pool.validate()
            if try await replica.commit({ $0.creating(pool, isThere: $0.pools[pool.name] != nil) }) {
                logger.notice("created a pool", metadata: ["pool": "\(pool.name)", "cidr": "\(pool.spec.cidr)"])
            }
        }
    }
}

extension DefaultPools.Settings.Family {
    func pool(_ cidr: CIDR, _ family: IPAddress.Family) -> IPPool {
        var spec = IPPoolSpec(cidr: cidr)
        spec.blockSize = blockSize
        spec.natOutgoing = natOutgoing
        spec.vxlanMode = vxlan
        spec.nodeSelector = nodeSelector
        return IPPool(metadata: ResourceMetadata(name: "default-\(family.name)-ippool").asCreated(), spec: spec)
    }
}

extension IPPoolSpec.Encapsulation {
    /// Any case, with or without the dash: `cross-subnet`, `CrossSubnet`.
    init?(word: String) {
        let word = word.lowercased().filter { $0 != "-" }
        guard let mode = Self.allCases.first(where: { $0.rawValue.lowercased() == word }) else { return nil }
        self = mode
    }
}
