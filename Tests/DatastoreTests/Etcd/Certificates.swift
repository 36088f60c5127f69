// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation

/// A folder with an authority (`ca`), and a server's and a client's certificate that it signed.
final class Certificates: Sendable {
    let folder: String

    init() throws {
        folder = NSTemporaryDirectory() + "certificates-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try makeAuthority("ca")
        try sign("server", with: "ca", names: "IP:127.0.0.1,DNS:etcd.test")
        try sign("client", with: "ca")
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func path(_ file: String) -> String { "\(folder)/\(file)" }

    func makeAuthority(_ name: String) throws {
        try openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path("\(name).key"))
        try openssl(
            "req", "-x509", "-new", "-key", path("\(name).key"), "-subj", "/CN=\(name)", "-days", "2", "-out",
            path("\(name).pem"))
    }

    /// - Parameter names: As openssl's subjectAltName.
    func sign(_ name: String, with authority: String, names: String? = nil, curve: String = "prime256v1") throws {
        try openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", path("\(name).key"))
        try openssl("req", "-new", "-key", path("\(name).key"), "-subj", "/CN=\(name)", "-out", path("\(name).csr"))
        let extensions = path("\(name).ext")
        let text = "extendedKeyUsage=serverAuth,clientAuth\n" + (names.map { "subjectAltName=\($0)\n" } ?? "")
        try text.write(toFile: extensions, atomically: true, encoding: .utf8)
        try openssl(
            "x509", "-req", "-in", path("\(name).csr"), "-CA", path("\(authority).pem"), "-CAkey",
            path("\(authority).key"), "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out",
            path("\(name).pem"))
    }

    private func openssl(_ arguments: String...) throws { try NamespaceThread.run(["openssl"] + arguments) }
}
