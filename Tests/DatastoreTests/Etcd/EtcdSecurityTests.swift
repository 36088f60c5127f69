// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Testing

extension EtcdTests {
    @Suite struct `Who may talk to etcd` {
        private let key = Key("/t/a")
        private let root = EtcdSettings.Credentials(user: "root", password: "s3cret")

        /// Reads with `change`d settings and expects an error with all of `parts`.
        private func expect(
            _ cluster: EtcdCluster, _ change: (inout EtcdSettings) -> Void, toSay parts: String...
        ) async {
            let store = cluster.store(callLimit: .milliseconds(600), change)
            do {
                _ = try await store.get(key)
                Issue.record("no error; expected \(parts)")
            } catch {
                let text = "\(error)"
                for part in parts { #expect(text.contains(part)) }
                #expect(!text.contains("s3cret") && !text.contains("wr0ng"))
            }
            await store.close()
        }

        @Test func `a wrong certificate gets a sentence that names it`() async throws {
            let certificates = try Certificates()
            try certificates.makeAuthority("other")
            try certificates.sign("stranger", with: "other")
            let cluster = try await EtcdCluster.start(certificates: certificates)
            let address = "https://127.0.0.1:23791"
            let path = certificates.path
            await expect(
                cluster, { $0.authorities = .file(path("other.pem")) }, toSay: address, "not signed by",
                path("other.pem"))
            await expect(
                cluster, { $0.authorities = nil }, toSay: address, "not signed by the system's certificate authorities")
            await expect(
                cluster,
                {
                    $0.certificate = .file(path("stranger.pem"))
                    $0.key = .file(path("stranger.key"))
                }, toSay: address, "refused our certificate", path("stranger.pem"))
            await expect(
                cluster,
                {
                    $0.certificate = nil
                    $0.key = nil
                }, toSay: address, "wants a client certificate")
            await expect(
                cluster, { $0.certificate = .file(path("server.pem")) }, toSay: path("server.pem"), "belong together")
            await expect(cluster, { $0.key = nil }, toSay: "both or neither")
            await expect(cluster, { $0.key = .file("/none.key") }, toSay: "/none.key", "No such file")
            await expect(cluster, { $0.authorities = .file(path("ca.key")) }, toSay: "no certificate")
            await expect(cluster, { $0.authorities = .text("nonsense") }, toSay: "in the configuration")
        }

        @Test func `a server of another name is refused`() async throws {
            let certificates = try Certificates()
            try certificates.sign("server", with: "ca", names: "IP:127.0.0.2")
            let cluster = try await EtcdCluster.start(certificates: certificates)
            await expect(cluster, { _ in }, toSay: "https://127.0.0.1:23791", "not for 127.0.0.1")
        }

        @Test func `a server whose certificate has a key of a kind that we do not know is told so`() async throws {
            let certificates = try Certificates()
            try certificates.sign("server", with: "ca", names: "IP:127.0.0.1", curve: "secp521r1")
            let cluster = try await EtcdCluster.start(certificates: certificates)
            await expect(cluster, { _ in }, toSay: "https://127.0.0.1:23791", "no kind of TLS in common", "P-256")
        }

        @Test func `a wrong scheme, port or server gets a sentence that names it`() async throws {
            let plain = try await EtcdCluster.start(arguments: ["--listen-metrics-urls", "http://127.0.0.1:23850"])
            await expect(plain, { $0.endpoints[0].usesTLS = true }, toSay: "https://127.0.0.1:23791", "http://")
            await expect(plain, { $0.endpoints[0].port = 1 }, toSay: "http://127.0.0.1:1: connection refused")
            await expect(plain, { $0.endpoints[0].port = 23850 }, toSay: "http://127.0.0.1:23850", "client port")
            await expect(
                plain, { $0.endpoints[0].host = "no.such.name.invalid" }, toSay: "no.such.name.invalid",
                "does not resolve")
            let tls = try await EtcdCluster.start(certificates: try Certificates())
            await expect(tls, { $0.endpoints[0].usesTLS = false }, toSay: "http://127.0.0.1:23791", "https://")
        }

        @Test func `inline certificates serve as well as files`() async throws {
            let cluster = try await EtcdCluster.start(certificates: try Certificates())
            let path = try #require(cluster.certificates).path
            let text = { (file: String) in
                EtcdSettings.PEM.text(
                    String(decoding: FileManager.default.contents(atPath: path(file)) ?? Data(), as: UTF8.self))
            }
            let store = cluster.store {
                $0.authorities = text("ca.pem")
                $0.certificate = text("client.pem")
                $0.key = text("client.key")
            }
            #expect(try await store.commit(put("/t/a", "1")).revision != nil)
            await store.close()
        }

        @Test func `replaced certificate files are read for the next connection`() async throws {
            let certificates = try Certificates()
            try certificates.makeAuthority("other")
            try certificates.sign("stranger", with: "other")
            let cluster = try await EtcdCluster.start(certificates: certificates)
            let files = [("client.pem", "stranger.pem"), ("client.key", "stranger.key")]
            for (used, other) in files { try replace(certificates.path(used), with: certificates.path(other)) }
            let store = cluster.store(callLimit: .seconds(1))
            await #expect { try await store.get(key) } throws: { "\($0)".contains("refused our certificate") }
            try certificates.sign("client", with: "ca")
            #expect(try await store.commit(put("/t/a", "1")).revision != nil)
            await store.close()
        }

        @Test func `a client that was connected follows to a new authority whose files replace the old ones`()
            async throws
        {
            let certificates = try Certificates()
            let cluster = try await EtcdCluster.start(certificates: certificates)
            let store = cluster.store()
            let first = try #require(try await store.commit(put("/t/a", "1")).revision)
            cluster.members[0].kill()
            try certificates.makeAuthority("ca")
            try certificates.sign("server", with: "ca", names: "IP:127.0.0.1")
            try certificates.sign("client", with: "ca")
            try await cluster.start(0)
            try await cluster.awaitReady()
            #expect(try await store.commit(put("/t/a", "2", since: first)).revision != nil)
            await store.close()
        }

        private func replace(_ path: String, with other: String) throws {
            try FileManager.default.removeItem(atPath: path)
            try FileManager.default.copyItem(atPath: other, toPath: path)
        }

        @Test func `user and password are needed, and must be right`() async throws {
            let cluster = try await EtcdCluster.startWithAuthentication(root)
            await expect(cluster, { _ in }, toSay: "ETCD_USERNAME", "http://127.0.0.1:23791")
            await expect(
                cluster, { $0.credentials = .init(user: "root", password: "wr0ng") }, toSay: "\"root\"",
                "wrong user name or password")
            await expect(
                cluster, { $0.credentials = .init(user: "limited", password: "l1mited") }, toSay: "\"limited\"",
                "permission denied", "/t/a")
            let store = cluster.store { $0.credentials = root }
            #expect(try await store.commit(put("/t/a", "1")).revision != nil)
            await store.close()
            let limited = cluster.store { $0.credentials = .init(user: "limited", password: "l1mited") }
            #expect(try await limited.commit(put("/limited/a", "1")).revision != nil)
            await #expect {
                for try await _ in limited.changes(under: Key("/t/"), after: Revision(1)) {}
            } throws: { "\($0)".contains("permission denied") && "\($0)".contains("/t/") }
            await limited.close()
        }

