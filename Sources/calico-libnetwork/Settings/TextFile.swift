// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// Small files of text: settings, names, certificates.
enum TextFile {
    /// More than any certificate bundle (`ca-certificates.crt` has 220 KB).
    static let sizeLimit = 4 << 20  // bytes

    /// The text of a file; `nil` where there is none.
    /// - Throws: `Configuration.Problem` with path and reason.
    static func read(_ path: String) throws -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            if [ENOENT, ENOTDIR].contains(errno) { return nil }
            throw problem(path, String(cString: strerror(errno)))
        }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            guard count >= 0 else { throw problem(path, String(cString: strerror(errno))) }
            guard count > 0 else { break }
            bytes += buffer[..<count]
            guard bytes.count <= sizeLimit else { throw problem(path, "it is larger than \(sizeLimit >> 20) MiB") }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw problem(path, "it is not UTF-8 text") }
        return text
    }

    private static func problem(_ path: String, _ reason: String) -> Configuration.Problem {
        Configuration.Problem(description: "cannot read \(path): \(reason)")
    }
}
