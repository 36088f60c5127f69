// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import NIOCore
import NIOPosix
import Synchronization

/// Time ran out.
struct DeadlineExceeded: Error, CustomStringConvertible {
    var description: String { "no answer came in time" }
}

/// Answers within `limit`, whatever `operation` does: at the deadline, or when its caller is cancelled, it is cancelled,
/// and its caller goes on without waiting for it to notice. An operation that holds something for its caller must give
/// it back when cancelled.
///
/// - Parameter executor: runs the operation; without one, Swift's own does.
/// - Throws: what the operation throws, ``DeadlineExceeded``, or `CancellationError`.
func withDeadline<Success: Sendable>(
    _ limit: Duration, on executor: EventLoopTaskExecutor? = nil,
    _ operation: @escaping @Sendable () async throws -> Success
) async throws -> Success {
    let race = Race<Success>()
    let work = Task(executorPreference: executor) {
        do { race.finish(.success(try await operation())) } catch { race.finish(.failure(error)) }
    }
    // An event loop keeps its timers without a system call each; `Task.sleep` wakes a thread for its own.
    let loop = executor?.loop ?? MultiThreadedEventLoopGroup.singleton.any()
    let timer = loop.scheduleTask(in: .init(limit)) {
        // In this order: cancelled, the operation may at once fail with a reason that is not the real one.
        race.finish(.failure(DeadlineExceeded()))
        work.cancel()
    }
    defer { timer.cancel() }
    return try await withTaskCancellationHandler {
        try await race.outcome()
    } onCancel: {
        race.finish(.failure(CancellationError()))
        work.cancel()
    }
}

/// The first result wins; later ones are dropped.
private final class Race<Success: Sendable>: Sendable {
    private enum State {
        case running
        case awaited(CheckedContinuation<Success, any Error>)
        case finished(Result<Success, any Error>)
    }

    private let state = Mutex(State.running)

    func finish(_ result: Result<Success, any Error>) {
        let waiter: CheckedContinuation<Success, any Error>? = state.withLock { state in
            switch state {
            case .running:
                state = .finished(result)
                return nil
            case .awaited(let waiter):
                state = .finished(result)
                return waiter
            case .finished: return nil
            }
        }
        waiter?.resume(with: result)
    }

    func outcome() async throws -> Success {
        try await withCheckedThrowingContinuation { continuation in
            let result: Result<Success, any Error>? = state.withLock { state in
                if case .finished(let result) = state { return result }
                state = .awaited(continuation)
                return nil
            }
            if let result { continuation.resume(with: result) }
        }
    }
}
