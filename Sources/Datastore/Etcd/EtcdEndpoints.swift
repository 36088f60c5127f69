// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Logging
import NIOCore
import Synchronization

/// The members, and the one connection that all calls and watches share.
///
/// When it breaks, the others are tried in turn, each with a head start before the next; the first that answers wins.
final class EtcdEndpoints: Sendable {
    private struct State {
        var live: EtcdConnection?
        var waiting: [Int: CheckedContinuation<Result<EtcdConnection, CallFailure>, Never>] = [:]
        var nextWaiter = 0
        /// Looks for a member that answers; there is one while somebody waits.
        var search: Task<Void, Never>?
        /// The endpoint to try first.
        var first = 0
        var lastFailure: CallFailure?
        var isClosed = false
    }

    static let headStart = Duration.milliseconds(250)
    static let connectLimit = TimeAmount.seconds(2)
    /// Between rounds over all endpoints.
    static let shortestPause = Duration.milliseconds(50)
    static let longestPause = Duration.milliseconds(400)

    let all: [EtcdSettings.Endpoint]
    private let tls: EtcdTLS
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let state = Mutex(State())

    init(_ settings: EtcdSettings, on eventLoop: any EventLoop, logger: Logger) {
        all = settings.endpoints
        tls = EtcdTLS(settings)
        self.eventLoop = eventLoop
        self.logger = logger
    }

    /// The live connection, or the next one that comes about before `deadline`.
    func connection(until deadline: NIODeadline) async throws(CallFailure) -> EtcdConnection {
        if let live = live { return live }
        return try await waitForConnection(until: deadline).get()
    }

    private var live: EtcdConnection? {
        state.withLock { state in
            guard let live = state.live else { return nil }
            guard let reason = live.closedBecause else { return live }
            forget(live, reason, &state)
            return nil
        }
    }

    private func forget(_ connection: EtcdConnection, _ reason: CallFailure, _ state: inout State) {
        guard state.live === connection else { return }
        state.live = nil
        state.lastFailure = reason
        state.first = ((all.firstIndex(of: connection.endpoint) ?? 0) + 1) % all.count
        if !state.isClosed { logger.warning("lost etcd", metadata: ["reason": "\(reason.sentence)"]) }
    }

    /// This member does not serve, though the connection stands: the next call goes to another, if there is one.
    func leave(_ endpoint: EtcdSettings.Endpoint, because reason: CallFailure) {
        guard all.count > 1 else { return }
        let left = state.withLock { state -> EtcdConnection? in
            guard let live = state.live, live.endpoint == endpoint else { return nil }
            forget(live, reason, &state)
            return live
        }
        left?.leave(CallFailure(.connection(lasting: false), at: endpoint, reason.reason, mayHaveRun: true))
    }

    /// Whether somebody is connected.
    func close() -> EtcdConnection? {
        let (live, search, waiting) = state.withLock { state in
            defer {
                state.isClosed = true
                state.live = nil
                state.waiting = [:]
                state.search = nil
            }
            return (state.live, state.search, state.waiting)
        }
        search?.cancel()
        for waiter in waiting.values { waiter.resume(returning: .failure(CallFailure.closed.beforeSending)) }
        live?.close(.closed)
        return live
    }

    // MARK: Waiting

