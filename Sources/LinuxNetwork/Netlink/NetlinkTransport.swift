// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// Carries netlink datagrams. Production is ``KernelSocket``; tests script the answers and read the bytes sent.
public protocol NetlinkTransport {
    /// Sends one datagram, which may hold several requests.
    func send(_ datagram: [UInt8]) throws
    /// Waits for one datagram and returns all of it.
    func receive() throws -> [UInt8]
}

/// A netlink socket in the network namespace of the thread that made it.
public final class KernelSocket: NetlinkTransport {
    /// Netlink datagrams stay below this: dumps are cut at 32 KiB (`netlink_dump`), acknowledgements are capped.
    private static let datagramLimit = 65_536
    /// Seconds. The kernel answers within the sending call, so a wait this long means that no answer will come.
    private static let receiveTimeout = 5

    let descriptor: Int32
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: datagramLimit, alignment: 16)

    /// NETLINK_ROUTE with extended acknowledgements.
    /// - Throws: ``NetlinkError/system(call:errno:)``
    public static func route() throws -> KernelSocket {
        let socket = try KernelSocket(family: Netlink.NETLINK_ROUTE)
        try socket.limitWaiting()
        // Strict checking (Linux 4.20) makes the kernel filter dumps; without it the caller's own filter does the work.
        try? socket.set(Netlink.SOL_NETLINK, Netlink.NETLINK_GET_STRICT_CHK, to: Int32(1), "NETLINK_GET_STRICT_CHK")
        return socket
    }

    /// NETLINK_NETFILTER with extended acknowledgements.
    /// - Throws: ``NetlinkError/system(call:errno:)``
    static func netfilter() throws -> KernelSocket {
        let socket = try KernelSocket(family: Netlink.NETLINK_NETFILTER)
        try socket.limitWaiting()
        return socket
    }

    /// - Parameters:
    ///   - groups: multicast groups to join.
    ///   - receiveBuffer: bytes the kernel may queue, beyond the system's limit where the process is privileged.
    /// - Throws: ``NetlinkError/system(call:errno:)``
    init(family: Int32, groups: [Int32] = [], receiveBuffer: Int32 = 1 << 20) throws {
        descriptor = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), family)
        guard descriptor >= 0 else { throw NetlinkError.system(call: "socket", errno: errno) }
        try bind()
        try set(Netlink.SOL_NETLINK, Netlink.NETLINK_EXT_ACK, to: Int32(1), "NETLINK_EXT_ACK")
        try set(Netlink.SOL_NETLINK, Netlink.NETLINK_CAP_ACK, to: Int32(1), "NETLINK_CAP_ACK")
        if (try? set(SOL_SOCKET, SO_RCVBUFFORCE, to: receiveBuffer, "SO_RCVBUFFORCE")) == nil {
            try set(SOL_SOCKET, SO_RCVBUF, to: receiveBuffer, "SO_RCVBUF")
        }
        for group in groups {
            try set(Netlink.SOL_NETLINK, Netlink.NETLINK_ADD_MEMBERSHIP, to: group, "NETLINK_ADD_MEMBERSHIP \(group)")
        }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        buffer.deallocate()
    }

    /// - Throws: ``NetlinkError/system(call:errno:)``
    public func send(_ datagram: [UInt8]) throws {
        let sent = retryingInterrupts {
            datagram.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, 0) }
        }
        guard sent == datagram.count else { throw NetlinkError.system(call: "send", errno: errno) }
    }

    /// Datagrams from other processes are dropped.
    /// - Throws: ``NetlinkError/system(call:errno:)``: EAGAIN after 5 seconds without answer, ENOBUFS after a loss.
    public func receive() throws -> [UInt8] {
        while true {
            var sender = NetlinkSocketAddress()
            var senderLength = socklen_t(MemoryLayout<NetlinkSocketAddress>.size)
            let length = retryingInterrupts {
                sender.withSocketAddress {
                    // MSG_TRUNC: the result is the datagram's true length, so a cut is noticed.
                    recvfrom(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_TRUNC), $0, &senderLength)
                }
            }
            guard length >= 0 else { throw NetlinkError.system(call: "receive", errno: errno) }
            guard length <= buffer.count else {
                throw NetlinkError.malformed("a datagram of \(length) bytes exceeds \(buffer.count)")
            }
            if sender.portID == 0 { return Array(buffer[..<length]) }
        }
    }

    /// Lets the kernel choose the port id.
    private func bind() throws {
        var address = NetlinkSocketAddress()
        let result = address.withSocketAddress {
            Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<NetlinkSocketAddress>.size))
        }
        guard result == 0 else { throw NetlinkError.system(call: "bind", errno: errno) }
    }

    private func limitWaiting() throws {
        try set(SOL_SOCKET, SO_RCVTIMEO, to: timeval(tv_sec: Self.receiveTimeout, tv_usec: 0), "SO_RCVTIMEO")
    }

    private func set<Value: BitwiseCopyable>(_ level: Int32, _ option: Int32, to value: Value, _ name: String) throws {
        let result = withUnsafeBytes(of: value) {
            setsockopt(descriptor, level, option, $0.baseAddress, socklen_t($0.count))
        }
        guard result == 0 else { throw NetlinkError.system(call: "setsockopt \(name)", errno: errno) }
    }
}

/// `struct sockaddr_nl`, `<linux/netlink.h>`
private struct NetlinkSocketAddress {
    var family = UInt16(AF_NETLINK)
    var padding: UInt16 = 0
    /// 0 is the kernel.
    var portID: UInt32 = 0
    var groups: UInt32 = 0

    mutating func withSocketAddress<Result>(_ body: (UnsafeMutablePointer<sockaddr>) -> Result) -> Result {
        withUnsafeMutableBytes(of: &self) { body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self)) }
    }
}

/// Repeats a system call while signals interrupt it.
func retryingInterrupts<Result: FixedWidthInteger>(_ call: () -> Result) -> Result {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}
