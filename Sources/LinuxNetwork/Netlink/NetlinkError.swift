// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// What went wrong between this process and the kernel's netlink.
public enum NetlinkError: Error, Equatable, CustomStringConvertible {
    /// The kernel refused these requests of a batch. The others were carried out, also those behind a refused one.
    case refused([Refusal])
    /// A system call on the socket failed.
    case system(call: String, errno: Int32)
    /// The kernel's answer could not be read.
    case malformed(String)
    /// A listing changed under every attempt to read it.
    case unsettled(String)

    /// One request the kernel refused.
    public struct Refusal: Sendable, Equatable, CustomStringConvertible {
        /// The request as a person would type it, e.g. `ip route replace 10.0.0.1/32 dev 7`.
        public let request: String
        /// Positive, `<errno.h>`.
        public let errno: Int32
        /// The kernel's own sentence (NLMSGERR_ATTR_MSG), where it gave one.
        public let explanation: String?

        public var description: String {
            let reason = describe(errno: errno)
            return "kernel refused \"\(request)\": " + (explanation.map { "\($0) (\(reason))" } ?? reason)
        }
    }

    /// The error number of a system call or of the first refusal, positive.
    public var errno: Int32? {
        switch self {
        case .refused(let refusals): refusals.first?.errno
        case .system(_, let errno): errno
        case .malformed, .unsettled: nil
        }
    }

    public var description: String {
        switch self {
        case .refused(let refusals): refusals.map(\.description).joined(separator: "; ")
        case .system(let call, let errno): "netlink \(call): \(describe(errno: errno))"
        case .malformed(let what): "netlink answer is unreadable: \(what)"
        case .unsettled(let what): "\(what) kept changing while it was read; try again"
        }
    }
}

/// `No such device (19)`
func describe(errno: Int32) -> String {
    "\(String(cString: strerror(errno))) (\(errno))"
}
