// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import NIOCore
import SwiftProtobuf
import Synchronization

/// What etcd gives for user and password. It expires (`--auth-token-ttl`, 5 minutes after its last use), and a member
/// forgets it when it restarts; the next call is then refused and asks for a new one. Of many such calls one asks.
final class EtcdToken: Sendable {
    private enum State {
        case unknown
        /// `nil`: etcd runs without authentication.
        case known(String?)
        case asking(Task<Result<String?, CallFailure>, Never>)
    }

    let user: String
    private let request: ByteBuffer
    private let limit: TimeAmount
    private let state = Mutex(State.unknown)

    /// - Parameter limit: For one request; etcd spends 0.1 s and more on checking a password (bcrypt).
    init(_ credentials: EtcdSettings.Credentials, limit: TimeAmount) {
        user = credentials.user
        request = ByteBuffer(
            framing: EtcdAuthenticateRequest.with {
                $0.name = credentials.user
                $0.password = credentials.password
            })
        self.limit = limit
    }

    func value(over connection: EtcdConnection) async throws(CallFailure) -> String? {
        let task: Task<Result<String?, CallFailure>, Never>
        switch claim(connection) {
        case .known(let token): return token
        case .asking(let running): task = running
        case .unknown: return nil
        }
        return try await task.value.get()
    }

    private func claim(_ connection: EtcdConnection) -> State {
        state.withLock { state in
            guard case .unknown = state else { return state }
            // Not a part of the call that asks first: others wait for it, too. It ends by its own deadline.
            state = .asking(Task { await self.ask(over: connection) })
            return state
        }
    }

    private func ask(over connection: EtcdConnection) async -> Result<String?, CallFailure> {
        let answer = await connection.unary(.authenticate, request, token: nil, until: .now() + limit)
        let result = answer.map { EtcdAuthenticateResponse($0)?.token }.flatMapError(explain)
        state.withLock { state in
            if case .success(let token) = result { state = .known(token) } else { state = .unknown }
        }
        return result
    }

    private func explain(_ failure: CallFailure) -> Result<String?, CallFailure> {
        if failure.reason.contains("authentication is not enabled") { return .success(nil) }
        guard failure.reason.contains("authentication failed") else { return .failure(failure.beforeSending) }
        let reason = "etcd refused user \"\(user)\": wrong user name or password"
        return .failure(CallFailure(.connection(lasting: true), at: failure.endpoint, reason, mayHaveRun: false))
    }

    /// etcd no longer takes `token`.
    func discard(_ token: String?) {
        state.withLock { state in
            if case .known(let known) = state, known == token { state = .unknown }
        }
    }
}
