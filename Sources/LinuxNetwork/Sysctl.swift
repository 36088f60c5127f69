// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// Kernel settings under `/proc/sys`, those of the calling thread's network namespace.
///
/// Paths and not dotted names, because an interface name may hold a dot.
public struct Sysctl: Sendable {
    /// Where settings live; tests give a directory of theirs.
    public let root: String

    public init(root: String = "/proc/sys") {
        self.root = root
    }

    /// A setting's path below the root. Paths without an interface are literals: `"net/ipv4/ip_forward"`.
    public struct Key: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
        public let path: String

        /// - Precondition: no part is empty, `.` or `..`. A literal of this program only, hence `StaticString`.
        public init(stringLiteral path: StaticString) {
            self.init(parts: path.description.split(separator: "/", omittingEmptySubsequences: false).map(String.init))
        }

        /// `net/ipv4/conf/NAME/SETTING`
        public static func ipv4(_ name: InterfaceName, _ setting: StaticString) -> Key {
            Key(parts: ["net", "ipv4", "conf", name.text, setting.description])
        }

        /// `net/ipv6/conf/NAME/SETTING`
        public static func ipv6(_ name: InterfaceName, _ setting: StaticString) -> Key {
            Key(parts: ["net", "ipv6", "conf", name.text, setting.description])
        }

        /// `net/ipv4/neigh/NAME/SETTING`
        public static func ipv4Neighbour(_ name: InterfaceName, _ setting: StaticString) -> Key {
            Key(parts: ["net", "ipv4", "neigh", name.text, setting.description])
        }

        /// `net/ipv6/neigh/NAME/SETTING`
        public static func ipv6Neighbour(_ name: InterfaceName, _ setting: StaticString) -> Key {
            Key(parts: ["net", "ipv6", "neigh", name.text, setting.description])
        }

        private init(parts: [String]) {
            precondition(
                parts.allSatisfy { !["", ".", ".."].contains($0) && !$0.contains("/") },
                "\"\(parts.joined(separator: "/"))\" is no path of a kernel setting")
            path = parts.joined(separator: "/")
        }

        public var description: String { path }
    }

    /// `sysctl -w KEY=VALUE`
    /// - Throws: ``SysctlError``; its `errno` is ENOENT where the kernel has no such setting or no such interface.
    public func write(_ value: String, to key: Key) throws {
        try withFile(key, flags: O_WRONLY, "write \"\(value)\" to") { descriptor in
            var value = value
            return value.withUTF8 { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        }
    }

    /// `sysctl -n KEY`, without the line feed at its end.
    /// - Throws: ``SysctlError``
    public func read(_ key: Key) throws -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)  // a page: no setting prints more
        let length = try withFile(key, flags: O_RDONLY, "read") { descriptor in
            buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        }
        let text = buffer[..<length]
        return String(decoding: text.last == UInt8(ascii: "\n") ? text.dropLast() : text, as: UTF8.self)
    }

    @discardableResult
    private func withFile(_ key: Key, flags: Int32, _ action: String, _ body: (Int32) -> Int) throws -> Int {
        let descriptor = retryingInterrupts { open("\(root)/\(key)", flags | O_CLOEXEC) }
        guard descriptor >= 0 else { throw SysctlError(key: key, action: action, errno: errno) }
        defer { close(descriptor) }
        let result = retryingInterrupts { body(descriptor) }
        guard result >= 0 else { throw SysctlError(key: key, action: action, errno: errno) }
        return result
    }
}

/// A kernel setting that could not be read or written.
public struct SysctlError: Error, Equatable, CustomStringConvertible {
    public let key: Sysctl.Key
    /// `read`, or `write "1" to`
    public let action: String
    /// Positive, `<errno.h>`.
    public let errno: Int32

    public var description: String { "cannot \(action) kernel setting \(key): \(describe(errno: errno))" }
}
