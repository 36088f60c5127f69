// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing
import FoundationEssentials

/// A slice of a pool, and who holds each of its addresses: the unit of concurrency in Calico's IPAM.
///
/// A pure value; no change happens anywhere until a transaction writes it. ``checkInvariants()`` says what holds after
/// every step.
public struct IPAMBlock: Hashable, Sendable {
    /// Offset of an address from the block's first.
    public typealias Ordinal = Int

    public let cidr: CIDR
    /// `host:<name>` (or `virtual:<name>`, Calico v3.30) of the claimant; `nil` for a block nobody claims.
    public private(set) var affinity: String?
    /// RFC 3339; since Calico v3.32.
    public private(set) var affinityClaimTime: String?
    /// For each ordinal the index of its attributes, or `nil` where it is free. Always of full length: Felix indexes
    /// it unchecked.
    public private(set) var allocations: [Int?]
    /// Free ordinals, longest free first. The order is what delays reuse of an address; keep it FIFO.
    public private(set) var unallocated: [Ordinal]
    /// Who holds the allocations; each entry is used by at least one.
    public private(set) var attributes: [AllocationAttributes]
    /// Grows with every write of the block, so that a reader can tell one generation of an allocation from the next.
    public private(set) var sequenceNumber: UInt64
    public private(set) var sequenceNumberForAllocation: [Ordinal: UInt64]
    /// Whose free ordinals were, see ``LastContainers``.
    public private(set) var lastContainers = LastContainers()
    public var unknown: [String: JSONValue] = [:]
    /// How many ordinals are cooling down. Kept, because every look at a block asks.
    private var restingCount = 0

    /// A fresh block, all free.
    ///
    /// Its sequence starts at the clock in nanoseconds: were a block deleted and made again starting from 0, someone
    /// who saw allocation number 7 of the old one could take number 7 of the new for it.
    public init(cidr: CIDR, host: String, now: Date) {
        self.cidr = cidr
        affinity = "host:\(host)"
        affinityClaimTime = Timestamp.text(now)
        let size = 1 << cidr.hostBits
        allocations = Array(repeating: nil, count: size)
        unallocated = Array(0..<size)
        attributes = []
        sequenceNumber = UInt64(max(0, now.timeIntervalSince1970) * 1e9)
        sequenceNumberForAllocation = [:]
    }

    public var size: Int { allocations.count }
    public var hasFreeAddress: Bool { !unallocated.isEmpty }
    /// No address is held. Windows' reserved addresses do not count, as in Calico.
    public var isEmpty: Bool {
        unallocated.count == size
            || allocations.allSatisfy { $0.map { attributes[$0].handleID == "windows-reserved-ipam-handle" } ?? true }
    }

    public func isAffine(to host: String) -> Bool { affinity == "host:\(host)" }

    /// Where `address` stands in this block; `nil` outside it.
    public func ordinal(of address: IPAddress) -> Ordinal? {
        cidr.contains(address) ? Int(address.value - cidr.address.value) : nil
    }

    public func address(at ordinal: Ordinal) -> IPAddress { cidr.address.advanced(by: UInt128(ordinal))! }

    /// Who holds `address`; `nil` where it is free.
    public func owner(of address: IPAddress) -> AllocationAttributes? {
        ordinal(of: address).flatMap { allocations[$0] }.map { attributes[$0] }
    }

    /// Every held address with its holder, by address.
    public var assignments: [(address: IPAddress, owner: AllocationAttributes)] {
        allocations.indices.compactMap { ordinal in
            allocations[ordinal].map { (address(at: ordinal), attributes[$0]) }
        }
    }
}

// MARK: - Changing

extension IPAMBlock {
    /// Takes the address that has been free longest among those `isEligible` allows; `nil` where none is left.
    public mutating func assignNext(
        to owner: AllocationAttributes, where isEligible: (IPAddress) -> Bool = { _ in true }
    ) -> IPAddress? {
        guard let index = unallocated.firstIndex(where: { isEligible(address(at: $0)) }) else { return nil }
        let ordinal = unallocated.remove(at: index)
        hold(ordinal, owner)
        return address(at: ordinal)
    }

