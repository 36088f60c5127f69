// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials
import NIOCore
import NIOHTTP1

/// Requests under way are to be given up.
struct GiveUpEvent: Sendable {}

/// One connection to a plugin socket. Requests come one at a time: the pipeline below keeps a next one back until the
/// answer is written.
final class PluginConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let responder: PluginResponder
    private var head: HTTPRequestHead?
    /// Nil for one that is too large.
    private var body: Data? = Data()
    private var work: Task<Void, Never>?
    private var isInputClosed = false

    init(_ responder: PluginResponder) { self.responder = responder }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): (self.head, body) = (head, Data())
        case .body(let part): add(part)
        case .end: respond(context)
        }
    }

    /// The whole of a request that is too large is read, and forgotten: a client reads no answer while it still writes.
    private func add(_ part: ByteBuffer) {
        guard let size = body?.count, size + part.readableBytes <= PluginResponder.maximumBody else {
            body = nil
            return
        }
        body?.append(contentsOf: part.readableBytesView)
    }

    private func respond(_ context: ChannelHandlerContext) {
        guard let head else { return }
        let here = NIOLoopBound((connection: self, context: context), eventLoop: context.eventLoop)
        work = Task(executorPreference: responder.executor) { [responder, body] in
            let reply = await responder.respond(
                to: PluginRequest(verb: head.method.rawValue, path: head.uri, body: body))
            here.value.connection.write(reply, keepAlive: head.isKeepAlive, here.value.context)
        }
        body = nil
    }

    private func write(_ reply: PluginReply, keepAlive: Bool, _ context: ChannelHandlerContext) {
        work = nil
        let isLast = !keepAlive || isInputClosed
        var headers: HTTPHeaders = [
            "Content-Type": "application/vnd.docker.plugins.v1.2+json", "Content-Length": "\(reply.body.count)",
        ]
        if isLast { headers.add(name: "Connection", value: "close") }
        let head = HTTPResponseHead(
            version: .http1_1, status: HTTPResponseStatus(statusCode: reply.status), headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: reply.body)))), promise: nil)
        let written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
        if isLast { written.assumeIsolated().whenComplete { _ in context.close(promise: nil) } }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is GiveUpEvent: work?.cancel()
        case ChannelEvent.inputClosed:
            isInputClosed = true
            if work == nil { context.close(promise: nil) }
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    /// What cannot be parsed has been answered below.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
