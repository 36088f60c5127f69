// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials
import Glibc

/// Whether a plugin socket belongs to a process that lives. A dead one's file is replaced; taking a live one's away
/// would leave two daemons on one store and, when either stops, none on the socket.
enum SocketOwner {
    /// - Throws: naming the socket that somebody else serves.
    static func check(_ paths: [String]) throws {
        for path in paths where isServed(path) {
            throw Configuration.Problem(
                description: "another process serves \(path); stop that one first, or set "
                    + "CALICO_LIBNETWORK_SOCKET_DIR to another folder")
        }
    }

    /// The sockets of managed plugins: each has a folder of its own below the engine's. `doctor` looks for ours there,
    /// and two daemons on one host are one too many, whichever way they were started.
    static func servedByManagedPlugins(in directory: String, named file: String) -> [String] {
        let folders = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return folders.sorted().map { "\(directory)/\($0)/\(file)" }.filter(isServed)
    }

    static func isServed(_ path: String) -> Bool {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return false }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
    }
}
