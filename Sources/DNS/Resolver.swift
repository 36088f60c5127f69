// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CResolver
import Dispatch
import Glibc
import Synchronization

/// Asks the name servers of `/etc/resolv.conf`, through the C library's resolver.
public struct Resolver: Sendable {
    /// A name server other than the system's.
    public struct Server: Hashable, Sendable {
        /// IPv4: 127.0.0.1 is 0x7f00_0001.
        public var address: UInt32
        public var port: UInt16

        public init(address: UInt32, port: UInt16) {
            self.address = address
            self.port = port
        }
    }

    private let server: Server?
    private let limit: Duration

    /// - Parameter limit: an answer, good or bad, by then.
    public init(server: Server? = nil, limit: Duration = .seconds(5)) {
        self.server = server
        self.limit = limit
    }

    /// The SRV records of `name`, as they came; none where the name or such records do not exist.
    ///
    /// Takes a thread of Dispatch's, for the C library waits for the servers.
    /// - Throws: `ResolverError`.
    public func serviceRecords(of name: String) async throws(ResolverError) -> [ServiceRecord] {
        let result = await withCheckedContinuation { continuation in
            let answer = FirstAnswer(continuation)
            let queue = DispatchQueue.global(qos: .utility)
            queue.async { answer.give(query(name)) }
            // A query in vain ends by itself a little later.
            queue.asyncAfter(deadline: .now() + .milliseconds(Int(limit / .milliseconds(1)))) {
                answer.give(.failure(ResolverError(name: name, reason: "no name server answered within \(limit)")))
            }
        }
        return try result.get()
    }

    private typealias Answer = Result<[ServiceRecord], ResolverError>

    /// Resumes once, with what comes first.
    private final class FirstAnswer: Sendable {
        private let continuation: Mutex<CheckedContinuation<Answer, Never>?>

        init(_ continuation: CheckedContinuation<Answer, Never>) { self.continuation = Mutex(continuation) }

        func give(_ answer: Answer) {
            let waiting = continuation.withLock { waiting in
                defer { waiting = nil }
                return waiting
            }
            waiting?.resume(returning: answer)
        }
    }

    // MARK: The C library

    private func query(_ name: String) -> Answer {
        var answer = [UInt8](repeating: 0, count: Int(CRESOLVER_ANSWER_SIZE))
        var problem: Int32 = 0
        let length = cresolver_query(
            name, &answer, server?.address.bigEndian ?? 0, server?.port ?? 0, Self.patience, Self.attempts, &problem)
        guard length >= 0 else {
            switch problem {
            case HOST_NOT_FOUND, NO_DATA: return .success([])
            default: return .failure(ResolverError(name: name, reason: String(cString: hstrerror(problem))))
            }
        }
        return records(Array(answer.prefix(Int(length))), of: name)
    }

    /// For each server: seconds to wait, and how often.
    private static let patience: Int32 = 2
    private static let attempts: Int32 = 2

    private func records(_ answer: [UInt8], of name: String) -> Answer {
        let length = Int32(answer.count)
        let broken = ResolverError(name: name, reason: "the name server's answer cannot be understood")
        let count = cresolver_count(answer, length)
        guard count >= 0 else { return .failure(broken) }
        var records: [ServiceRecord] = []
        for index in 0..<count {
            var (priority, weight, port): (Int32, Int32, Int32) = (0, 0, 0)
            var target = [CChar](repeating: 0, count: Int(NS_MAXDNAME))
            switch cresolver_srv(answer, length, index, &priority, &weight, &port, &target) {
            case 0: continue
            case 1:
                records.append(
                    ServiceRecord(
                        priority: Int(priority), weight: Int(weight), port: Int(port),
                        target: String(decoding: target.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
                )
            default: return .failure(broken)
            }
        }
        return .success(records)
    }
}

/// Why a name could not be looked up.
public struct ResolverError: Error, Hashable, CustomStringConvertible {
    public let name: String
    public let reason: String

    public init(name: String, reason: String) {
        self.name = name
        self.reason = reason
    }

    public var description: String { "cannot look up \(name): \(reason)" }
}
