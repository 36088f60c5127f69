// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import NIOCore
import SwiftProtobuf
import Synchronization

/// The calls we make; the raw value is gRPC's path.
enum EtcdMethod: String, CaseIterable {
    case range = "/etcdserverpb.KV/Range"
    case transaction = "/etcdserverpb.KV/Txn"
    case watch = "/etcdserverpb.Watch/Watch"
    case authenticate = "/etcdserverpb.Auth/Authenticate"
    case status = "/etcdserverpb.Maintenance/Status"
}

/// One gRPC call, from its submission until its answer.
final class Call: Sendable {
    enum Receiver: Sendable {
        case one(CheckedContinuation<Result<ByteBuffer, CallFailure>, Never>)
        /// A stream's first message must come before the deadline; `bounded`: the last one, too.
        case many(AsyncThrowingStream<ByteBuffer, any Error>.Continuation, bounded: Bool)
    }

    let method: EtcdMethod
    let token: String?
    /// With gRPC's prefix.
    let message: ByteBuffer
    let deadline: NIODeadline
    let receiver: Receiver
    /// Nobody waits any more.
    let isAbandoned = Atomic(false)

    init(_ method: EtcdMethod, token: String?, message: ByteBuffer, deadline: NIODeadline, receiver: Receiver) {
        self.method = method
        self.token = token
        self.message = message
        self.deadline = deadline
        self.receiver = receiver
    }

    /// gRPC ends the request of a unary call at once; a watch keeps its side open, since closing it ends the watch.
    var isUnary: Bool { if case .one = receiver { true } else { false } }

    func fail(_ failure: CallFailure) {
        switch receiver {
        case .one(let continuation): continuation.resume(returning: .failure(failure))
        case .many(let continuation, _): continuation.finish(throwing: failure)
        }
    }
}

/// Why a call brought no answer.
struct CallFailure: Error {
    enum Cause: Hashable, Sendable {
        /// The server answered with this gRPC status (grpc.io/docs/guides/status-codes).
        case status(Int)
        /// The connection could not be made or broke. `lasting`: and will not before a person does something.
        case connection(lasting: Bool)
        case deadline
        case cancelled
        /// The store was closed.
        case closed
    }

    let cause: Cause
    let endpoint: EtcdSettings.Endpoint?
    /// What happened and, where there is something, what to do.
    let reason: String
    /// False only where etcd has not carried the request out and never will.
    let mayHaveRun: Bool

    init(_ cause: Cause, at endpoint: EtcdSettings.Endpoint?, _ reason: String, mayHaveRun: Bool) {
        self.cause = cause
        self.endpoint = endpoint
        self.reason = reason
        self.mayHaveRun = mayHaveRun
    }

    var sentence: String { endpoint.map { "\($0): \(reason)" } ?? reason }
}

extension ByteBuffer {
    /// gRPC's framing: a byte that says "not compressed" and four of length, then the message.
    init(framing message: some Message) {
        // Serializing fails only for messages over 2 GiB; etcd refuses 1.5 MiB.
        let bytes: [UInt8] = (try? message.serializedBytes()) ?? []
        self = ByteBufferAllocator().buffer(capacity: bytes.count + 5)
        writeInteger(UInt8(0))
        writeInteger(UInt32(bytes.count))
        writeBytes(bytes)
    }

    /// The next whole message, without its framing; `nil` until all of it is here.
    mutating func readFramedMessage() -> ByteBuffer? {
        guard let length = getInteger(at: readerIndex + 1, as: UInt32.self), readableBytes >= Int(length) + 5 else {
            return nil
        }
        moveReaderIndex(forwardBy: 5)
        return readSlice(length: Int(length))
    }
}

extension Message {
    /// `nil` where the bytes are no such message.
    init?(_ buffer: ByteBuffer) {
        guard let message = try? Self(serializedBytes: Array(buffer.readableBytesView)) else { return nil }
        self = message
    }
}

/// gRPC percent-encodes its error texts.
func percentDecoded(_ text: String) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
        let digits = String(decoding: rest.prefix(2), as: UTF8.self)
        if byte == UInt8(ascii: "%"), digits.utf8.count == 2, let decoded = UInt8(digits, radix: 16) {
            bytes.append(decoded)
            rest = rest.dropFirst(2)
        } else {
            bytes.append(byte)
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}
