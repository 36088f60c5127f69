// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Where a service of a domain runs: an SRV record (RFC 2782).
public struct ServiceRecord: Hashable, Sendable {
    /// Lower is tried first.
    public var priority: Int
    /// A share among records of one priority.
    public var weight: Int
    /// 0...65535
    public var port: Int
    /// A host's name, without a dot at its end.
    public var target: String

    public init(priority: Int, weight: Int, port: Int, target: String) {
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target
    }

    /// In the order to try: by priority, and within one drawn by weight, so that many clients spread.
    public static func order(
        _ records: [ServiceRecord], using random: inout some RandomNumberGenerator
    ) -> [ServiceRecord] {
        var ordered: [ServiceRecord] = []
        for priority in Set(records.map(\.priority)).sorted() {
            var left = records.filter { $0.priority == priority }
            while !left.isEmpty {
                let lot = Int.random(in: 0..<(left.reduce(0) { $0 + $1.weight } + left.count), using: &random)
                ordered.append(left.remove(at: index(of: lot, in: left)))
            }
        }
        return ordered
    }

    /// A record's tickets are as many as its weight and one more, so that weight 0 is drawn too, seldom.
    private static func index(of lot: Int, in records: [ServiceRecord]) -> Int {
        var upper = 0
        return records.firstIndex { record in
            upper += record.weight + 1
            return lot < upper
        } ?? records.count - 1
    }
}
