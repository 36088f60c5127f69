// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

public typealias IPPool = Resource<IPPoolSpec>

/// A range of addresses that IPAM hands out in blocks.
public struct IPPoolSpec: ResourceSpec {
    public static let kind = "IPPool"
    public static let plural = "ippools"

    /// When traffic to other nodes is encapsulated.
    public enum Encapsulation: String, Codable, Sendable, CaseIterable {
        case never = "Never"
        case always = "Always"
        case crossSubnet = "CrossSubnet"
    }

    public var cidr: CIDR
    public var vxlanMode: Encapsulation = .never
    public var ipipMode: Encapsulation = .never
    /// Traffic that leaves all pools gets the host's address.
    public var natOutgoing = false
    /// No new addresses; everything else stays as it is.
    public var disabled = false
    /// Prefix length of a block, 20...32 or 116...128; `nil` means 26 or 122.
    public var blockSize: Int?
    /// Nodes that may take addresses from here; `nil` means all.
    public var nodeSelector: String?
    /// Namespaces that may take addresses from here (Calico v3.31); `nil` means any.
    public var namespaceSelector: String?
    /// `nil` or empty means `Workload` and `Tunnel`.
    public var allowedUses: [String]?
    /// `Automatic` or `Manual` (only on request); `nil` or empty means the former.
    public var assignmentMode: String?
    public var unknown: [String: JSONValue] = [:]

    public init(cidr: CIDR) { self.cidr = cidr }

    public var family: IPAddress.Family { cidr.family }
    /// Prefix length of this pool's blocks.
    public var blockPrefixLength: Int { blockSize ?? Self.defaultBlockSize(cidr.family) }

    public static func defaultBlockSize(_ family: IPAddress.Family) -> Int { family == .v4 ? 26 : 122 }
    public static func blockSizes(_ family: IPAddress.Family) -> ClosedRange<Int> {
        family == .v4 ? 20...32 : 116...128
    }

    public func allows(use: String) -> Bool {
        let uses = allowedUses ?? []
        return (uses.isEmpty ? ["Workload", "Tunnel"] : uses).contains(use)
    }
    public var isAutomatic: Bool { ["", "Automatic"].contains(assignmentMode ?? "") }

    /// Bytes that encapsulation adds to a packet between nodes, and that its MTU must leave free: IP, UDP, VXLAN and
    /// Ethernet, or one more IP header.
    public var encapsulationOverhead: Int {
        if vxlanMode != .never { return family == .v4 ? 50 : 70 }
        return ipipMode == .never ? 0 : 20
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case cidr, vxlanMode, ipipMode, natOutgoing, disabled, blockSize, nodeSelector, namespaceSelector
        case allowedUses, assignmentMode
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        cidr = try container.decode(CIDR.self, forKey: .cidr)
        vxlanMode = try container.mode(.vxlanMode)
        ipipMode = try container.mode(.ipipMode)
        natOutgoing = try container.value(.natOutgoing, default: false)
        disabled = try container.value(.disabled, default: false)
        // Go writes 0 for "unset" in some old values.
        blockSize = try container.decodeIfPresent(Int.self, forKey: .blockSize).flatMap { $0 == 0 ? nil : $0 }
        nodeSelector = try container.decodeIfPresent(String.self, forKey: .nodeSelector)
        namespaceSelector = try container.decodeIfPresent(String.self, forKey: .namespaceSelector)
        allowedUses = try container.decodeIfPresent([String].self, forKey: .allowedUses)
        assignmentMode = try container.decodeIfPresent(String.self, forKey: .assignmentMode)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(cidr, forKey: .cidr)
        try container.encode(vxlanMode, forKey: .vxlanMode)
        try container.encode(ipipMode, forKey: .ipipMode)
        try container.encodeIfTrue(natOutgoing, forKey: .natOutgoing)
        try container.encodeIfTrue(disabled, forKey: .disabled)
        try container.encodeIfPresent(blockSize, forKey: .blockSize)
        try container.encodeIfPresent(nodeSelector, forKey: .nodeSelector)
        try container.encodeIfPresent(namespaceSelector, forKey: .namespaceSelector)
        try container.encodeIfPresent(allowedUses, forKey: .allowedUses)
        try container.encodeIfPresent(assignmentMode, forKey: .assignmentMode)
        try encoder.encodeUnknown(unknown)
    }

