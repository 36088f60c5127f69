// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Foundation
import NIOCore
import SwiftProtobuf
import Testing

@testable import Datastore

@Suite struct `Parts of the etcd client` {
    @Test(arguments: [
        ("/t/", [0x2f, 0x74, 0x30]), ("", [0]), ("é", [0xc3, 0xaa]), ("a\u{7f}", [0x61, 0x80]),
    ]) func `a range ends before the first key that does not begin with the prefix`(prefix: String, end: [UInt8]) {
        #expect(Array(Key(prefix).endOfRange) == end)
    }

    @Test(arguments: [
        ("plain", "plain"), ("a%20b", "a b"), ("%C3%A9", "é"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("", ""),
    ]) func `gRPC's error texts are decoded`(text: String, decoded: String) {
        #expect(percentDecoded(text) == decoded)
    }

    @Test(arguments: [
        (14, "etcdserver: no leader", false), (14, "etcdserver: request timed out", true),
        (14, "etcdserver: leader changed", true), (7, "etcdserver: permission denied", false),
        (8, "etcdserver: mvcc: database space exceeded", false), (2, "raft proposal dropped", true),
        (16, "etcdserver: invalid auth token", false), (3, "etcdserver: too many operations in txn request", false),
    ]) func `only answers that precede the proposal say that nothing happened`(code: Int, text: String, may: Bool) {
        #expect(EtcdRefusal.mayHaveRun(code, text) == may)
    }

    /// A commit that was answered so may have been carried out, and is worth another attempt.
    @Test(
        arguments: [
            (nil, EtcdRefusal.unknown), ("429", 14), ("502", 14), ("503", 14), ("504", 14), ("404", nil), ("200", nil),
        ] as [(String?, Int?)])
    func `an answer without gRPC's status is a proxy's, or nobody's who knows etcd`(http: String?, status: Int?) {
        #expect(EtcdRefusal.status(fromHTTP: http) == status)
        #expect(status.map { EtcdRefusal.mayHaveRun($0, "HTTP status 503") } ?? true)
    }

    @Test func `a message is read when all of it is here`() {
        let framed = ByteBuffer(framing: EtcdAuthenticateResponse.with { $0.token = "abc" })
        var received = ByteBuffer()
        for byte in framed.readableBytesView.dropLast() {
            received.writeInteger(byte)
            #expect(received.readFramedMessage() == nil)
        }
        received.writeInteger(framed.readableBytesView.last!)
        received.writeImmutableBuffer(framed)
        #expect(received.readFramedMessage().flatMap { EtcdAuthenticateResponse($0) }?.token == "abc")
        #expect(received.readFramedMessage().flatMap { EtcdAuthenticateResponse($0) }?.token == "abc")
        #expect(received.readableBytes == 0)
    }

    @Test func `of two writes to one key the last one counts`() {
        let (a, b) = (Key("/a"), Key("/b"))
        let transaction = Transaction(
            if: [.absent(a), .absent(a)],
            writes: [.put(a, bytes: Data([1])), .put(b, bytes: Data([2])), .delete(a)])
        #expect(transaction.lastWrites.map(\.key) == [b, a])
        #expect(transaction.lastWrites.map(\.value) == [Data([2]), nil])
        #expect(transaction.preconditionKeys == [a])
    }
}

@Suite struct `Noticing a silent peer` {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    /// What is done at each tenth of a second of `seconds`, with a call open; the peer never says anything.
    private func verdicts(
        from: inout Liveness, after: NIODeadline, seconds: Int, answers: Bool
    ) -> [(Int64, Liveness.Verdict)] {
        var seen: [(Int64, Liveness.Verdict)] = []
        for tenth in 1...Int64(seconds * 10) {
            let now = after + .milliseconds(tenth * 100)
            let verdict = from.check(at: now, idle: false)
            if case .fine = verdict { continue }
            seen.append((tenth * 100, verdict))
            guard case .ping = verdict, answers else { break }
            from.heard(at: now, data: false)
        }
        return seen
    }

    @Test func `takes one PING and a second and a half`() {
        var liveness = Liveness(now: start)
        let first = verdicts(from: &liveness, after: start, seconds: 5, answers: false)
        #expect(first.map(\.0) == [500])
        #expect(liveness.check(at: start + .milliseconds(1_400), idle: false) == .fine)
        #expect(liveness.check(at: start + .milliseconds(1_600), idle: true) == .dead)
    }

    @Test func `does not PING more often than etcd forgives`() {
        var liveness = Liveness(now: start)
        let pings = verdicts(from: &liveness, after: start, seconds: 30, answers: true).map(\.0)
        #expect(pings.prefix(3) == [500, 1_000, 6_500])
        #expect(zip(pings.dropFirst(), pings.dropFirst(2)).allSatisfy { $1 - $0 >= 5_500 })
        liveness.heard(at: start + .seconds(30), data: true)
        let again = verdicts(from: &liveness, after: start + .seconds(30), seconds: 2, answers: true)
        #expect(again.map(\.0) == [500, 1_000])
    }

    @Test func `leaves an idle connection alone`() {
        var liveness = Liveness(now: start)
        #expect(liveness.check(at: start + .hours(1), idle: true) == .fine)
    }
}
