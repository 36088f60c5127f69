// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// One kept-alive HTTP connection to a plugin socket, as an engine has it. Blocking: one thread each.
final class PluginClient {
    /// An answer of status 200.
    struct Reply {
        fileprivate let body: [UInt8]

        /// The text of the first member called `name`. Enough for replies whose texts hold no quotation marks.
        func text(_ name: String) throws -> String {
            let parts = String(decoding: body, as: UTF8.self).split(separator: "\"", omittingEmptySubsequences: false)
            guard let index = parts.firstIndex(of: Substring(name)), index + 2 < parts.count else {
                throw BenchmarkError("the reply has no \(name): \(String(decoding: body, as: UTF8.self))")
            }
            return String(parts[index + 2])
        }
    }

    private let descriptor: Int32
    /// What was received of the reply so far. Replies are short.
    private let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 16384)
    private var filled = 0

    /// - Throws: where nobody listens on `path`.
    init(socket path: String) throws {
        descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw BenchmarkError.system("make a socket") }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        var patience = timeval(tv_sec: 30, tv_usec: 0)  // longer than any deadline of the daemon
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        // A throwing initialiser of a class whose members are set runs deinit, which closes.
        guard result == 0 else { throw BenchmarkError.system("connect to \(path)") }
    }

    deinit {
        close(descriptor)
        buffer.deallocate()
    }

    /// - Throws: also where the answer is not status 200.
    @discardableResult
    func call(_ method: String, _ body: String) throws -> Reply {
        try send(
            "POST /\(method) HTTP/1.1\r\nHost: \r\nContent-Length: \(body.utf8.count)\r\n"
                + "Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n" + body)
        let (status, reply) = try receive()
        guard status == 200 else {
            throw BenchmarkError("\(method) \(body) was answered \(status): \(String(decoding: reply, as: UTF8.self))")
        }
        return Reply(body: reply)
    }

    private func send(_ text: String) throws {
        var text = text
        try text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)[...]
            while !rest.isEmpty {
                let part = UnsafeRawBufferPointer(rebasing: rest)
                let count = Glibc.send(descriptor, part.baseAddress, part.count, Int32(MSG_NOSIGNAL))
                guard count > 0 else { throw BenchmarkError.system("send a request") }
                rest = rest.dropFirst(count)
            }
        }
    }

    private func receive() throws -> (status: Int, body: [UInt8]) {
        filled = 0
        while true {
            guard filled < buffer.count else { throw BenchmarkError("a reply is longer than \(buffer.count) bytes") }
            let count = recv(descriptor, buffer.baseAddress! + filled, buffer.count - filled, 0)
            guard count > 0 else { throw BenchmarkError("the daemon did not answer") }
            filled += count
            if let reply = try parse() { return reply }
        }
    }

    /// The reply, once all of it is there. In a few passes over the bytes, since a slow client would be measured too.
    private func parse() throws -> (status: Int, body: [UInt8])? {
        let bytes = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<filled])
        guard let start = Self.position(after: "\r\n\r\n", in: bytes) else { return nil }
        let head = UnsafeRawBufferPointer(rebasing: bytes[..<start])
        guard let status = Self.number(after: "/1.1 ", in: head),
            let length = Self.number(after: "\r\ncontent-length: ", in: head)
        else { throw BenchmarkError("this is no reply: \(String(decoding: bytes, as: UTF8.self))") }
        return filled < start + length ? nil : (status, Array(bytes[start..<start + length]))
    }

    /// Whatever the case of letters. `text` begins with none.
    private static func position(after text: StaticString, in bytes: UnsafeRawBufferPointer) -> Int? {
        let text = UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        return (0..<max(0, bytes.count - text.count + 1)).first {
            bytes[$0] == text[0] && strncasecmp(bytes.baseAddress! + $0, text.baseAddress!, text.count) == 0
        }.map { $0 + text.count }
    }

    private static func number(after text: StaticString, in bytes: UnsafeRawBufferPointer) -> Int? {
        guard let start = position(after: text, in: bytes) else { return nil }
        return Int(String(decoding: bytes[start...].prefix { (48...57).contains($0) }, as: UTF8.self))
    }
}
