// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc
import NIOCore
import NIOPosix
import NIOSSL

/// Why no connection came about, in words for the person who can change it.
enum ConnectFailure: Error {
    /// The peer took the connection and said nothing.
    case silent
    /// The peer's first bytes are those of TLS.
    case speaksTLS
    /// The peer's first bytes are those of HTTP/1.
    case speaksHTTP1
    case speaksOtherwise

    static func describe(_ error: any Error, at endpoint: EtcdSettings.Endpoint, _ tls: EtcdTLS) -> CallFailure {
        let (reason, lasting) = explain(error, endpoint, tls)
        return CallFailure(.connection(lasting: lasting), at: endpoint, reason, mayHaveRun: false)
    }

    private static func explain(
        _ error: any Error, _ endpoint: EtcdSettings.Endpoint, _ tls: EtcdTLS
    ) -> (String, lasting: Bool) {
        switch error {
        case let error as ConnectFailure: explain(error)
        case let error as CallFailure: (endedEarly(error, endpoint, tls), false)
        case let error as IOError: explain(error.errnoCode)
        case let error as NIOConnectionError: explain(error)
        case ChannelError.connectTimeout: ("no answer to the attempt to connect; is the address right?", false)
        case let error as NIOSSLExtraError: explain(error, endpoint)
        case let error as NIOSSLError: explain("\(error)", tls)
        case let error as BoringSSLError: explain("\(error)", tls)
        default: ("cannot connect: \(error)", false)
        }
    }

    private static func explain(_ failure: ConnectFailure) -> (String, lasting: Bool) {
        switch failure {
        case .silent: ("accepts connections but does not answer; is etcd frozen there?", false)
        case .speaksTLS: ("speaks TLS there; write https:// instead of http://", true)
        case .speaksHTTP1: ("answers in HTTP/1, not as etcd v3 does; is this etcd's client port?", true)
        case .speaksOtherwise: ("does not speak HTTP/2; is this etcd's client port?", true)
        }
    }

    private static func explain(_ number: CInt) -> (String, lasting: Bool) {
        switch number {
        case ECONNREFUSED: ("connection refused; is etcd running there?", false)
        case ECONNRESET, EPIPE: ("reset the connection at once; is this etcd's client port?", false)
        default: ("cannot connect: \(String(cString: strerror(number)))", false)
        }
    }

    private static func explain(_ error: NIOConnectionError) -> (String, lasting: Bool) {
        if let single = error.connectionErrors.first?.error as? IOError { return explain(single.errnoCode) }
        if error.connectionErrors.isEmpty {
            return ("the name \(error.host) does not resolve; is it spelt right, and does DNS work?", false)
        }
        return ("no answer to the attempt to connect; is the address right?", false)
    }

    private static func endedEarly(
        _ failure: CallFailure, _ endpoint: EtcdSettings.Endpoint, _ tls: EtcdTLS
    ) -> String {
        guard endpoint.usesTLS else {
            return "\(failure.reason) before it spoke HTTP/2; if it wants TLS, write https:// instead of http://"
        }
        guard tls.certificateName == nil else { return "\(failure.reason) right after the TLS handshake" }
        return "\(failure.reason) right after the TLS handshake; "
            + "does it want a client certificate (ETCD_CERT_FILE, ETCD_KEY_FILE)?"
    }

    private static func explain(
        _ error: NIOSSLExtraError, _ endpoint: EtcdSettings.Endpoint
    ) -> (String, lasting: Bool) {
        guard error == .failedToValidateHostname else { return ("TLS failed: \(error)", true) }
        return (
            "the server's certificate is not for \(endpoint.host); use a name or address that it lists", true
        )
    }

    /// BoringSSL's names for what went wrong; alerts are the peer's complaints (RFC 8446, 6.2).
    private static func explain(_ text: String, _ tls: EtcdTLS) -> (String, lasting: Bool) {
        let contains = { (part: String) in text.contains(part) }
        if contains("CERTIFICATE_VERIFY_FAILED") {
            return ("the server's certificate is not signed by \(tls.authoritiesName), or has expired", true)
        }
        if contains("WRONG_VERSION_NUMBER") || contains("HTTP_REQUEST") {
            return ("does not speak TLS there; write http:// instead of https://", true)
        }
        if contains("CERTIFICATE_REQUIRED") || (contains("BAD_CERTIFICATE") && tls.certificateName == nil) {
            return ("wants a client certificate (ETCD_CERT_FILE, ETCD_KEY_FILE)", true)
        }
        for alert in [
            "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "CERTIFICATE_REVOKED",
        ]
        where contains(alert) {
            return ("the server refused our certificate \(tls.certificateName ?? "") (\(alert))", true)
        }
        // What `etcd --auto-tls` makes has a key on P-521, which BoringSSL does not offer.
        if contains("ALERT_HANDSHAKE_FAILURE") {
            return (
                "has no kind of TLS in common with this program (the key of its certificate must be RSA, P-256 or P-384)",
                true
            )
        }
        if contains("EOF during handshake") {
            return (
                "closed the connection during the TLS handshake; if it does not speak TLS there, write http:// "
                    + "instead of https://", false
            )
        }
        return ("TLS failed: \(text)", true)
    }
}

/// Looks at the peer's first bytes: a server of another kind is told apart before HTTP/2 stumbles over it.
final class FirstBytes: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        if let failure = FirstBytes.complaint(bytes) {
            context.fireErrorCaught(failure)
            return context.close(promise: nil)
        }
        context.fireChannelRead(data)
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    /// A server begins with SETTINGS (RFC 9113, 3.4): three bytes of length, then 4.
    private static func complaint(_ bytes: ByteBuffer) -> ConnectFailure? {
        let start = Array(bytes.readableBytesView.prefix(4))
        guard start.count == 4, start[3] != 4 else { return nil }
        if start == Array("HTTP".utf8) { return .speaksHTTP1 }
        // TLS records: alert 0x15, handshake 0x16, then version 3.x (RFC 8446, 5.1).
        if start[0] == 0x15 || start[0] == 0x16, start[1] == 3 { return .speaksTLS }
        return .speaksOtherwise
    }
}
