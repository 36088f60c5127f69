// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Glibc
import Synchronization

/// A name server in the network namespace of the thread that makes it, on a thread of its own, until it is stopped.
public final class NameServer: Sendable {
    public enum Reply: Sendable {
        /// Answer records: type, and data after the name.
        case records([(type: UInt16, data: [UInt8])])
        /// RFC 1035: 2 server failure, 3 no such name.
        case failure(UInt8)
        /// The answer section claims one record and has none.
        case garbage
        case silence
    }

    public let port: UInt16
    private let descriptor: Int32
    private let asked = Mutex<[String]>([])

    /// - Parameters:
    ///   - address: in the host's byte order, `0x7f00_0001` for 127.0.0.1.
    ///   - port: 0 for one that is free.
    ///   - reply: what it says of a name.
    public init(
        at address: UInt32 = 0x7f00_0001, port: UInt16 = 0, _ reply: @escaping @Sendable (String) -> Reply
    ) throws {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = address.bigEndian
        name.sin_port = port.bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let bound = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard bound else { throw SystemCallFailure("bind") }
        self.port = name.sin_port.bigEndian
        Thread.detachNewThread { self.serve(reply) }
    }

    /// The names that were asked for, in order.
    public var names: [String] { asked.withLock { $0 } }

    public func stop() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    private func serve(_ reply: (String) -> Reply) {
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var peer = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
                }
            }
            guard count > 12 else { return }
            let (name, questionEnd) = Self.question(buffer)
            asked.withLock { $0.append(name) }
            guard let answer = Self.answer(Array(buffer[..<questionEnd]), reply(name)) else { continue }
            _ = withUnsafePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(descriptor, answer, answer.count, 0, $0, length)
                }
            }
        }
    }

    /// The name asked for, and where the question ends.
    private static func question(_ message: [UInt8]) -> (String, Int) {
        var labels: [String] = []
        var offset = 12
        while message[offset] != 0 {
            let length = Int(message[offset])
            labels.append(String(decoding: message[offset + 1..<offset + 1 + length], as: UTF8.self))
            offset += 1 + length
        }
        return (labels.joined(separator: "."), offset + 5)
    }

    /// RFC 1035, 4.1: header, question, answers whose name points to the question's.
    private static func answer(_ question: [UInt8], _ reply: Reply) -> [UInt8]? {
        var message = question
        message[2] = 0x81  // a response, recursion desired
        message[3] = 0x80  // recursion available
        message.replaceSubrange(6..<12, with: [0, 0, 0, 0, 0, 0])
        switch reply {
        case .silence: return nil
        case .garbage: message[7] = 1
        case .failure(let code): message[3] |= code
        case .records(let records):
            message[7] = UInt8(records.count)
            for (type, data) in records {
                message += [0xc0, 12] + bytes(type) + [0, 1, 0, 0, 0, 60] + bytes(UInt16(data.count)) + data
            }
        }
        return message
    }

    private static func bytes(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xff)] }

    public static func record(_ type: UInt16, _ data: [UInt8]) -> (UInt16, [UInt8]) { (type, data) }

    public static func srv(_ priority: UInt16, _ weight: UInt16, _ port: UInt16, _ target: String) -> (UInt16, [UInt8])
    {
        (33, bytes(priority) + bytes(weight) + bytes(port) + name(target))
    }

    public static func alias(_ target: String) -> (UInt16, [UInt8]) { (5, name(target)) }

    private static func name(_ text: String) -> [UInt8] {
        text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }
}
