// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials
import Glibc
import NIOCore
import NIOSSL
import Synchronization

/// Certificates and key, read when a connection is made and one of their files has changed since the last.
final class EtcdTLS: Sendable {
    /// What tells one version of a file from the next without reading it.
    private struct Stamp: Equatable {
        let inode: UInt64
        let size: Int64
        let seconds: Int
        let nanoseconds: Int
    }

    private struct Loaded {
        let stamps: [Stamp?]
        let context: NIOSSLContext
    }

    private let authorities: EtcdSettings.PEM?
    private let certificate: EtcdSettings.PEM?
    private let key: EtcdSettings.PEM?
    private let loaded = Mutex<Loaded?>(nil)

    init(_ settings: EtcdSettings) {
        authorities = settings.authorities
        certificate = settings.certificate
        key = settings.key
    }

    /// How the trusted authorities are called in an error.
    var authoritiesName: String { authorities?.name ?? "the system's certificate authorities" }
    var certificateName: String? { certificate?.name }

    /// Throws a failure that names the file at fault.
    func context() throws(CallFailure) -> NIOSSLContext {
        // Before reading: a change while we read is then seen the next time.
        let stamps = [authorities, certificate, key].map { $0?.path.flatMap(EtcdTLS.stamp) }
        if let loaded = loaded.withLock({ $0 }), loaded.stamps == stamps { return loaded.context }
        let context = try load()
        loaded.withLock { $0 = Loaded(stamps: stamps, context: context) }
        return context
    }

    private static func stamp(_ path: String) -> Stamp? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Stamp(
            inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec)
    }

    private func load() throws(CallFailure) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = .fullVerification
        configuration.applicationProtocols = ["h2"]
        // A frozen peer does not say goodbye.
        configuration.shutdownTimeout = .milliseconds(200)
        if let authorities { configuration.trustRoots = .certificates(try certificates(in: authorities)) }
        guard (certificate == nil) == (key == nil) else {
            throw failure("a client certificate needs its key, and the other way round: set both or neither")
        }
        if let certificate, let key {
            configuration.certificateChain = try certificates(in: certificate).map { .certificate($0) }
            configuration.privateKey = .privateKey(try privateKey(in: key))
        }
        do { return try NIOSSLContext(configuration: configuration) } catch {
            let names = [certificate, key].compactMap { $0?.name }.joined(separator: " and ")
            throw failure("\(names) cannot be used: do the key and the certificate belong together? (\(error))")
        }
    }

    private func certificates(in pem: EtcdSettings.PEM) throws(CallFailure) -> [NIOSSLCertificate] {
        let bytes = try read(pem)
        guard let certificates = try? NIOSSLCertificate.fromPEMBytes(bytes), !certificates.isEmpty else {
            throw failure("\(pem.name) holds no certificate in PEM form")
        }
        return certificates
    }

    private func privateKey(in pem: EtcdSettings.PEM) throws(CallFailure) -> NIOSSLPrivateKey {
        let bytes = try read(pem)
        guard let key = try? NIOSSLPrivateKey(bytes: bytes, format: .pem) else {
            throw failure("\(pem.name) holds no private key in PEM form without a passphrase")
        }
        return key
    }

    private func read(_ pem: EtcdSettings.PEM) throws(CallFailure) -> [UInt8] {
        switch pem {
        case .text(let text): return Array(text.utf8)
        case .file(let path):
            guard access(path, R_OK) == 0, let data = try? Data(contentsOf: URL(filePath: path)) else {
                throw failure("cannot read \(path): \(String(cString: strerror(errno)))")
            }
            return Array(data)
        }
    }

    private func failure(_ reason: String) -> CallFailure {
        CallFailure(.connection(lasting: true), at: nil, reason, mayHaveRun: false)
    }
}

extension EtcdSettings.PEM {
    var path: String? { if case .file(let path) = self { path } else { nil } }
    var name: String { path ?? "the certificate text in the configuration" }
}
