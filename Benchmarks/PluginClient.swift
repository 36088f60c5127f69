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
    private var received: [UInt8] = []
    private var chunk = [UInt8](repeating: 0, count: 4096)

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

    deinit { close(descriptor) }

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
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw BenchmarkError.system("send a request") }
            rest = rest.dropFirst(count)
        }
    }

    private func receive() throws -> (status: Int, body: [UInt8]) {
        received.removeAll(keepingCapacity: true)
        while true {
            if let reply = try parse() { return reply }
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { throw BenchmarkError("the daemon did not answer") }
            received += chunk[..<count]
        }
    }

    /// The reply, once all of it is there.
    private func parse() throws -> (status: Int, body: [UInt8])? {
        let end: [UInt8] = [13, 10, 13, 10]
        guard let start = received.indices.dropLast(3).first(where: { received[$0..<$0 + 4].elementsEqual(end) }) else {
            return nil
        }
        let lines = String(decoding: received[..<start], as: UTF8.self).lowercased().split(separator: "\r\n")
        let words = lines.first?.split(separator: " ") ?? []
        let length = lines.first { $0.hasPrefix("content-length:") }?.split(separator: " ").last
        guard words.count > 1, let status = Int(words[1]), let length, let length = Int(length) else {
            throw BenchmarkError("this is no reply: \(String(decoding: received, as: UTF8.self))")
        }
        let body = received[(start + 4)...]
        return body.count < length ? nil : (status, Array(body))
    }
}
