// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Logging
import NIOCore
import SwiftProtobuf

/// One range followed across disconnections, changes of leader and loss of members: each time from the revision after
/// the last one seen, which etcd numbers the same on every member. etcd sends all of a revision's events in one answer
/// (we do not ask it for fragments), so a break never falls within a revision.
struct EtcdWatch {
    typealias Changes = AsyncThrowingStream<[Change], any Error>.Continuation

    private enum End: Error {
        case over
        /// Go on from where we are.
        case broken(CallFailure)
        case failed(StoreError)
    }

    let client: EtcdClient
    let prefix: Key
    /// Everything up to here was delivered.
    private(set) var revision: Int64
    private var pause = EtcdWatch.shortestPause
    /// etcd refused the range. Some versions say so of a token that expired, too: a new one tells.
    private var wasDenied = false

    private static let shortestPause = Duration.milliseconds(20)
    private static let longestPause = Duration.milliseconds(400)

    init(_ client: EtcdClient, under prefix: Key, after revision: Revision) {
        self.client = client
        self.prefix = prefix
        self.revision = revision.number
    }

    /// Until the task is cancelled, the store closed, or etcd cannot tell any more.
    mutating func run(_ changes: Changes) async {
        while !Task.isCancelled {
            do throws(End) { try await follow(changes) } catch {
                switch error {
                case .over: return changes.finish()
                case .failed(let reason): return changes.finish(throwing: reason)
                case .broken(let failure):
                    client.logger.debug("watch resumes", metadata: ["reason": "\(failure.sentence)"])
                }
            }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, EtcdWatch.longestPause)
        }
        changes.finish()
    }

    private mutating func follow(_ changes: Changes) async throws(End) {
        do {
            let connection = try await client.endpoints.connection(until: .distantFuture)
            let token = try await client.token?.value(over: connection)
            do {
                let answers = connection.stream(
                    .watch, request, token: token, until: .now() + client.limit, bounded: false)
                for try await bytes in answers { try await take(bytes, changes) }
            } catch let failure as CallFailure {
                if isAnswered(byNewToken: failure) {
                    client.token?.discard(token)
                    throw End.broken(failure)
                }
                throw failure
            }
        } catch let end as End {
            throw end
        } catch let failure as CallFailure {
            try judge(failure)
        } catch {
            throw .failed(.unavailable("\(error)"))
        }
    }

    private var request: ByteBuffer {
        ByteBuffer(
            framing: EtcdWatchRequest.with {
                $0.create.key = prefix.bytes
                $0.create.rangeEnd = prefix.endOfRange
                $0.create.startRevision = revision + 1
                $0.create.progressNotify = true
            })
    }

    private func remedy(_ failure: CallFailure) -> EtcdRefusal.Remedy {
        EtcdRefusal.remedy(for: failure, about: prefix.path, user: client.user)
    }

    private mutating func isAnswered(byNewToken failure: CallFailure) -> Bool {
        if case .renewToken = remedy(failure) { return true }
        guard failure.cause == .status(EtcdRefusal.permissionDenied), client.token != nil else { return false }
        defer { wasDenied = true }
        return !wasDenied
    }

    private func judge(_ failure: CallFailure) throws(End) {
        if failure.cause == .closed || failure.cause == .cancelled { throw .over }
        // A member that does not even begin the watch in time does not serve.
        if failure.cause == .deadline, let endpoint = failure.endpoint {
            client.endpoints.leave(endpoint, because: failure)
            throw .broken(failure)
        }
        switch remedy(failure) {
        case .none(let error): throw .failed(error)
        case .tryElsewhere: if let endpoint = failure.endpoint { client.endpoints.leave(endpoint, because: failure) }
        case .tryAgain, .renewToken: break
        }
        throw .broken(failure)
    }

    private mutating func take(_ bytes: ByteBuffer, _ changes: Changes) async throws {
        guard let answer = EtcdWatchResponse(bytes) else {
            throw End.failed(.unavailable("etcd's answer is not one of etcd v3"))
        }
        if answer.canceled { throw cancellation(answer) }
        if answer.created { return try await checkHistory(answer.header) }
        let news = answer.events.filter { $0.kv.modRevision > revision }
        if let last = news.last {
            revision = last.kv.modRevision
            changes.yield(news.compactMap(Change.init))
        } else if answer.events.isEmpty {
            // Nothing has happened in the range up to here; without this, what an idle watch resumes from would be
            // compacted away some day.
            revision = max(revision, answer.header.revision)
        }
    }

    private func cancellation(_ answer: EtcdWatchResponse) -> any Error {
        if answer.compactRevision > 0 { return End.failed(.compacted) }
        let reason = answer.cancelReason
        let status =
            if reason.contains("permission denied") {
                EtcdRefusal.permissionDenied
            } else if reason.contains("auth") {
                EtcdRefusal.unauthenticated
            } else {
                EtcdRefusal.unavailable
            }
        return CallFailure(.status(status), at: nil, "etcd ended the watch: \(reason)", mayHaveRun: false)
    }

    /// A member may lag behind the revisions we know of. But where the whole cluster does, it was set up anew or taken
    /// back to a backup, and would stay silent until it reached that revision again.
    private mutating func checkHistory(_ header: EtcdResponseHeader) async throws {
        pause = EtcdWatch.shortestPause
        wasDenied = false
        let known = max(revision, client.newestRevision)
        guard header.revision < known else { return }
        let answer: EtcdRangeResponse
        do throws(StoreError) {
            answer = try await client.read(.range, EtcdRangeRequest(prefix), about: prefix.path)
        } catch { throw CallFailure(.connection(lasting: false), at: nil, error.reason, mayHaveRun: false) }
        guard answer.header.revision < known else { return }
        client.forgetRevisions(after: answer.header)
        throw End.failed(.compacted)
    }
}
