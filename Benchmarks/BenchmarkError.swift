// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// Why there are no figures.
struct BenchmarkError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    /// Says what `errno` says.
    static func system(_ what: String) -> BenchmarkError {
        BenchmarkError("cannot \(what): \(String(cString: strerror(errno)))")
    }
}

/// Tells on standard error what is being done; the figures alone go to standard output.
func progress(_ text: String) {
    let bytes = Array("bench: \(text)\n".utf8)
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
