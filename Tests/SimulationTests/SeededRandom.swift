// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// SplitMix64 (Steele, Lea, Flood 2014): all chance of a simulation, from its seed.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A number below `bound`, which is small: the bias of the remainder does not matter here.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    /// True `percent` times in a hundred.
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    /// One of the values, each as likely as its weight.
    mutating func pick<Value>(weighted: (Value, Int)...) -> Value {
        var rest = below(weighted.reduce(0) { $0 + $1.1 })
        for (value, weight) in weighted {
            if rest < weight { return value }
            rest -= weight
        }
        return weighted[0].0
    }
}