    public func validate(_ metadata: ResourceMetadata) throws(ValidationError) {
        let fail = { (field: String, reason: String) in
            ValidationError(kind: Self.kind, name: metadata.name, field: field, reason: reason)
        }
        for reserved in [CIDR("169.254.0.0/16")!, CIDR("fe80::/10")!] where cidr.overlaps(reserved) {
            throw fail("spec.cidr", "\(cidr) overlaps the link-local range \(reserved)")
        }
        guard Self.blockSizes(family).contains(blockPrefixLength) else {
            let range = Self.blockSizes(family)
            throw fail("spec.blockSize", "\(blockPrefixLength) is not in \(range.lowerBound)...\(range.upperBound)")
        }
        guard cidr.prefixLength <= blockPrefixLength || disabled else {
            throw fail(
                "spec.cidr", "\(cidr) is smaller than one block of /\(blockPrefixLength); choose a larger block size")
        }
        guard vxlanMode == .never || ipipMode == .never else {
            throw fail("spec.vxlanMode", "a pool cannot use VXLAN and IPIP at once")
        }
        guard ipipMode == .never || family == .v4 else { throw fail("spec.ipipMode", "IPIP is for IPv4 only") }
        try validateUses(fail)
        for (field, text) in [("spec.nodeSelector", nodeSelector), ("spec.namespaceSelector", namespaceSelector)] {
            guard let text, !text.isEmpty else { continue }
            let selector: Selector
            do { selector = try Selector(text) } catch { throw fail(field, "\(error)") }
            guard !selector.mentionsGlobal else { throw fail(field, "global() selects no nodes or namespaces") }
        }
    }

    private func validateUses(_ fail: (String, String) -> ValidationError) throws(ValidationError) {
        guard let uses = allowedUses else { return }
        if let other = uses.first(where: { !["Workload", "Tunnel", "LoadBalancer"].contains($0) }) {
            throw fail("spec.allowedUses", "\"\(other)\" is not Workload, Tunnel or LoadBalancer")
        }
        if uses.contains("LoadBalancer") {
            guard uses.allSatisfy({ $0 == "LoadBalancer" }) else {
                throw fail("spec.allowedUses", "LoadBalancer excludes every other use")
            }
            guard vxlanMode == .never, ipipMode == .never else {
                throw fail("spec.allowedUses", "a pool for LoadBalancer has no encapsulation")
            }
            guard unknown["disableBGPExport"] != .bool(true) else {
                throw fail("spec.allowedUses", "a pool for LoadBalancer cannot have disableBGPExport")
            }
            guard ["", "all()"].contains(nodeSelector ?? "") else {
                throw fail("spec.nodeSelector", "a pool for LoadBalancer selects all()")
            }
        }
        if uses.contains("Tunnel"), namespaceSelector?.isEmpty == false {
            throw fail("spec.namespaceSelector", "a pool with the use Tunnel cannot select namespaces")
        }
    }
}

extension KeyedDecodingContainer<IPPoolSpec.CodingKeys> {
    /// An empty mode means never.
    fileprivate func mode(_ key: Key) throws -> IPPoolSpec.Encapsulation {
        guard let text = try decodeIfPresent(String.self, forKey: key), !text.isEmpty else { return .never }
        guard let mode = IPPoolSpec.Encapsulation(rawValue: text) else {
            throw DecodingError.dataCorruptedError(
                forKey: key, in: self, debugDescription: "\"\(text)\" is not Never, Always or CrossSubnet")
        }
        return mode
    }
}
