// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Testing

extension SystemTests.OnEtcd {
    /// What keeps a daemon from etcd, and the words that name it.
    struct Obstacle: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let settings: [String]
        let words: [String]
    }

    private static let tls = "172.30.0.1:2479"

    private static let obstacles = [
        Obstacle(
            testDescription: "a wrong password",
            settings: ["ETCD_ENDPOINTS=http://172.30.0.1:2379", "ETCD_USERNAME=root", "ETCD_PASSWORD=wr0ng"],
            words: ["http://172.30.0.1:2379", "wrong user name or password", "root"]),
        Obstacle(
            testDescription: "a wrong port", settings: ["ETCD_ENDPOINTS=http://172.30.0.1:2378"],
            words: ["http://172.30.0.1:2378: connection refused; is etcd running there?"]),
        Obstacle(
            testDescription: "http where etcd speaks TLS", settings: ["ETCD_ENDPOINTS=http://\(tls)"],
            words: ["http://\(tls)", "write https:// instead of http://"]),
        Obstacle(
            testDescription: "a certificate of nobody we know", settings: ["ETCD_ENDPOINTS=https://\(tls)"],
            words: ["https://\(tls)", "not signed by the system's certificate authorities"]),
    ]

    @Test func `what keeps the daemon from etcd is named in its log and by doctor, and it lives`() async throws {
        let other = try await startTLSEtcd()
        defer { kill(other, SIGTERM) }
        try await lab.etcdctl("user add root:s3cret")
        try await lab.etcdctl("user grant-role root root")
        try await lab.etcdctl("auth enable")
        for obstacle in Self.obstacles { try await expectNamed(obstacle) }
        try await lab.etcdctl("--user root:s3cret auth disable")
        try await lab.stopPlugin()
        try await lab.startPlugin()
    }

    private func expectNamed(_ obstacle: Obstacle) async throws {
        try await lab.stopPlugin()
        lab.mark(obstacle.testDescription)
        let start = try log().count
        let settings = obstacle.settings + ["CALICO_LIBNETWORK_REQUEST_TIMEOUT=1s"]
        try await lab.startPlugin(settings)
        let isLogged = try await lab.eventually(within: 10) {
            let text = try log().dropFirst(start)
            return obstacle.words.allSatisfy { text.contains($0) }
        }
        let text = try log().dropFirst(start)
        #expect(isLogged, "\(obstacle.testDescription): \(text)")
        #expect(try await plugin.call("NetworkDriver.GetCapabilities", "").status == 200)
        let report = await lab.attempt("env \(settings.joined(separator: " ")) calico-libnetwork doctor")
        #expect(report.status == 1)
        for word in obstacle.words { #expect(report.output.contains(word), "\(report.output)\(report.errors)") }
        #expect(!report.output.contains("wr0ng") && !text.contains("wr0ng"))
    }

    private func log() throws -> String {
        try String(contentsOfFile: "\(lab.directory)/\(lab.host)/plugin.log", encoding: .utf8)
    }

    /// Another etcd beside the lab's, with a certificate that nobody else has signed: its process.
    private func startTLSEtcd() async throws -> pid_t {
        let (folder, peer) = ("\(lab.directory)/tls-etcd", "http://127.0.0.1:2480")
        let pid = try await lab.runOutside(
            """
            mkdir \(folder) && cd \(folder) && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
                -keyout key -out certificate -days 2 -subj /CN=etcd -addext subjectAltName=IP:\(Lab.outside) 2>log || exit
            timeout 120 etcd --name tls --data-dir data --cert-file certificate --key-file key --logger zap \
                --listen-client-urls https://\(Self.tls) --advertise-client-urls https://\(Self.tls) \
                --listen-peer-urls \(peer) --initial-advertise-peer-urls \(peer) --initial-cluster tls=\(peer) \
                >log 2>&1 & echo $!
            """)
        return try #require(pid_t(pid))
    }
}
