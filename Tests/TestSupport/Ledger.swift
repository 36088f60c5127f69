// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Who holds what, as told by the answers alone.
public actor Ledger<Item: Hashable & Sendable> {
    private var held: Set<Item> = []
    /// What was given out while somebody held it.
    public private(set) var duplicates: [Item] = []
    /// How often something was given out.
    public private(set) var count = 0

    public init() {}

    public func take(_ item: Item) {
        count += 1
        if !held.insert(item).inserted { duplicates.append(item) }
    }

    public func giveBack(_ item: Item) { held.remove(item) }
}

extension Array where Element: Sendable {
    /// `map`, one after the other.
    public func asyncMap<Result>(_ transform: (Element) async throws -> Result) async rethrows -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await transform(element)) }
        return results
    }
}
