// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Glibc

/// Raw bytes over a unix socket. Its calls block: use it on a thread of its own (``onThread(_:)``).
public final class UnixSocket: @unchecked Sendable {
    // Only the thread that uses it touches it.
    private let descriptor: Int32

    public struct Failure: Error, CustomStringConvertible {
        public let description: String
        init(_ what: String) { description = "\(what): \(String(cString: strerror(errno)))" }
    }

    private init(_ descriptor: Int32) {
        self.descriptor = descriptor
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { Glibc.close(descriptor) }

    public static func connect(_ path: String) throws -> UnixSocket {
        let socket = UnixSocket(Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
        guard named(path, { Glibc.connect(socket.descriptor, $0, $1) }) == 0 else { throw Failure("connect \(path)") }
        return socket
    }

    public static func listen(_ path: String) throws -> UnixSocket {
        let socket = UnixSocket(Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
        guard named(path, { Glibc.bind(socket.descriptor, $0, $1) }) == 0, Glibc.listen(socket.descriptor, 8) == 0
        else { throw Failure("listen on \(path)") }
        return socket
    }

    public func accept() throws -> UnixSocket {
        let connection = Glibc.accept(descriptor, nil, nil)
        guard connection >= 0 else { throw Failure("accept") }
        return UnixSocket(connection)
    }

    /// Sends `body` to an HTTP server.
    public func post(_ path: String, _ body: String) throws {
        try write("POST /\(path) HTTP/1.1\r\nHost: plugin\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }

    public func write(_ text: String) throws {
        var rest = ArraySlice(text.utf8)
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw Failure("write") }
            rest = rest.dropFirst(count)
        }
    }

    /// Says that nothing more will be written.
    public func finishWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// What has come until `isComplete`, or the other end closed.
    public func read(until isComplete: (String) -> Bool) throws -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !isComplete(String(decoding: bytes, as: UTF8.self)) {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count >= 0 else { throw Failure("read") }
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// One HTTP reply with a Content-Length.
    public func readHTTPReply() throws -> (status: Int, text: String) {
        let text = try read { text in
            guard let end = text.range(of: "\r\n\r\n") else { return false }
            let length = Self.contentLength(text[..<end.lowerBound])
            return text[end.upperBound...].utf8.count >= length
        }
        let parts = text.components(separatedBy: "\r\n\r\n")
        let status = Int(text.split(separator: " ").dropFirst().first ?? "") ?? 0
        return (status, parts.dropFirst().joined())
    }

    private static func contentLength(_ head: Substring) -> Int {
        let line = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
        return line.flatMap { Int($0.split(separator: ":")[1].trimmingCharacters(in: .whitespaces)) } ?? 0
    }

    private static func named(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}

/// A folder that is gone after `body`.
public func withTemporaryFolder<Value>(_ body: (String) async throws -> Value) async throws -> Value {
    let folder = FileManager.default.temporaryDirectory.appending(path: "plugin-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try await body(folder.path)
}
