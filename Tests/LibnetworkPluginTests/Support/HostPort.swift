// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc
import Testing

/// Ports of this machine's loopback and wildcard addresses.
enum HostPort {
    /// A TCP and UDP port that nobody uses now.
    static func free() throws -> UInt16 {
        for _ in 0..<100 {
            let tcp = try bound(0)
            defer { close(tcp.descriptor) }
            guard let udp = try? bound(tcp.port, SOCK_DGRAM) else { continue }
            close(udp.descriptor)
            return tcp.port
        }
        throw Busy()
    }

    /// Ports that follow each other and that nobody uses now; the first.
    static func freeRange(_ count: Int) throws -> UInt16 {
        for _ in 0..<100 {
            let first = try free()
            guard Int(first) + count <= 65_535 else { continue }
            let sockets = (1..<UInt16(count)).map { try? bound(first + $0).descriptor }
            sockets.forEach { $0.map { _ = close($0) } }
            if !sockets.contains(nil) { return first }
        }
        throw Busy()
    }

    struct Busy: Error {}

    /// Another program's listener on the port, until it is closed.
    static func occupy(_ port: UInt16) throws -> Int32 { try bound(port).descriptor }

    static func isFree(_ port: UInt16) -> Bool {
        guard let descriptor = try? occupy(port) else { return false }
        close(descriptor)
        return true
    }

    private static func bound(
        _ port: UInt16, _ kind: __socket_type = SOCK_STREAM
    ) throws -> (descriptor: Int32, port: UInt16) {
        let descriptor = socket(AF_INET, Int32(kind.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        try #require(descriptor >= 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) == 0 && (kind == SOCK_DGRAM || listen(descriptor, 1) == 0)
                    && getsockname(descriptor, pointer, &length) == 0
            }
        }
        guard isBound else {
            close(descriptor)
            throw Busy()
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }
}
