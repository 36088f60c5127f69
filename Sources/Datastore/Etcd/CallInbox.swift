// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Synchronization

/// Calls on their way from any thread to their connection's event loop. Whoever finds it empty wakes the loop; calls
/// that arrive until it looks travel with the same wake-up and the same write to the socket.
final class CallInbox: Sendable {
    private struct State {
        var waiting: [Call] = []
        var closed: CallFailure?
    }

    enum Admission {
        case wake
        case queued
        case refused(CallFailure)
    }

    private let state = Mutex(State())

    func add(_ call: Call) -> Admission {
        state.withLock { state in
            if let closed = state.closed { return .refused(closed) }
            state.waiting.append(call)
            return state.waiting.count == 1 ? .wake : .queued
        }
    }

    func takeAll() -> [Call] {
        state.withLock { state in
            defer { state.waiting.removeAll(keepingCapacity: false) }
            return state.waiting
        }
    }

    /// Refuses calls from now on, and those still waiting. The first reason stays.
    func close(_ reason: CallFailure) {
        let refused = state.withLock { state in
            if state.closed == nil { state.closed = reason }
            defer { state.waiting = [] }
            return state.waiting
        }
        for call in refused { call.fail(reason) }
    }

    /// Why no call is taken any more.
    var closedBecause: CallFailure? { state.withLock { $0.closed } }
}
