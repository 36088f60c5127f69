// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import FoundationEssentials

/// Time, chance and threads as the allocator meets them. A simulation brings its own, so that a run can be repeated.
public struct Surroundings: Sendable {
    public var now: @Sendable () -> Date
    /// Waits for a while, of a length within the given bounds that chance decides.
    public var pause: @Sendable (ClosedRange<Duration>) async -> Void
    /// Where the allocator's own tasks run; `nil` means where Swift runs tasks.
    public var executor: (any TaskExecutor)?

    public init(
        now: @escaping @Sendable () -> Date = { .now },
        pause: @escaping @Sendable (ClosedRange<Duration>) async -> Void = Surroundings.sleep,
        executor: (any TaskExecutor)? = nil
    ) {
        self.now = now
        self.pause = pause
        self.executor = executor
    }

    /// How often a plan is made anew that lost against other hosts (libcalico-go's `datastoreRetries`).
    public static let maximumAttempts = 100

    /// Between two attempts. Some jitter keeps two losers from meeting again.
    public func pause(afterLoss attempt: Int) async {
        if attempt > 1 { await pause(.milliseconds(0)...(.milliseconds(min(attempt * 2, 50)))) }
    }

    @Sendable public static func sleep(_ bounds: ClosedRange<Duration>) async {
        let spread = bounds.upperBound - bounds.lowerBound
        try? await Task.sleep(for: bounds.lowerBound + spread * Double.random(in: 0...1))
    }
}
