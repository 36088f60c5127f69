// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import NIOCore
import NIOHPACK
import NIOHTTP2
import Synchronization

/// gRPC on the raw frames of one HTTP/2 connection: a stream for each call, no channel for each stream.
///
/// Lives on its connection's event loop. `NIOHTTP2Handler` before it keeps the protocol (PING and SETTINGS answers,
/// outbound flow control, limits of the peer); this one numbers streams, gathers answers, opens the inbound windows,
/// and ends calls at their deadline.
final class CallHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private struct OpenCall {
        let call: Call
        var deadline: NIODeadline?
        var received = ByteBuffer()
        /// Bytes the peer may not send again until we open its window by them.
        var spentWindow = 0
    }

    /// Bytes the peer may send ahead, for one stream and for all; answers of 1,000 blocks are about 2 MB.
    static let streamWindow = 4 << 20
    static let connectionWindow = 16 << 20
    /// An answer longer than this is not etcd's.
    static let longestAnswer = 256 << 20
    /// A gRPC deadline for etcd to give a request up; ours come sooner.
    static let serverTimeout = "10S"

    private let endpoint: EtcdSettings.Endpoint
    private let inbox: CallInbox
    private let ready: EventLoopPromise<Void>
    private let headers: [EtcdMethod: HPACKHeaders]
    private var context: ChannelHandlerContext?
    private var calls: [HTTP2StreamID: OpenCall] = [:]
    private var unaryCalls = 0
    private var nextStream = HTTP2StreamID(1)
    private var spentWindow = 0
    private var liveness = Liveness(now: .now())
    private var slowTicks: RepeatedTask?
    private var isTicking = false
    private var isLeaving = false

    /// - Parameter ready: Completed by the peer's SETTINGS: proof that somebody speaks HTTP/2 there and is awake.
    init(_ endpoint: EtcdSettings.Endpoint, inbox: CallInbox, ready: EventLoopPromise<Void>) {
        self.endpoint = endpoint
        self.inbox = inbox
        self.ready = ready
        headers = Dictionary(
            uniqueKeysWithValues: EtcdMethod.allCases.map { ($0, CallHandler.headers(of: $0, at: endpoint)) })
    }

    private static func headers(of method: EtcdMethod, at endpoint: EtcdSettings.Endpoint) -> HPACKHeaders {
        var headers: HPACKHeaders = [
            ":method": "POST", ":scheme": endpoint.usesTLS ? "https" : "http", ":path": method.rawValue,
            ":authority": endpoint.authority, "te": "trailers", "content-type": "application/grpc",
            "user-agent": "calico-libnetwork",
        ]
        // A member that has lost its leader then says so at once, and ends watches, which would stay silent.
        if method != .status { headers.add(name: "hasleader", value: "true") }
        if method != .watch { headers.add(name: "grpc-timeout", value: serverTimeout) }
        return headers
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelActive(context: ChannelHandlerContext) {
        write(.windowUpdate(windowSizeIncrement: CallHandler.connectionWindow - 65_535), on: .rootStream)
        context.flush()
        liveness = Liveness(now: .now())
        let loopBound = NIOLoopBound(self, eventLoop: context.eventLoop)
        slowTicks = context.eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in
            loopBound.value.tick()
        }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(connectionFailure("closed the connection"))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(connectionFailure("closed the connection"))
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? NIOHTTP2Errors.StreamError {
            return finish(error.streamID, connectionFailure("broke the protocol: \(error.baseError)"))
        }
        ready.fail(error)
        end(connectionFailure("the connection broke: \(error)"))
        context.close(promise: nil)
    }

    /// Fails everything that is open and takes nothing more.
    private func end(_ failure: CallFailure) {
        slowTicks?.cancel()
        slowTicks = nil
        inbox.close(failure.beforeSending)
        ready.fail(failure)
        let open = calls
        calls = [:]
        unaryCalls = 0
        for call in open.values { call.call.fail(failure) }
    }

    /// Ends at once.
    func shutDown(_ failure: CallFailure) {
        end(failure)
        context?.close(promise: nil)
    }

    /// Takes no more calls, ends watches so that they move to another member, and closes after the last answer.
    func leave(_ failure: CallFailure) {
        isLeaving = true
        inbox.close(failure.beforeSending)
        for (stream, call) in calls where !call.call.isUnary { reset(stream, failure) }
        closeWhenDone()
        context?.flush()
    }

    private func closeWhenDone() {
        if isLeaving && calls.isEmpty { context?.close(promise: nil) }
    }

    private func connectionFailure(_ reason: String, mayHaveRun: Bool = true) -> CallFailure {
        CallFailure(.connection(lasting: false), at: endpoint, reason, mayHaveRun: mayHaveRun)
    }

    // MARK: Calls out

    /// Sends what waits, in one write to the socket.
    func drain() {
        for call in inbox.takeAll() { start(call) }
        context?.flush()
        tickSoon()
    }

    private func start(_ call: Call) {
        guard !call.isAbandoned.load(ordering: .acquiring) else {
            return call.fail(CallFailure(.cancelled, at: endpoint, "the call was cancelled", mayHaveRun: false))
        }
        guard let context, !isLeaving, nextStream < HTTP2StreamID.maxID else {
            return call.fail(connectionFailure("the connection takes no more calls", mayHaveRun: false))
        }
        let stream = nextStream
        nextStream = stream.advanced(by: 2)
        calls[stream] = OpenCall(call: call, deadline: call.deadline)
        if call.isUnary { unaryCalls += 1 }
        var headers = headers[call.method] ?? [:]
        if let token = call.token { headers.add(name: "token", value: token) }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenFailure { error in
            self.finish(stream, self.connectionFailure("could not send: \(error)", mayHaveRun: false))
        }
        write(.headers(.init(headers: headers)), on: stream, promise: written)
        write(.data(.init(data: .byteBuffer(call.message), endStream: call.isUnary)), on: stream)
        // 2^31 streams to a connection (RFC 9113, 5.1.1): a day of the highest rate. The next one begins at 1 again.
        if nextStream > HTTP2StreamID(Int(Int32.max) - 1_000) { leave(connectionFailure("the connection is worn out")) }
    }

    /// Nobody waits for this call any more.
    func abandon(_ call: Call) {
        guard let stream = calls.first(where: { $0.value.call === call })?.key else { return }
        reset(stream, CallFailure(.cancelled, at: endpoint, "the call was cancelled", mayHaveRun: true))
        context?.flush()
    }

    private func reset(_ stream: HTTP2StreamID, _ failure: CallFailure) {
        // First: the frame makes an event of the stream's end, which would give its own reason.
        finish(stream, failure)
        write(.rstStream(.cancel), on: stream)
    }

    private func write(
        _ payload: HTTP2Frame.FramePayload, on stream: HTTP2StreamID, promise: EventLoopPromise<Void>? = nil
    ) {
        guard let context else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        context.write(wrapOutboundOut(HTTP2Frame(streamID: stream, payload: payload)), promise: promise)
    }

    // MARK: Answers in

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.payload {
        case .data(let payload):
            liveness.heard(at: .now(), data: true)
            if case .byteBuffer(let bytes) = payload.data { take(bytes, on: frame.streamID) }
            if payload.endStream { finish(frame.streamID, connectionFailure("ended an answer halfway")) }
        case .headers(let payload):
            liveness.heard(at: .now(), data: true)
            take(payload.headers, on: frame.streamID, isLast: payload.endStream)
        case .rstStream(let code):
            finish(frame.streamID, resetFailure(code))
        case .goAway(let last, let code, _):
            takeGoAway(last: last, code)
        case .settings:
            liveness.heard(at: .now(), data: false)
            ready.succeed(())
        default:
            liveness.heard(at: .now(), data: false)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
        context.fireChannelReadComplete()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // A stream that ended otherwise than by its own frames, such as one past the last of a GOAWAY.
        if let event = event as? StreamClosedEvent, let reason = event.reason {
            finish(event.streamID, resetFailure(reason))
        }
        context.fireUserInboundEventTriggered(event)
    }

    private func resetFailure(_ code: HTTP2ErrorCode) -> CallFailure {
        connectionFailure("reset the call (\(code))", mayHaveRun: code != .refusedStream)
    }

    private func takeGoAway(last: HTTP2StreamID, _ code: HTTP2ErrorCode) {
        // RFC 9113, 6.8: streams past the last one were not and will not be processed.
        let unprocessed = connectionFailure("is shutting down", mayHaveRun: false)
        for stream in calls.keys where stream > last { finish(stream, unprocessed) }
        leave(connectionFailure(code == .noError ? "is shutting down" : "ends the connection (\(code))"))
    }

    private func take(_ headers: HPACKHeaders, on stream: HTTP2StreamID, isLast: Bool) {
        guard calls[stream] != nil else { return }
        if let status = headers.first(name: "grpc-status").flatMap({ Int($0) }), isLast {
            return finish(stream, status: status, headers.first(name: "grpc-message") ?? "")
        }
        let http = headers.first(name: ":status")
        if http == "200", !isLast { return }
        let words = "HTTP status \(http ?? "none")"
        if let status = EtcdRefusal.status(fromHTTP: http) {
            return finish(stream, status: status, "an answer without gRPC's status (\(words)), perhaps from a proxy")
        }
        let reason = "is not an etcd v3 server (\(words)); check the address and port"
        finish(stream, CallFailure(.connection(lasting: true), at: endpoint, reason, mayHaveRun: false))
    }

    private func finish(_ stream: HTTP2StreamID, status: Int, _ message: String) {
        guard status == 0 else {
            let text = percentDecoded(message)
            return finish(
                stream,
                CallFailure(
                    .status(status), at: endpoint, text, mayHaveRun: EtcdRefusal.mayHaveRun(status, text)))
        }
        guard var open = remove(stream) else { return }
        guard case .one(let continuation) = open.call.receiver else {
            return open.call.fail(connectionFailure("ended the stream"))
        }
        guard let message = open.received.readFramedMessage() else {
            return open.call.fail(connectionFailure("answered with nothing"))
        }
        continuation.resume(returning: .success(message))
    }

    private func finish(_ stream: HTTP2StreamID, _ failure: CallFailure) {
        remove(stream)?.call.fail(failure)
    }

    private func remove(_ stream: HTTP2StreamID) -> OpenCall? {
        guard let open = calls.removeValue(forKey: stream) else { return nil }
        if open.call.isUnary { unaryCalls -= 1 }
        closeWhenDone()
        return open
    }

    private func take(_ bytes: ByteBuffer, on stream: HTTP2StreamID) {
        openWindow(by: bytes.readableBytes)
        guard var open = calls[stream] else { return }
        // Emptied first: a buffer with two owners would be copied by the append.
        calls[stream]?.received = ByteBuffer()
        if open.received.readableBytes == 0 {
            open.received = bytes
        } else {
            open.received.writeImmutableBuffer(bytes)
        }
        open.spentWindow += bytes.readableBytes
        if open.spentWindow >= CallHandler.streamWindow / 4 {
            write(.windowUpdate(windowSizeIncrement: open.spentWindow), on: stream)
            open.spentWindow = 0
        }
        guard open.received.readableBytes <= CallHandler.longestAnswer else {
            return reset(stream, connectionFailure("answered with more than \(CallHandler.longestAnswer >> 20) MiB"))
        }
        if case .many(let continuation, let bounded) = open.call.receiver {
            while let message = open.received.readFramedMessage() {
                continuation.yield(message)
                if !bounded { open.deadline = nil }
            }
        }
        calls[stream] = open
    }

    private func openWindow(by bytes: Int) {
        spentWindow += bytes
        guard spentWindow >= CallHandler.connectionWindow / 4 else { return }
        write(.windowUpdate(windowSizeIncrement: spentWindow), on: .rootStream)
        spentWindow = 0
    }

    // MARK: Time

    /// Deadlines are looked at every tenth of a second while unary calls are open: a timer for each would cost more
    /// than the call.
    private func tickSoon() {
        guard !isTicking, unaryCalls > 0, let context else { return }
        isTicking = true
        let loopBound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: .milliseconds(100)) {
            loopBound.value.isTicking = false
            loopBound.value.tick()
            loopBound.value.tickSoon()
        }
    }

    private func tick() {
        let now = NIODeadline.now()
        for (stream, open) in calls {
            guard let deadline = open.deadline, deadline <= now else { continue }
            reset(stream, CallFailure(.deadline, at: endpoint, "did not answer in time", mayHaveRun: true))
        }
        switch liveness.check(at: now, idle: calls.isEmpty) {
        case .fine: break
        case .ping: write(.ping(HTTP2PingData(withInteger: 0), ack: false), on: .rootStream)
        case .dead: shutDown(connectionFailure("stopped answering"))
        }
        context?.flush()
    }
}

extension CallFailure {
    /// The same reason, for a call that was not sent.
    var beforeSending: CallFailure { CallFailure(cause, at: endpoint, reason, mayHaveRun: false) }
}
