// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import FoundationEssentials
import Glibc
import Logging

/// How log lines look.
enum LogFormat: String {
    /// For people: `2026-01-02T03:04:05Z info served method=… ms=1.2`
    case text
    /// One JSON object a line.
    case json
}

/// Log lines on standard output, each in one write(2), so that lines of two tasks never mix.
struct LogOutput: LogHandler {
    let format: LogFormat
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { _, own in own }
        let line = format == .json ? json(event, all) : text(event, all)
        var bytes = Array(line.utf8)
        bytes.append(UInt8(ascii: "\n"))
        bytes.withUnsafeBytes { _ = write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    }

    private func text(_ event: LogEvent, _ metadata: Logger.Metadata) -> String {
        let facts = metadata.sorted { $0.key < $1.key }.map { key, value in
            let text = "\(value)"
            return " \(key)=" + (text.utf8.allSatisfy(\.isPlain) ? text : quoted(text))
        }
        return "\(Timestamp.text(.now)) \(event.level.rawValue) \(event.message)\(facts.joined())"
    }

    private func json(_ event: LogEvent, _ metadata: Logger.Metadata) -> String {
        var fields = metadata.mapValues { "\($0)" }
        fields["time"] = Timestamp.text(.now)
        fields["level"] = event.level.rawValue
        fields["message"] = "\(event.message)"
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(fields)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }

    /// JSON's quoting, so that whatever a name contains stays on its line.
    private func quoted(_ text: String) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return (try? encoder.encode(text)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
    }
}

extension UInt8 {
    /// Needs no quotation marks around it: neither a blank or a control character, nor part of something beyond ASCII,
    /// where Unicode has more line ends.
    fileprivate var isPlain: Bool { self > 0x20 && self < 0x7f && self != UInt8(ascii: "\"") }
}
