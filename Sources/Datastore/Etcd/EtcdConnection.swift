// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import NIOCore
import NIOHTTP2
import NIOPosix
import NIOSSL
import Synchronization

/// A connection to one member, for any number of calls at once. Made by ``connect(to:tls:on:limit:)``.
final class EtcdConnection: Sendable {
    let endpoint: EtcdSettings.Endpoint
    private let channel: any Channel
    private let inbox: CallInbox
    private let handler: NIOLoopBound<CallHandler>

    private init(
        endpoint: EtcdSettings.Endpoint, channel: any Channel, inbox: CallInbox, handler: NIOLoopBound<CallHandler>
    ) {
        self.endpoint = endpoint
        self.channel = channel
        self.inbox = inbox
        self.handler = handler
    }

    /// Why it takes no calls any more; `nil` while it does.
    var closedBecause: CallFailure? { inbox.closedBecause }

    // MARK: Calls

    /// Answers by `deadline`, or promptly when the task is cancelled.
    func unary(
        _ method: EtcdMethod, _ message: ByteBuffer, token: String?, until deadline: NIODeadline
    ) async -> Result<ByteBuffer, CallFailure> {
        let abandonment = Abandonment()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let call = Call(
                    method, token: token, message: message, deadline: deadline, receiver: .one(continuation))
                abandonment.arm(call, on: self)
                submit(call)
            }
        } onCancel: {
            abandonment.abandon()
        }
    }

    /// The answers to `message`. The call ends when the consumer does.
    ///
    /// - Parameter bounded: `deadline` is that of the whole stream, not only of its first answer.
    func stream(
        _ method: EtcdMethod, _ message: ByteBuffer, token: String?, until deadline: NIODeadline, bounded: Bool
    ) -> AsyncThrowingStream<ByteBuffer, any Error> {
        AsyncThrowingStream { continuation in
            let call = Call(
                method, token: token, message: message, deadline: deadline,
                receiver: .many(continuation, bounded: bounded))
            continuation.onTermination = { end in if case .cancelled = end { self.abandon(call) } }
            submit(call)
        }
    }

    private func submit(_ call: Call) {
        switch inbox.add(call) {
        case .queued: break
        case .wake: channel.eventLoop.execute { [handler] in handler.value.drain() }
        case .refused(let failure): call.fail(failure)
        }
    }

    fileprivate func abandon(_ call: Call) {
        call.isAbandoned.store(true, ordering: .releasing)
        channel.eventLoop.execute { [handler] in handler.value.abandon(call) }
    }

    // MARK: End

    /// Ends at once; open calls fail with `reason`.
    func close(_ reason: CallFailure) {
        inbox.close(reason.beforeSending)
        channel.eventLoop.execute { [handler] in handler.value.shutDown(reason) }
    }

    /// Ends after the open unary calls; watches end at once and move elsewhere.
    func leave(_ reason: CallFailure) {
        inbox.close(reason.beforeSending)
        channel.eventLoop.execute { [handler] in handler.value.leave(reason) }
    }

    var closed: EventLoopFuture<Void> { channel.closeFuture }

    // MARK: Beginning

    /// Connects, shakes hands, and waits until the peer has proved to be awake. Ends promptly when cancelled.
    static func connect(
        to endpoint: EtcdSettings.Endpoint, tls: EtcdTLS, on eventLoop: any EventLoop, limit: TimeAmount
    ) async throws(CallFailure) -> EtcdConnection {
        do {
            let context = endpoint.usesTLS ? try tls.context() : nil
            let ready = eventLoop.makePromise(of: Void.self)
            // All of it on the loop, the making of the socket included: the loop's thread may have a network
            // namespace of its own.
            let attempt = eventLoop.flatSubmit { begin(to: endpoint, context, on: eventLoop, limit: limit, ready) }
            return try await withTaskCancellationHandler {
                try await attempt.get()
            } onCancel: {
                ready.fail(CallFailure.cancelled)
            }
        } catch let failure as CallFailure where failure.cause != .connection(lasting: false) {
            throw CallFailure(failure.cause, at: endpoint, failure.reason, mayHaveRun: false)
        } catch {
            throw ConnectFailure.describe(error, at: endpoint, tls)
        }
    }

    private static func begin(
        to endpoint: EtcdSettings.Endpoint, _ context: NIOSSLContext?, on eventLoop: any EventLoop, limit: TimeAmount,
        _ ready: EventLoopPromise<Void>
    ) -> EventLoopFuture<EtcdConnection> {
        let inbox = CallInbox()
        let handler = NIOLoopBound(CallHandler(endpoint, inbox: inbox, ready: ready), eventLoop: eventLoop)
        let timer = eventLoop.scheduleTask(in: limit) { ready.fail(ConnectFailure.silent) }
        ready.futureResult.whenComplete { _ in timer.cancel() }
        let channel = connect(bootstrap(for: endpoint, context, handler, limit: limit), to: endpoint)
        channel.whenFailure { ready.fail($0) }
        ready.futureResult.whenFailure { _ in channel.whenSuccess { $0.close(promise: nil) } }
        return ready.futureResult.flatMap { channel }
            .map { EtcdConnection(endpoint: endpoint, channel: $0, inbox: inbox, handler: handler) }
    }

    private static func bootstrap(
        for endpoint: EtcdSettings.Endpoint, _ context: NIOSSLContext?, _ handler: NIOLoopBound<CallHandler>,
        limit: TimeAmount
    ) -> ClientBootstrap {
        ClientBootstrap(group: handler.eventLoop)
            .connectTimeout(limit)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try addHandlers(to: channel, endpoint, context, handler.value)
                }
            }
    }

    private static func connect(
        _ bootstrap: ClientBootstrap, to endpoint: EtcdSettings.Endpoint
    ) -> EventLoopFuture<any Channel> {
        if let address = try? SocketAddress(ipAddress: endpoint.host, port: endpoint.port) {
            return bootstrap.connect(to: address)
        }
        return bootstrap.connect(host: endpoint.host, port: endpoint.port)
    }

    private static func addHandlers(
        to channel: any Channel, _ endpoint: EtcdSettings.Endpoint, _ context: NIOSSLContext?, _ calls: CallHandler
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        if let context {
            // An address is compared with the certificate's, but may not be sent as a server name.
            let isAddress = (try? SocketAddress(ipAddress: endpoint.host, port: 0)) != nil
            let name = isAddress ? nil : endpoint.host
            try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: name))
        }
        try pipeline.addHandler(FirstBytes())
        try pipeline.addHandler(NIOHTTP2Handler(mode: .client, frameDelegate: nil, connectionConfiguration: http2))
        try pipeline.addHandler(calls)
    }

    private static let http2 = {
        var configuration = NIOHTTP2Handler.ConnectionConfiguration()
        configuration.initialSettings = [
            HTTP2Setting(parameter: .enablePush, value: 0),
            HTTP2Setting(parameter: .initialWindowSize, value: CallHandler.streamWindow),
        ]
        // grpc-go sends a PING with each answer to measure the line; the standard limit of 200 in 30 s would end the
        // connection after 200 calls. Counted over a shorter time, the same memory allows 200,000 in a second.
        configuration.controlFrameRateLimit.maximumCount = 2_000
        configuration.controlFrameRateLimit.windowLength = .milliseconds(10)
        configuration.maximumConnectionGlitches = 1_000_000
        // We make our headers, and look at the few of etcd's that matter.
        configuration.headerBlockValidation = .disabled
        configuration.contentLengthValidation = .disabled
        return configuration
    }()
}

/// Brings a task's cancellation to its call, whichever of the two is there first.
private final class Abandonment: Sendable {
    private enum State {
        case waiting
        case armed(Call, EtcdConnection)
        case abandoned
    }

    private let state = Mutex(State.waiting)

    /// Before the call is submitted.
    func arm(_ call: Call, on connection: EtcdConnection) {
        let isAbandoned = state.withLock { state in
            if case .abandoned = state { return true }
            state = .armed(call, connection)
            return false
        }
        if isAbandoned { call.isAbandoned.store(true, ordering: .releasing) }
    }

    func abandon() {
        let previous = state.withLock { state in
            defer { state = .abandoned }
            return state
        }
        if case .armed(let call, let connection) = previous { connection.abandon(call) }
    }
}

extension CallFailure {
    static let cancelled = CallFailure(.cancelled, at: nil, "the call was cancelled", mayHaveRun: false)
    static let closed = CallFailure(
        .closed, at: nil, "the connection to etcd was closed by this program", mayHaveRun: true)
}
