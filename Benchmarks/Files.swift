// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials

func contents(of path: String) throws -> String {
    do { return try String(contentsOfFile: path, encoding: .utf8) } catch {
        throw BenchmarkError("cannot read \(path): \(error)")
    }
}

/// The end of a log.
func tail(of path: String) -> String { String(((try? contents(of: path)) ?? "").suffix(2000)) }