    /// Takes just `address`; false where somebody holds it or it lies outside.
    public mutating func assign(_ address: IPAddress, to owner: AllocationAttributes) -> Bool {
        guard let ordinal = ordinal(of: address), let index = unallocated.firstIndex(of: ordinal) else { return false }
        unallocated.remove(at: index)
        hold(ordinal, owner)
        return true
    }

    /// Frees `address` and says who held it; `nil` where nobody did.
    ///
    /// - Parameter cooldown: seconds for which nobody may have the address again (`ipCooldownSeconds`, Calico after
    ///   v3.32); ``collectCooledDown(after:now:)`` then frees it. 0 frees it at once.
    public mutating func release(
        _ address: IPAddress, cooldown: Int = 0, now: Date = .now
    ) -> AllocationAttributes? {
        guard let ordinal = ordinal(of: address), let index = allocations[ordinal] else { return nil }
        let owner = attributes[index]
        guard !owner.isCoolingDown else { return nil }
        free(ordinal)
        if cooldown > 0 { rest(ordinal, since: now) }
        return owner
    }

    /// Frees addresses whose cool-down is over (`ipCooldownSeconds`, Calico after v3.32).
    public mutating func collectCooledDown(after seconds: Int, now: Date) {
        guard restingCount > 0 else { return }
        for ordinal in allocations.indices {
            guard let index = allocations[ordinal], let since = attributes[index].releasedAt.flatMap(Timestamp.date),
                now.timeIntervalSince(since) >= Double(seconds)
            else { continue }
            free(ordinal)
        }
    }

    /// Makes `host` the claimant.
    public mutating func claim(for host: String, now: Date) {
        affinity = "host:\(host)"
        affinityClaimTime = Timestamp.text(now)
    }

    /// Leaves the block to nobody; its allocations stay.
    public mutating func abandon() {
        affinity = nil
        affinityClaimTime = nil
    }

    /// To be called once before each write: a changed block never carries the number of an earlier one.
    ///
    /// - Parameter floor: the number of the value this write replaces.
    public mutating func advanceSequence(past floor: UInt64 = 0) { sequenceNumber = max(sequenceNumber, floor) &+ 1 }

    private mutating func hold(_ ordinal: Ordinal, _ owner: AllocationAttributes) {
        if let index = attributes.firstIndex(of: owner) {
            allocations[ordinal] = index
        } else {
            allocations[ordinal] = attributes.count
            attributes.append(owner)
        }
        sequenceNumberForAllocation[ordinal] = sequenceNumber
        lastContainers.forget(ordinal)
        if owner.isCoolingDown { restingCount += 1 }
    }

    /// Holds a freed ordinal for nobody.
    private mutating func rest(_ ordinal: Ordinal, since now: Date) {
        unallocated.removeAll { $0 == ordinal }
        var nobody = AllocationAttributes(handleID: nil, secondary: [:])
        nobody.releasedAt = Timestamp.text(now)
        hold(ordinal, nobody)
    }

    private mutating func free(_ ordinal: Ordinal) {
        guard let index = allocations[ordinal] else { return }
        allocations[ordinal] = nil
        unallocated.append(ordinal)
        sequenceNumberForAllocation[ordinal] = nil
        lastContainers.remember(attributes[index].container, at: ordinal, among: unallocated)
        if attributes[index].isCoolingDown { restingCount -= 1 }
        if !allocations.contains(index) { dropAttributes(at: index) }
    }

    private mutating func dropAttributes(at index: Int) {
        attributes.remove(at: index)
        for ordinal in allocations.indices {
            if let other = allocations[ordinal], other > index { allocations[ordinal] = other - 1 }
        }
    }
}

// MARK: - Invariants

extension IPAMBlock {
    /// A structural rule that a block breaks.
    public struct InvariantViolation: Error, CustomStringConvertible {
        public let block: CIDR
        public let rule: String
        public var description: String { "block \(block): \(rule)" }
    }

