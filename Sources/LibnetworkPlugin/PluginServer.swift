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
    /// answers.
    ///
    /// - Throws: where the socket cannot be listened on.
    public func run() async throws {
        let connections = Connections()
        let listener = try await listen(connections)
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                try? await listener.closeFuture.get()
                connections.quiesce()
                await responder.stop()
                let timer = listener.eventLoop.scheduleTask(in: .init(grace)) { connections.giveUp() }
                await connections.ended()
                timer.cancel()
            } onGracefulShutdown: {
                listener.close(promise: nil)
            }
        } onCancel: {
            listener.close(promise: nil)
            connections.giveUp()
            connections.close()
        }
    }

    private func listen(_ connections: Connections) async throws -> any Channel {
        let bootstrap = ServerBootstrap(group: responder.executor.loop)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { [responder] channel in
                channel.eventLoop.makeCompletedFuture {
                    connections.add(channel)
                    let pipeline = channel.pipeline.syncOperations
                    // The headers of our answers are our own.
                    try pipeline.configureHTTPServerPipeline(withOutboundHeaderValidation: false)
                    try pipeline.addHandler(PluginConnection(responder))
                }
            }
        do {
            return try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        } catch {
            throw PluginError("cannot listen on \(path): \(error)")
        }
    }
}

/// The open connections of a socket. None is added once its listener has closed: both live on one event loop.
private final class Connections: Sendable {
    private let channels = Mutex<[ObjectIdentifier: any Channel]>([:])

    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        channels.withLock { $0[id] = channel }
        channel.closeFuture.whenComplete { [self] _ in channels.withLock { $0[id] = nil } }
    }

    /// The last requests: each connection ends once it has none.
    func quiesce() { tell(ChannelShouldQuiesceEvent()) }

    /// Requests under way are answered at once, with a refusal.
    func giveUp() { tell(GiveUpEvent()) }

    func close() { for channel in all { channel.close(promise: nil) } }

    func ended() async { for channel in all { try? await channel.closeFuture.get() } }

    private func tell(_ event: some Sendable) {
        for channel in all { channel.pipeline.fireUserInboundEventTriggered(event) }
    }

    private var all: [any Channel] { channels.withLock { Array($0.values) } }
}
