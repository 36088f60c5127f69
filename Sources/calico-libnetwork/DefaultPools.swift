// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
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
            return Family(
                cidr: try reader.parsed(
                    prefix + "CIDR", default: "",
                    { text -> CIDR??? in
                        if text.isEmpty { return .some(.none) }
                        if text.lowercased() == "none" { return .some(.some(.none)) }
                        return CIDR(text).flatMap { $0.family == family ? .some(.some(.some($0))) : nil }
                    }, wants: "an \(family.name) CIDR, or none"),
                blockSize: try reader.parsed(
                    prefix + "BLOCK_SIZE", default: String(IPPoolSpec.defaultBlockSize(family)),
                    { Int($0).flatMap { sizes.contains($0) ? $0 : nil } },
                    wants: "a prefix length in \(sizes.lowerBound)...\(sizes.upperBound)"),
                natOutgoing: try reader.flag(prefix + "NAT_OUTGOING", default: family == .v4),
                vxlan: try reader.parsed(
                    prefix + "VXLAN", default: "Never", IPPoolSpec.Encapsulation.init(word:),
                    wants: "Never, Always or CrossSubnet"),
                nodeSelector: reader.text(prefix + "NODE_SELECTOR", default: "all()"))
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
            var spec = IPPoolSpec(cidr: cidr)
            spec.blockSize = setting.blockSize
            spec.natOutgoing = setting.natOutgoing
            spec.vxlanMode = setting.vxlan
            spec.nodeSelector = setting.nodeSelector
            let metadata = ResourceMetadata(name: "default-\(family.name)-ippool")
            return IPPool(metadata: metadata.asCreated(), spec: spec)
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
            let transaction = Transaction(if: [.absent(pool.key)], writes: [.put(pool.key, pool)])
            if case .committed = try await replica.commit(transaction) {
                logger.notice("created a pool", metadata: ["pool": "\(pool.name)", "cidr": "\(pool.spec.cidr)"])
            }
        }
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
