// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import NIOCore

/// What a member says of itself.
public struct EtcdMemberStatus: Hashable, Sendable {
    /// Such as `3.4.23`.
    public var version: String
    public var isLeader: Bool
    /// Without a leader a member can neither write nor read.
    public var knowsLeader: Bool
    /// The size of its database file in bytes.
    public var databaseSize: Int64
    /// Such as `NOSPACE`, in etcd's words.
    public var alarms: [String]
}

extension EtcdStore {
    /// Asks every endpoint by itself, over a connection of its own. Takes at most as long as one call.
    public func status() async -> [(endpoint: EtcdSettings.Endpoint, result: Result<EtcdMemberStatus, StoreError>)] {
        await withTaskGroup { group in
            for (index, endpoint) in client.endpoints.all.enumerated() {
                group.addTask { [client] in (index, await client.status(of: endpoint)) }
            }
            let results = await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            return client.endpoints.all.indices.map { (client.endpoints.all[$0], results[$0]!) }
        }
    }
}

extension EtcdClient {
    fileprivate func status(of endpoint: EtcdSettings.Endpoint) async -> Result<EtcdMemberStatus, StoreError> {
        do throws(CallFailure) {
            let connection = try await endpoints.connection(to: endpoint, limit: limit)
            defer { connection.close(.closed) }
            let message = ByteBuffer(framing: EtcdStatusRequest())
            let token = try await token?.value(over: connection)
            let bytes = try await connection.unary(.status, message, token: token, until: .now() + limit).get()
            guard let answer = EtcdStatusResponse(bytes) else {
                return .failure(.unavailable("\(endpoint): the answer is not one of etcd v3"))
            }
            return .success(EtcdMemberStatus(answer))
        } catch {
            return .failure(.unavailable(error.sentence))
        }
    }
}

extension EtcdMemberStatus {
    init(_ answer: EtcdStatusResponse) {
        version = answer.version
        isLeader = answer.leader != 0 && answer.leader == answer.header.memberID
        knowsLeader = answer.leader != 0
        databaseSize = answer.databaseSize
        alarms = answer.errors
    }
}
