// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Foundation

/// What one engine sent to a plugin pair in the course of many commands, and what it was answered.
///
/// `29-constructed` was recorded from no engine: it is made after the sources of moby 29.0 to 29.7, and has what those
/// added to the wire. The container's name in RequestAddress, subnets without the key Gateway, Leave after a refused
/// Join and twice after an unusable one, `--ip` without `--subnet`.
struct Recording {
    struct Exchange: Decodable {
        /// The command that caused it.
        let `case`: String
        let method: String
        let request: JSONValue?
        let response: JSONValue
        /// 200 where absent; a text where the connection broke.
        let status: JSONValue?

        var isSuccess: Bool { status == nil && response["Err"] == nil && response["Error"] == nil }
    }

    let name: String
    let exchanges: [Exchange]

    static let names = [
        "20.10.24", "20.10.24-experiments", "26.1.5", "26.1.5-experiments", "28.5.2", "28.5.2-experiments",
        "29-constructed",
    ]

    init(_ name: String) throws {
        self.name = name
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: folder.appending(path: "Recordings/\(name).jsonl"), encoding: .utf8)
        exchanges = try text.split(separator: "\n").map {
            try JSONDecoder().decode(Exchange.self, from: Data($0.utf8))
        }
    }

    /// The exchanges of each command, in the order of the commands.
    var cases: [(name: String, exchanges: [Exchange])] {
        var cases: [(name: String, exchanges: [Exchange])] = []
        for exchange in exchanges {
            if cases.last?.name != exchange.case { cases.append((exchange.case, [])) }
            cases[cases.count - 1].exchanges.append(exchange)
        }
        return cases
    }
}
