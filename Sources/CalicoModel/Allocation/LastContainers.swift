// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing

/// Which container had each free address of a block last, so that one that comes back under its name gets its address
/// again. Nobody is kept from the address: whoever takes it ends the memory.
///
/// It lies in the block, because a release writes that anyway. Go clients drop members they do not know, and the memory
/// with them.
public struct LastContainers: Hashable, Sendable {
    /// A block of 64 remembers all; one of 4,096 addresses must not grow by as many names.
    public static let limit = 64

    private var names: [IPAMBlock.Ordinal: String] = [:]

    public init() {}

    public var isEmpty: Bool { names.isEmpty }
    var ordinals: some Collection<IPAMBlock.Ordinal> { names.keys }
    subscript(ordinal: IPAMBlock.Ordinal) -> String? { names[ordinal] }

    mutating func forget(_ ordinal: IPAMBlock.Ordinal) { names[ordinal] = nil }

    /// - Parameter queue: all free ordinals, longest free first; beyond the limit the first of them is forgotten.
    mutating func remember(_ name: String?, at ordinal: IPAMBlock.Ordinal, among queue: [IPAMBlock.Ordinal]) {
        names[ordinal] = name
        if names.count > Self.limit, let oldest = queue.first(where: { names[$0] != nil }) { forget(oldest) }
    }

    mutating func keep(only free: Set<IPAMBlock.Ordinal>) { names = names.filter { free.contains($0.key) } }
}

extension LastContainers: Codable {
    /// An object from ordinals, as text, to names.
    public init(from decoder: any Decoder) throws {
        let texts = try decoder.singleValueContainer().decode([String: String].self)
        for (text, name) in texts { names[Int(text) ?? -1] = name }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(texts)
    }

    /// The names by ordinal, as on the wire.
    var texts: [String: String] { Dictionary(uniqueKeysWithValues: names.map { (String($0.key), $0.value) }) }
}

extension IPAMBlock {
    /// Takes the address that the container of `owner` had last, among those `isEligible` allows; `nil` where there is
    /// none or somebody has it. Of several the one that has been free longest: a container on two networks that draw
    /// from one pool asks in the order in which it gave them back.
    public mutating func assignAgain(
        to owner: AllocationAttributes, where isEligible: (IPAddress) -> Bool = { _ in true }
    ) -> IPAddress? {
        guard !lastContainers.isEmpty, let name = owner.container,
            let ordinal = unallocated.first(where: { lastContainers[$0] == name && isEligible(self.address(at: $0)) })
        else { return nil }
        let address = self.address(at: ordinal)
        return assign(address, to: owner) ? address : nil
    }
}
