// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials
public import Hummingbird
public import Logging
import NIOCore

/// HTTP around ``PluginRoutes``: limits, deadline, errors as Docker reads them, one log line per request.
public struct PluginResponder: HTTPResponder {
    public typealias Context = BasicRequestContext

    private let routes: PluginRoutes
    private let gate: Gate
    private let limit: Duration
    private let grace: Duration
    let executor: EventLoopTaskExecutor
    private let logger: Logger

    /// Largest request body. A thousand published ports take a tenth of it.
    static let maximumBody = 4 << 20

    /// - Parameters:
    ///   - gate: opens when the daemon has read its state.
    ///   - limit: within which every request is answered.
    ///   - grace: within which requests under way are answered once the process is told to stop. Shorter than what the
    ///     servers get for their end, or nobody is there to send the answer.
    ///   - executor: runs the requests.
    public init(
        routes: PluginRoutes, gate: Gate, limit: Duration, grace: Duration = .seconds(7),
        on executor: EventLoopTaskExecutor, logger: Logger
    ) {
        self.executor = executor
        self.routes = routes
        self.gate = gate
        self.limit = limit
        self.grace = grace
        self.logger = logger
    }

    public func respond(to request: Request, context: Context) async -> Response {
        let start = ContinuousClock.now
        let method = String(request.uri.path.dropFirst())
        do {
            let handler = try handler(for: request)
            let body = try await self.body(of: request)
            logger.debug(
                "request", metadata: ["method": "\(method)", "body": "\(String(decoding: body, as: UTF8.self))"])
            let answer = try await run(handler, body)
            log(method, answer.facts, since: start, failure: nil)
            logger.debug(
                "reply", metadata: ["method": "\(method)", "body": "\(String(decoding: answer.body, as: UTF8.self))"])
            return response(200, answer.body)
        } catch {
            let failure = error as? PluginRoutes.Failure
            let problem = pluginError(failure?.cause ?? error, method)
            log(method, failure?.facts ?? [:], since: start, failure: problem)
            return response(problem.status, errorBody(problem))
        }
    }

    private func handler(for request: Request) throws -> PluginRoutes.Handler {
        guard let handler = routes.handlers[request.uri.path] else {
            // Engines take 404 as "not implemented" where that is allowed.
            throw PluginError("this plugin does not know \(request.uri.path)", status: 404)
        }
        guard request.method == .post else {
            throw PluginError("\(request.uri.path) is called with POST", status: 405)
        }
        return handler
    }

    private func body(of request: Request) async throws -> Data {
        do {
            let buffer = try await request.body.collect(upTo: Self.maximumBody)
            return Data(buffer.readableBytesView)
        } catch let error as HTTPError where error.status == .contentTooLarge {
            throw PluginError("the request is larger than \(Self.maximumBody >> 20) MiB", status: 413)
        } catch is NIOTooManyBytesError {
            throw PluginError("the request is larger than \(Self.maximumBody >> 20) MiB", status: 413)
        }
    }

    private func run(_ handler: PluginRoutes.Handler, _ body: Data) async throws -> PluginRoutes.Answer {
        guard handler.needsState else { return try await handler.run(body) }
        do {
            return try await withDeadline(limit, grace: grace, on: executor) { [gate] in
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

    private func errorBody(_ problem: PluginError) -> Data {
        (try? JSONEncoder().encode(PluginError.Body(message: problem.description))) ?? Data(#"{"Err":"error"}"#.utf8)
    }

    private func response(_ status: Int, _ body: Data) -> Response {
        Response(
            status: .init(code: status), headers: [.contentType: "application/vnd.docker.plugins.v1.2+json"],
            body: .init(byteBuffer: ByteBuffer(bytes: body)))
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
