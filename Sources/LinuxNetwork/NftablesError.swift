// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// libnftables' complaints about one batch of commands, of which none has taken effect.
public struct NftablesError: Error, Equatable, CustomStringConvertible {
    public let messages: [Message]

    /// One complaint.
    public struct Message: Sendable, Equatable, CustomStringConvertible {
        /// As libnftables words it, e.g. `Could not process rule: No such file or directory`.
        public let text: String
        /// Counted from 1 in the commands given; `nil` where libnftables does not know it.
        public let line: Int?
        /// That line.
        public let command: String?

        init(text: String, line: Int? = nil, command: String? = nil) {
            self.text = text
            self.line = line
            self.command = command
        }

        public var description: String {
            guard let line, let command else { return text }
            return "\(text), at line \(line): \(command)"
        }
    }

    init(messages: [Message]) {
        self.messages = messages
    }

    /// Reads the library's report: for each complaint `FILE:LINE:FIRST-LAST: Error: TEXT`, then the line and a marker
    /// below it, or just `Error: TEXT` where there is no place to name.
    init(report: String, commands: String) {
        let lines = commands.split(separator: "\n", omittingEmptySubsequences: false)
        let messages = report.split(separator: "\n").compactMap { Message(reported: $0, lines: lines) }
        self.messages =
            messages.isEmpty ? [Message(text: report.isEmpty ? "failed without a reason" : report)] : messages
    }

    /// Something named in the commands does not exist: a table, chain, set or element (ENOENT).
    public var isAbsent: Bool { messages.contains { $0.text.contains("No such file or directory") } }

    public var description: String { "nftables: " + messages.map(\.description).joined(separator: "; ") }
}

extension NftablesError.Message {
    /// `nil` for the lines of a report that repeat the command or mark a place in it.
    fileprivate init?(reported: Substring, lines: [Substring]) {
        guard let marker = reported.firstRange(of: "Error: ") else { return nil }
        let place = reported[..<marker.lowerBound].split(separator: ":")
        let text = String(reported[marker.upperBound...])
        guard !place.isEmpty else {
            self.init(text: text)
            return
        }
        guard place.count == 4, place[3] == " ", let line = Int(place[1]) else { return nil }
        let command = lines.indices.contains(line - 1) ? String(lines[line - 1]) : nil
        self.init(text: text, line: command == nil ? nil : line, command: command)
    }
}