        @Test func `an expired token is renewed, for calls and watches`() async throws {
            let cluster = try await EtcdCluster.startWithAuthentication(root, arguments: ["--auth-token-ttl", "1"])
            let store = cluster.store { $0.credentials = root }
            let start = try await store.list(under: Key("/t/")).revision
            try await Task.sleep(for: .milliseconds(2_200))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<20 { group.addTask { _ = try await store.commit(put("/t/\(number)", "x")) } }
                try await group.waitForAll()
            }
            try await Task.sleep(for: .milliseconds(2_200))
            let writer = cluster.store { $0.credentials = root }
            let last = try await writer.commit(put("/t/last", "x")).revision
            let changes = try await collect(store.changes(under: Key("/t/"), after: start), until: last)
            #expect(changes.count == 21)
            await store.close()
        }

        @Test func `a password is not needed where etcd runs without`() async throws {
            let cluster = try await EtcdCluster.start()
            let store = cluster.store { $0.credentials = root }
            #expect(try await store.commit(put("/t/a", "1")).revision != nil)
            await store.close()
        }
    }
}

extension EtcdCluster {
    /// With `root`, and a user `limited` (`l1mited`) who may use what begins with `/limited/`.
    fileprivate static func startWithAuthentication(
        _ root: EtcdSettings.Credentials, arguments: [String] = []
    ) async throws -> EtcdCluster {
        let cluster = try await start(arguments: ["--bcrypt-cost", "4"] + arguments)
        try await cluster.etcdctl("user", "add", "\(root.user):\(root.password)")
        try await cluster.etcdctl("user", "add", "limited:l1mited")
        try await cluster.etcdctl("role", "add", "limited")
        try await cluster.etcdctl("role", "grant-permission", "limited", "readwrite", "/limited/", "--prefix")
        try await cluster.etcdctl("user", "grant-role", "limited", "limited")
        try await cluster.etcdctl("role", "add", "root")
        try await cluster.etcdctl("user", "grant-role", "root", "root")
        try await cluster.etcdctl("auth", "enable")
        return cluster
    }
}