    /// - Throws: the first rule that does not hold.
    public func checkInvariants() throws(InvariantViolation) {
        let require = { (holds: Bool, rule: String) throws(InvariantViolation) in
            if !holds { throw InvariantViolation(block: cidr, rule: rule) }
        }
        try require(allocations.count == 1 << cidr.hostBits, "allocations must have one entry per address")
        try require(Set(unallocated).count == unallocated.count, "no ordinal may be free twice")
        try require(unallocated.allSatisfy(allocations.indices.contains), "free ordinals must lie in the block")
        let free = Set(unallocated)
        for ordinal in allocations.indices {
            try require(
                (allocations[ordinal] == nil) == free.contains(ordinal),
                "ordinal \(ordinal) must be either allocated or free")
        }
        let used = Set(allocations.compactMap(\.self))
        try require(used == Set(attributes.indices), "every attribute must be used, every index must exist")
        try require(Set(attributes).count == attributes.count, "attributes must differ from one another")
        try require(
            sequenceNumberForAllocation.keys.allSatisfy { allocations.indices.contains($0) && allocations[$0] != nil },
            "only allocated ordinals have a sequence number")
        try require(
            lastContainers.ordinals.allSatisfy(free.contains), "only free ordinals remember a container")
        try require(
            sequenceNumberForAllocation.values.allSatisfy { $0 <= sequenceNumber },
            "no allocation is younger than its block")
    }
}

// MARK: - Wire form

extension IPAMBlock: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable {
        case cidr, affinity, affinityClaimTime = "affinity_claim_time", allocations, unallocated, attributes
        case sequenceNumber, sequenceNumberForAllocation, deleted
        case lastContainers = "libnetwork.projectcalico.org/lastContainers"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        cidr = try container.decode(CIDR.self, forKey: .cidr)
        affinity = try container.decodeIfPresent(String.self, forKey: .affinity)
        affinityClaimTime = try container.decodeIfPresent(String.self, forKey: .affinityClaimTime)
        allocations = try container.value(.allocations, default: [])
        unallocated = try container.value(.unallocated, default: [])
        attributes = try container.value(.attributes, default: [])
        // Calico before v3.23 drops both; we go on from 0.
        sequenceNumber = try container.value(.sequenceNumber, default: 0)
        let sequence: [String: UInt64] = try container.value(.sequenceNumberForAllocation, default: [:])
        sequenceNumberForAllocation = Dictionary(
            sequence.compactMap { text, number in Int(text).map { ($0, number) } }, uniquingKeysWith: max)
        lastContainers = (try? container.value(.lastContainers, default: LastContainers())) ?? LastContainers()
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
        try checkReadable()
        repairQueue()
        restingCount = allocations.count { $0.map { attributes[$0].isCoolingDown } ?? false }
    }

    /// Brings what can be derived in line with `allocations`, which alone says who holds what: an ordinal that is
    /// queued though it is held, or queued twice, would go to two owners.
    private mutating func repairQueue() {
        var free = Set(allocations.indices.filter { allocations[$0] == nil })
        let queued = unallocated.filter { free.remove($0) != nil }
        unallocated = queued + free.sorted()
        lastContainers.keep(only: Set(unallocated))
        for ordinal in sequenceNumberForAllocation.keys
        where !allocations.indices.contains(ordinal) || allocations[ordinal] == nil {
            sequenceNumberForAllocation[ordinal] = nil
        }
    }

    /// What the code here relies on when it indexes; a foreign block that breaks it must not bring us down.
    private func checkReadable() throws {
        let size = cidr.hostBits <= 16 ? 1 << cidr.hostBits : -1
        guard allocations.count == size, allocations.allSatisfy({ $0.map(attributes.indices.contains) ?? true }),
            unallocated.allSatisfy(allocations.indices.contains)
        else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: [], debugDescription: "block \(cidr): allocations do not fit the block"))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(cidr, forKey: .cidr)
        try container.encode(affinity, forKey: .affinity)
        try container.encodeIfPresent(affinityClaimTime, forKey: .affinityClaimTime)
        try container.encode(allocations, forKey: .allocations)
        try container.encode(unallocated, forKey: .unallocated)
        try container.encode(attributes, forKey: .attributes)
        try container.encode(sequenceNumber, forKey: .sequenceNumber)
        let sequence = sequenceNumberForAllocation.map { (String($0.key), $0.value) }
        try container.encode(
            Dictionary(sequence) { first, _ in first }, forKey: .sequenceNumberForAllocation)
        if !lastContainers.isEmpty { try container.encode(lastContainers, forKey: .lastContainers) }
        try container.encode(false, forKey: .deleted)
        try encoder.encodeUnknown(unknown)
    }
}
