// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Holds requests back until the daemon has read its state: the sockets accept at once, answers wait for this.
public actor Gate {
    private var isOpen = false
    private var isShut = false
    private(set) var waiting: [Int: CheckedContinuation<Void, any Error>] = [:]
    private var next = 0
    /// Why it is still closed, for those who lose patience; `nil` where it is open or nothing is known.
    private(set) var obstacle: String?

    public init() {}

    public func explain(_ obstacle: String) { self.obstacle = obstacle }

    public func open() {
        isOpen = true
        obstacle = nil
        for waiter in waiting.values { waiter.resume() }
        waiting = [:]
    }

    /// The process is told to stop: one that is still closed will not open any more.
    func shut() {
        isShut = true
        for id in waiting.keys { give(up: id) }
    }

    /// Returns once the gate is open.
    ///
    /// - Throws: `CancellationError`, also where the process is told to stop.
    func pass() async throws {
        if isOpen { return }
        let id = next
        next += 1
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                if isOpen {
                    continuation.resume()
                } else if isShut || Task.isCancelled {
                    continuation.resume(throwing: CancellationError())
                } else {
                    waiting[id] = continuation
                }
            }
        } onCancel: {
            Task { await self.give(up: id) }
        }
    }

    private func give(up id: Int) { waiting.removeValue(forKey: id)?.resume(throwing: CancellationError()) }
}
