// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Durations of one kind, in milliseconds.
struct Sample: Sendable {
    private(set) var milliseconds: [Double] = []

    var count: Int { milliseconds.count }
    var median: Double { quantile(0.5) }
    var p95: Double { quantile(0.95) }

    mutating func add(_ duration: Duration) { milliseconds.append(duration / .milliseconds(1)) }

    mutating func add(_ other: Sample) { milliseconds += other.milliseconds }

    /// Runs `work` and notes how long it took.
    mutating func time<Result>(_ work: () throws -> Result) rethrows -> Result {
        let start = ContinuousClock.now
        defer { add(start.duration(to: .now)) }
        return try work()
    }

    /// The smallest value that at least this part of the values does not exceed; 0 where there are none.
    private func quantile(_ part: Double) -> Double {
        let sorted = milliseconds.sorted()
        guard !sorted.isEmpty else { return 0 }
        return sorted[max(0, Int((Double(sorted.count) * part).rounded(.up)) - 1)]
    }
}

extension Double {
    /// With this many decimals.
    func text(_ decimals: Int) -> String {
        let scale = (0..<decimals).reduce(1) { scale, _ in scale * 10 }
        let scaled = Int((magnitude * Double(scale)).rounded())
        let sign = self < 0 && scaled > 0 ? "-" : ""
        guard decimals > 0 else { return sign + String(scaled) }
        let fraction = String(scaled % scale)
        return "\(sign)\(scaled / scale).\(String(repeating: "0", count: decimals - fraction.count))\(fraction)"
    }

    /// How many times as much.
    var factor: String { "×" + text(magnitude < 10 ? 2 : 0) }
}
