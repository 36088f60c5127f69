// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// What etcd's error answers mean. Their texts are etcd's interface as much as the codes are, which they share
/// (etcd, etcdserver/api/v3rpc/rpctypes/error.go).
enum EtcdRefusal {
    enum Remedy {
        case tryAgain
        /// Another member may be able to.
        case tryElsewhere
        case renewToken
        case none(StoreError)
    }

    /// gRPC's status codes.
    static let cancelled = 1
    static let unknown = 2
    static let deadlineExceeded = 4
    static let permissionDenied = 7
    static let resourceExhausted = 8
    static let unimplemented = 12
    static let internalError = 13
    static let unavailable = 14
    static let unauthenticated = 16

    /// False where etcd answers so before it proposes anything to its cluster, or instead of carrying it out.
    static func mayHaveRun(_ status: Int, _ text: String) -> Bool {
        switch status {
        case unavailable: !text.contains("no leader") && !text.contains("not capable")
        case cancelled, unknown, deadlineExceeded, internalError: true
        default: false
        }
    }

    /// gRPC's status for an answer that names none, as gRPC has it (grpc/doc/http-grpc-status-mapping.md): somebody
    /// between us and etcd gave it, or cut it short. `nil` where nobody who speaks gRPC is there.
    ///
    /// - Parameter http: `:status`; trailers have none.
    static func status(fromHTTP http: String?) -> Int? {
        switch http {
        case nil: unknown
        case "429", "502", "503", "504": unavailable
        default: nil
        }
    }

    /// - Parameters:
    ///   - subject: What the call was about, for the person who reads why it failed.
    ///   - user: Who we are to etcd.
    static func remedy(for failure: CallFailure, about subject: String, user: String?) -> Remedy {
        switch failure.cause {
        case .connection(lasting: false): .tryAgain
        case .connection(lasting: true), .deadline, .cancelled, .closed: .none(.unavailable(failure.sentence))
        case .status(let status): remedy(status, failure, about: subject, user: user)
        }
    }

    private static func remedy(_ status: Int, _ failure: CallFailure, about subject: String, user: String?) -> Remedy {
        let text = failure.reason
        switch status {
        case unavailable: return text.contains("leader changed") ? .tryAgain : .tryElsewhere
        case cancelled, unknown, deadlineExceeded, internalError: return .tryAgain
        case unauthenticated: return .renewToken
        case permissionDenied:
            let name = user.map { "user \"\($0)\"" } ?? "we"
            return .none(.unavailable("\(failure.sentence): \(name) may not use \(subject); grant the role this range"))
        case resourceExhausted where text.contains("space exceeded"):
            let advice = "compact and defragment etcd, then disarm its alarm (etcdctl alarm disarm)"
            return .none(.full("\(failure.sentence); \(advice)"))
        case resourceExhausted where text.contains("too many requests"): return .tryAgain
        case unimplemented:
            return .none(.unavailable("\(failure.sentence): not an etcd v3 server; check the address and port"))
        default: return remedy(text, failure, about: subject, user: user)
        }
    }

    private static func remedy(_ text: String, _ failure: CallFailure, about subject: String, user: String?) -> Remedy {
        // Authentication was switched on since we asked for a token, or an administrator changed a role.
        if text.contains("user name is empty") || text.contains("revision of auth store is old") {
            guard user == nil else { return .renewToken }
            let place = failure.endpoint.map { "\($0): " } ?? ""
            return .none(.unavailable("\(place)etcd wants a user and password (ETCD_USERNAME, ETCD_PASSWORD)"))
        }
        if text.contains("compacted") { return .none(.compacted) }
        return .none(.unavailable("\(failure.sentence), asked about \(subject)"))
    }
}
