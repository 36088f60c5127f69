// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import NIOCore

/// When to PING a silent peer, and when to give it up: a frozen etcd keeps its connections, only nothing answers.
///
/// etcd ends connections that PING too often (`--grpc-keepalive-min-time`, 5 s). Its count starts anew whenever it
/// sends data, and forgives two: so one PING is free after each answer, one more is within the grace, and further ones
/// keep the interval. (grpc-go, internal/transport/http2_server.go, handlePing.)
struct Liveness {
    enum Verdict {
        case fine
        case ping
        case dead
    }

    static let silence = TimeAmount.milliseconds(500)
    static let patience = TimeAmount.seconds(1)
    static let politeInterval = TimeAmount.milliseconds(5_500)

    private var lastHeard: NIODeadline
    private var lastPing: NIODeadline?
    private var unanswered = false
    private var freePings = 2

    init(now: NIODeadline) { lastHeard = now }

    /// The peer sent something; `data`: as part of an answer.
    mutating func heard(at now: NIODeadline, data: Bool) {
        lastHeard = now
        unanswered = false
        if data { freePings = 2 }
    }

    /// `idle`: no call is open. etcd takes a PING on an idle connection for abuse, and nobody waits for anything then.
    mutating func check(at now: NIODeadline, idle: Bool) -> Verdict {
        if unanswered, let lastPing { return now - lastPing > Liveness.patience ? .dead : .fine }
        guard !idle, now - lastHeard >= Liveness.silence else { return .fine }
        let isPolite = lastPing.map { now - $0 >= Liveness.politeInterval } ?? true
        guard isPolite || freePings > 0 else { return .fine }
        freePings = max(0, freePings - 1)
        lastPing = now
        unanswered = true
        return .ping
    }
}
