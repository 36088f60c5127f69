// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Synchronization

/// Which of several requests about the same thing came last: what an earlier one has left must not be undone any more,
/// because the last one may have found it and answered so.
final class LatestRequests: Sendable {
    private struct State {
        var latest: [String: Int] = [:]
        var count = 0
    }

    private let state = Mutex(State())

    /// - Returns: the request's number.
    func begin(_ id: String) -> Int {
        state.withLock { state in
            state.count += 1
            state.latest[id] = state.count
            return state.count
        }
    }

    /// True until another begins, or this one ends.
    func isLatest(_ number: Int, of id: String) -> Bool { state.withLock { $0.latest[id] == number } }

    /// Nothing of it will be undone.
    func end(_ number: Int, of id: String) {
        state.withLock { state in
            if state.latest[id] == number { state.latest[id] = nil }
        }
    }
}
