// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc
import Synchronization
import Testing

/// Ports of this machine's loopback and wildcard addresses.
enum HostPort {
    private static let next = Mutex(UInt16.random(in: 20_000..<28_000))

    /// A TCP and UDP port that nobody uses now, and that no other test of this process gets, nor one of the three after
    /// it. It lies below those that the kernel gives to whoever asks for any one (net.ipv4.ip_local_port_range), so
    /// connections of other programs do not take it a moment later.
    static func free() throws -> UInt16 {
        for _ in 0..<1000 {
            let port = next.withLock { next in
                defer { next = next < 31_990 ? next + 4 : 20_000 }
                return next
            }
            let sockets = [SOCK_STREAM, SOCK_DGRAM].map { try? bound(port, $0) }
            sockets.forEach { $0.map { _ = close($0) } }
            if !sockets.contains(nil) { return port }
        }
        throw Busy()
    }

    /// Ports that follow each other and that nobody uses now; the first.
    static func freeRange(_ count: Int) throws -> UInt16 {
        for _ in 0..<100 {
            let first = try free()
            let sockets = (1..<UInt16(count)).map { try? bound(first + $0) }
            sockets.forEach { $0.map { _ = close($0) } }
            if !sockets.contains(nil) { return first }
        }
        throw Busy()
    }

    struct Busy: Error {}

    /// Another program's listener on the port, until it is closed.
    static func occupy(_ port: UInt16, on address: String = "0.0.0.0") throws -> Int32 {
        try bound(port, on: address)
    }

    static func isFree(_ port: UInt16) -> Bool {
        guard let descriptor = try? occupy(port) else { return false }
        close(descriptor)
        return true
    }

    private static func bound(
        _ port: UInt16, _ kind: __socket_type = SOCK_STREAM, on host: String = "0.0.0.0"
    ) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(kind.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        try #require(descriptor >= 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr(host)
        let isBound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isBound, kind == SOCK_DGRAM || listen(descriptor, 1) == 0 else {
            close(descriptor)
            throw Busy()
        }
        return descriptor
    }
}
