// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials
import NIOCore
import NIOHTTP1

/// Time is up: a connection that has no request under way ends.
struct GiveUpEvent: Sendable {}

/// One connection to a plugin socket. Requests come one at a time: the pipeline below keeps a next one back until the
/// answer is written.
final class PluginConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let responder: PluginResponder
    private let connections: Connections
    private var head: HTTPRequestHead?
    /// Nil for one that is too large.
    private var body: Data? = Data()
    private var isAnswering = false
    private var isInputClosed = false

    init(_ responder: PluginResponder, in connections: Connections) {
        self.responder = responder
        self.connections = connections
    }

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
        let request = PluginRequest(verb: head.method.rawValue, path: head.uri, body: body)
        (self.head, body, isAnswering) = (nil, nil, true)
        let here = NIOLoopBound((connection: self, context: context), eventLoop: context.eventLoop)
        connections.carryOut { [responder] in
            let reply = await responder.respond(to: request)
            here.value.connection.write(reply, isLast: head.isLast, here.value.context)
        }
    }

    private func write(_ reply: PluginReply, isLast: Bool, _ context: ChannelHandlerContext) {
        isAnswering = false
        let isLast = isLast || isInputClosed
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
        case is GiveUpEvent: closeUnlessAnswering(context)
        case ChannelEvent.inputClosed:
            isInputClosed = true
            // May come from within the writing of an answer.
            context.flush()
            closeUnlessAnswering(context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    /// What follows a request on its connection does not cost it its answer.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is HTTPParserError, !isAnswering, context.channel.isActive else {
            closeUnlessAnswering(context)
            return
        }
        let problem = PluginError("this is no HTTP: \(error)", status: 400)
        write(PluginReply(problem), isLast: true, context)
    }

    private func closeUnlessAnswering(_ context: ChannelHandlerContext) {
        if !isAnswering { context.close(promise: nil) }
    }
}

extension HTTPRequestHead {
    /// Also where the parser reads no HTTP after it.
    fileprivate var isLast: Bool { !isKeepAlive || method == .CONNECT || headers.contains(name: "upgrade") }
}
