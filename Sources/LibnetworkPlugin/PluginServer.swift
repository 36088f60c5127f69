// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import NIOCore
import NIOHTTP1
import NIOPosix
public import ServiceLifecycle
import Synchronization

/// One plugin socket: HTTP/1.1 on a unix socket, read and answered on the event loop that carries the requests out.
public struct PluginServer: Service {
    private let path: String
    private let responder: PluginResponder
    private let grace: Duration

    /// - Parameters:
    ///   - path: of the socket. A stale file there is replaced. The file's mode is the umask's business: set it before
    ///     this runs, so that there is no moment with another mode.
    ///   - grace: within which requests under way are answered once the process is told to stop. Shorter than what the
    ///     servers get for their end, or nobody is there to send the answer.
    public init(socket path: String, responder: PluginResponder, grace: Duration = .seconds(7)) {
        self.path = path
        self.responder = responder
        self.grace = grace
    }

    /// Serves until told to stop. Then nobody is let in any more, idle connections end, and the others do after their
    /// answers. A request whose client is gone is carried out, too.
    ///
    /// - Throws: where the socket cannot be listened on.
    public func run() async throws {
        let connections = Connections(on: responder.executor)
        let listener = try await listen(connections)
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                try? await listener.closeFuture.get()
                connections.quiesce()
                await responder.stop()
                connections.end(within: Task.isCancelled ? .zero : grace)
                await connections.ended()
            } onGracefulShutdown: {
                listener.close(promise: nil)
            }
        } onCancel: {
            listener.close(promise: nil)
            connections.end(within: .zero)
        }
    }

    private func listen(_ connections: Connections) async throws -> any Channel {
        let bootstrap = ServerBootstrap(group: responder.executor.loop)
            // A unix socket refuses whoever comes while this many wait.
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { [responder] channel in
                channel.eventLoop.makeCompletedFuture {
                    connections.add(channel)
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(BackPressureHandler())
                    // The headers of our answers are our own, and so are refusals.
                    try pipeline.configureHTTPServerPipeline(
                        withErrorHandling: false, withOutboundHeaderValidation: false)
                    try pipeline.addHandler(PluginConnection(responder, in: connections))
                }
            }
        do {
            return try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        } catch {
            throw PluginError("cannot listen on \(path): \(error)")
        }
    }
}

/// A socket's open connections, and its requests under way, which outlive a connection that breaks. No connection is
/// added once the listener has closed: both live on one event loop.
final class Connections: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var requests: [Int: Task<Void, Never>] = [:]
        var next = 0
    }

    private let executor: EventLoopTaskExecutor
    private let state = Mutex(State())

    init(on executor: EventLoopTaskExecutor) { self.executor = executor }

    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        state.withLock { $0.channels[id] = channel }
        channel.closeFuture.whenComplete { [self] _ in state.withLock { $0.channels[id] = nil } }
    }

    func carryOut(_ request: @escaping @Sendable () async -> Void) {
        state.withLock { state in
            let number = state.next
            state.next += 1
            state.requests[number] = Task(executorPreference: executor) {
                await request()
                self.state.withLock { $0.requests[number] = nil }
            }
        }
    }

    /// The last requests: each connection ends once it has none.
    func quiesce() { tell(ChannelShouldQuiesceEvent()) }

    /// What is still under way after `grace` is refused, and who does not read the refusal is cut off.
    func end(within grace: Duration) {
        executor.loop.scheduleTask(in: .init(grace)) { [self] in
            let requests = requests
            for request in requests { request.cancel() }
            tell(GiveUpEvent())
            Task {
                for request in requests { await request.value }
                executor.loop.scheduleTask(in: .milliseconds(300)) { self.tell(GiveUpEvent()) }
            }
        }
    }

    func ended() async {
        for channel in channels { try? await channel.closeFuture.get() }
        for request in requests { await request.value }
    }

    private func tell(_ event: some Sendable) {
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(event) }
    }

    private var requests: [Task<Void, Never>] { state.withLock { Array($0.requests.values) } }
    private var channels: [any Channel] { state.withLock { Array($0.channels.values) } }
}