    private func waitForConnection(until deadline: NIODeadline) async -> Result<EtcdConnection, CallFailure> {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        let timer = eventLoop.scheduleTask(deadline: deadline) { self.giveUp(id) }
        defer { timer.cancel() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if let result = register(continuation, as: id) {
                    continuation.resume(returning: result)
                } else if Task.isCancelled || deadline <= .now() {
                    // Cancelled, or out of time, before there was anything to resume.
                    giveUp(id, Task.isCancelled ? .cancelled : nil)
                }
            }
        } onCancel: {
            giveUp(id, .cancelled)
        }
    }

    private func register(
        _ continuation: CheckedContinuation<Result<EtcdConnection, CallFailure>, Never>, as id: Int
    ) -> Result<EtcdConnection, CallFailure>? {
        state.withLock { state in
            guard !state.isClosed else { return .failure(CallFailure.closed.beforeSending) }
            if let live = state.live, live.closedBecause == nil { return .success(live) }
            state.waiting[id] = continuation
            if state.search == nil { state.search = Task { await self.search() } }
            return nil
        }
    }

    private func giveUp(_ id: Int, _ failure: CallFailure? = nil) {
        let (waiter, last) = state.withLock { ($0.waiting.removeValue(forKey: id), $0.lastFailure) }
        let reason = last?.sentence ?? "no answer from \(all.map(\.description).joined(separator: ", "))"
        waiter?.resume(returning: .failure(failure ?? CallFailure(.deadline, at: nil, reason, mayHaveRun: false)))
    }

    // MARK: Searching

    var isSearching: Bool { state.withLock { $0.search != nil } }

    private func search() async {
        var pause = EtcdEndpoints.shortestPause
        while !Task.isCancelled {
            switch await race() {
            case .success(let connection): return adopt(connection)
            case .failure(let failure): note(failure)
            }
            if endSearchUnlessAwaited() { return }
            // The server would not thank us for attempts without a pause.
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, EtcdEndpoints.longestPause)
        }
    }

    private func adopt(_ connection: EtcdConnection) {
        let (waiting, isClosed) = state.withLock { state in
            defer {
                state.waiting = [:]
                state.search = nil
                if !state.isClosed { state.live = connection }
                state.lastFailure = nil
            }
            return (state.waiting, state.isClosed)
        }
        if isClosed { return connection.close(.closed) }
        logger.info("connected to etcd", metadata: ["endpoint": "\(connection.endpoint)"])
        for waiter in waiting.values { waiter.resume(returning: .success(connection)) }
    }

    /// Nobody waits for what only a person can mend.
    private func note(_ failure: CallFailure) {
        let hopeless = state.withLock { state in
            state.lastFailure = failure
            guard failure.cause == .connection(lasting: true) else { return state.waiting.filter { _ in false } }
            defer { state.waiting = [:] }
            return state.waiting
        }
        for waiter in hopeless.values { waiter.resume(returning: .failure(failure)) }
    }

    private func endSearchUnlessAwaited() -> Bool {
        state.withLock { state in
            guard state.waiting.isEmpty else { return false }
            state.search = nil
            return true
        }
    }

    private enum Step {
        case connected(EtcdConnection)
        case failed(CallFailure)
        case headStartOver
    }

    /// One round over all endpoints.
    private func race() async -> Result<EtcdConnection, CallFailure> {
        let first = state.withLock { $0.first }
        let order = (0..<all.count).map { all[($0 + first) % all.count] }
        return await withTaskGroup(of: Step.self) { group in
            var failures: [CallFailure] = []
            var started = 0
            func startNext() {
                guard started < order.count else { return }
                let endpoint = order[started]
                started += 1
                group.addTask { await self.attempt(endpoint) }
                guard started < order.count else { return }
                group.addTask {
                    try? await Task.sleep(for: EtcdEndpoints.headStart)
                    return .headStartOver
                }
            }
            startNext()
            while failures.count < order.count, let step = await group.next() {
                switch step {
                case .connected(let winner):
                    await EtcdEndpoints.dismiss(&group)
                    return .success(winner)
                case .failed(let failure):
                    failures.append(failure)
                    startNext()
                case .headStartOver:
                    startNext()
                }
            }
            group.cancelAll()
            return .failure(EtcdEndpoints.summary(of: failures))
        }
    }

    private static func dismiss(_ group: inout TaskGroup<Step>) async {
        group.cancelAll()
        for await case .connected(let loser) in group { loser.close(.closed) }
    }

    private func attempt(_ endpoint: EtcdSettings.Endpoint) async -> Step {
        do {
            return .connected(
                try await EtcdConnection.connect(
                    to: endpoint, tls: tls, on: eventLoop, limit: EtcdEndpoints.connectLimit))
        } catch { return .failed(error) }
    }

    /// A connection for one purpose, beside the shared one.
    func connection(to endpoint: EtcdSettings.Endpoint, limit: TimeAmount) async throws(CallFailure) -> EtcdConnection {
        try await EtcdConnection.connect(to: endpoint, tls: tls, on: eventLoop, limit: limit)
    }

    private static func summary(of failures: [CallFailure]) -> CallFailure {
        if failures.count == 1 { return failures[0] }
        // One member that may come back is hope for all.
        let lasting = failures.allSatisfy { $0.cause == .connection(lasting: true) }
        let reasons = failures.map(\.sentence).joined(separator: "; ")
        return CallFailure(.connection(lasting: lasting), at: nil, reasons, mayHaveRun: false)
    }
}
