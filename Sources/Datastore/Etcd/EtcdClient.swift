// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Logging
import NIOCore
import SwiftProtobuf
import Synchronization

/// Calls to whichever member answers, with a deadline, a token where etcd wants one, and as many attempts as fit.
final class EtcdClient: Sendable {
    let endpoints: EtcdEndpoints
    let token: EtcdToken?
    let limit: TimeAmount
    let logger: Logger
    /// The newest revision that an answer has told of.
    private let newest = Atomic<Int64>(0)

    init(_ settings: EtcdSettings, on eventLoop: any EventLoop, limit: TimeAmount, logger: Logger) {
        endpoints = EtcdEndpoints(settings, on: eventLoop, logger: logger)
        token = settings.credentials.map { EtcdToken($0, limit: limit) }
        self.limit = limit
        self.logger = logger
    }

    var user: String? { token?.user }
    var newestRevision: Int64 { newest.load(ordering: .acquiring) }

    func saw(_ header: EtcdResponseHeader) { _ = newest.max(header.revision, ordering: .acquiringAndReleasing) }

    /// The cluster was taken back to a backup, which this answer is from.
    func forgetRevisions(after header: EtcdResponseHeader) {
        newest.store(header.revision, ordering: .releasing)
    }

    /// A call that may be repeated: it changes nothing.
    func read<Answer: Message>(
        _ method: EtcdMethod, _ request: some Message, about subject: String, as: Answer.Type = Answer.self
    ) async throws(StoreError) -> Answer {
        let message = ByteBuffer(framing: request)
        var attempts = Attempts(within: limit)
        while true {
            switch await attempt(method, message, until: attempts.deadline) {
            case .success(let bytes):
                guard let answer = Answer(bytes) else { throw .unavailable("etcd's answer is not one of etcd v3") }
                return answer
            case .failure(let failure):
                try await prepareNext(&attempts, after: failure, about: subject)
            }
        }
    }

    /// One attempt over the live connection.
    func attempt(
        _ method: EtcdMethod, _ message: ByteBuffer, until deadline: NIODeadline
    ) async -> Result<ByteBuffer, CallFailure> {
        do {
            let connection = try await endpoints.connection(until: deadline)
            let token = try await token?.value(over: connection)
            let result = await connection.unary(method, message, token: token, until: deadline)
            if case .failure(let failure) = result { discardToken(token, after: failure) }
            return result
        } catch {
            return .failure(error)
        }
    }

    private func discardToken(_ value: String?, after failure: CallFailure) {
        guard case .renewToken = EtcdRefusal.remedy(for: failure, about: "", user: user) else { return }
        token?.discard(value)
    }

    /// Returns when another attempt makes sense; throws when none does or no time is left.
    func prepareNext(
        _ attempts: inout Attempts, after failure: CallFailure, about subject: String
    ) async throws(StoreError) {
        let pause = attempts.pause()
        switch EtcdRefusal.remedy(for: failure, about: subject, user: user) {
        case .none(let error): guard failure.cause == .deadline, pause != nil else { throw error }
        case .tryElsewhere: if let endpoint = failure.endpoint { endpoints.leave(endpoint, because: failure) }
        case .tryAgain, .renewToken: break
        }
        guard let pause else { throw .unavailable(failure.sentence) }
        guard (try? await Task.sleep(for: pause)) != nil else { throw .unavailable(CallFailure.cancelled.sentence) }
    }
}

/// How often and how fast a call is repeated.
struct Attempts {
    let deadline: NIODeadline
    private let limit: TimeAmount
    private var count = 0

    /// A change that a follower forwards to a leader that just died is lost, and etcd says so only after seven
    /// seconds. It has a new leader within two (the election timeout, 1 s, and up to as much again at random). So a
    /// commit is not left to one attempt. Reads are told when the leader changes.
    static let longest = TimeAmount.seconds(1)

    init(within limit: TimeAmount) {
        deadline = .now() + limit
        self.limit = min(.nanoseconds(limit.nanoseconds / 3), Attempts.longest)
    }

    /// For a commit's next attempt.
    var nextDeadline: NIODeadline { min(deadline, .now() + limit) }

    /// The pause before the next attempt; `nil` where no time is left for one.
    mutating func pause() -> Duration? {
        count += 1
        let pause = Duration.milliseconds(min(10 << min(count, 4), 160))
        return deadline - .now() > .nanoseconds(Int64(pause / .nanoseconds(1))) ? pause : nil
    }
}
