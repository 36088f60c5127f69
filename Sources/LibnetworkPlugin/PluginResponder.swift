// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials
public import Logging
import NIOCore

/// A request on a plugin socket.
struct PluginRequest: Sendable {
    let verb: String
    let path: String
    /// Nil where it is larger than ``PluginResponder/maximumBody``.
    let body: Data?
}

struct PluginReply: Sendable {
    /// Of HTTP.
    let status: Int
    let body: Data
}

extension PluginReply {
    init(_ problem: PluginError) {
        let body = try? JSONEncoder().encode(PluginError.Body(message: problem.description))
        self.init(status: problem.status, body: body ?? Data(#"{"Err":"error"}"#.utf8))
    }
}

/// What lies around ``PluginRoutes``: limits, deadline, errors as Docker reads them, one log line per request.
public struct PluginResponder: Sendable {
    private let routes: PluginRoutes
    private let gate: Gate
    private let limit: Duration
    let executor: EventLoopTaskExecutor
    private let logger: Logger

    /// Largest request body, in bytes. A thousand published ports take a tenth of it.
    static let maximumBody = 4 << 20

    /// - Parameters:
    ///   - gate: opens when the daemon has read its state.
    ///   - limit: within which every request is answered.
    ///   - executor: runs the requests.
    public init(
        routes: PluginRoutes, gate: Gate, limit: Duration, on executor: EventLoopTaskExecutor, logger: Logger
    ) {
        self.executor = executor
        self.routes = routes
        self.gate = gate
        self.limit = limit
        self.logger = logger
    }

    /// - Returns: an answer in any case. One whose task is cancelled answers at once, with a refusal.
    func respond(to request: PluginRequest) async -> PluginReply {
        let start = ContinuousClock.now
        let method = String(request.path.dropFirst())
        do {
            let handler = try handler(for: request)
            guard let body = request.body else {
                throw PluginError("the request is larger than \(Self.maximumBody >> 20) MiB", status: 413)
            }
            logger.debug(
                "request", metadata: ["method": "\(method)", "body": "\(String(decoding: body, as: UTF8.self))"])
            let answer = try await run(handler, body)
            log(method, answer.facts, since: start, failure: nil)
            logger.debug(
                "reply", metadata: ["method": "\(method)", "body": "\(String(decoding: answer.body, as: UTF8.self))"])
            return PluginReply(status: 200, body: answer.body)
        } catch {
            let failure = error as? PluginRoutes.Failure
            let problem = pluginError(failure?.cause ?? error, method)
            log(method, failure?.facts ?? [:], since: start, failure: problem)
            return PluginReply(problem)
        }
    }

    /// The process is told to stop: who waits for its state is refused.
    func stop() async { await gate.shut() }

    private func handler(for request: PluginRequest) throws -> PluginRoutes.Handler {
        guard let handler = routes.handlers[request.path] else {
            // Engines take 404 as "not implemented" where that is allowed.
            throw PluginError("this plugin does not know \(request.path)", status: 404)
        }
        guard request.verb == "POST" else { throw PluginError("\(request.path) is called with POST", status: 405) }
        return handler
    }

    private func run(_ handler: PluginRoutes.Handler, _ body: Data) async throws -> PluginRoutes.Answer {
        guard handler.needsState else { return try await handler.run(body) }
        do {
            return try await withDeadline(limit, on: executor) { [gate] in
                try await gate.pass()
                return try await handler.run(body)
            }
        } catch let error as DeadlineExceeded {
            guard let obstacle = await gate.obstacle else { throw error }
            throw PluginError("the plugin is not ready yet: \(obstacle)")
        }
    }

    private func pluginError(_ error: any Error, _ method: String) -> PluginError {
        switch error {
        case let error as PluginError: error
        case is DeadlineExceeded:
            PluginError("\(method) took longer than \(limit); the plugin's log says what it was waiting for")
        case is CancellationError: PluginError("the plugin is stopping; run the command again in a moment")
        default: PluginError("\(error)")
        }
    }

    /// Logs once the answer is on its way: nobody waits for a line to be written.
    private func log(
        _ method: String, _ facts: Logger.Metadata, since start: ContinuousClock.Instant, failure: PluginError?
    ) {
        let taken = start.duration(to: .now)
        executor.loop.execute { [logger] in
            var facts = facts
            facts["method"] = "\(method)"
            facts["ms"] = "\(taken.milliseconds)"
            if let failure {
                facts["error"] = "\(failure)"
                logger.warning("refused", metadata: facts)
            } else {
                logger.info("served", metadata: facts)
            }
        }
    }
}

extension Duration {
    /// With one decimal.
    fileprivate var milliseconds: String {
        let tenths = (self / .microseconds(100)).rounded()
        return "\(tenths / 10)"
    }
}
