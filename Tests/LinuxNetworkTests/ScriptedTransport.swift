// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import LinuxNetwork
import Testing

/// Hands out prepared datagrams and keeps what was sent. Sequence numbers in both start at 1.
final class ScriptedTransport: NetlinkTransport {
    private(set) var sent: [[UInt8]] = []
    private var answers: [[UInt8]]

    init(answers: [[UInt8]]) {
        self.answers = answers
    }

    func send(_ datagram: [UInt8]) {
        sent.append(datagram)
    }

    func receive() throws -> [UInt8] {
        if answers.isEmpty { throw NetlinkError.malformed("the script has no more answers") }
        return answers.removeFirst()
    }
}

/// Bytes from annotated hex: blanks are free, `//` starts a comment, `'text'` stands for its bytes.
func hex(_ text: String) -> [UInt8] {
    text.split(separator: "\n").flatMap { line -> [UInt8] in
        let parts = line.prefix(upTo: line.firstRange(of: "//")?.lowerBound ?? line.endIndex).split(separator: "'")
        // Quotes hold no blank at a line's start, so odd parts are the quoted ones.
        return parts.enumerated().flatMap { index, part in index % 2 == 1 ? Array(part.utf8) : digits(part) }
    }
}

private func digits(_ text: Substring) -> [UInt8] {
    let digits = text.filter { !$0.isWhitespace }.map { UInt8($0.hexDigitValue!) }
    precondition(digits.count % 2 == 0, "half a byte in \(text)")
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// For comparing: differences show as text.
func hexText(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
}

/// NLMSG_ERROR with code 0, capped.
func acknowledgement(_ sequence: UInt8) -> [UInt8] {
    hex(
        """
        24 00 00 00  02 00  00 01                                   // 36 bytes, NLMSG_ERROR, NLM_F_CAPPED
        """) + [sequence, 0, 0, 0] + hex("00 00 00 00  00 00 00 00") + [UInt8](repeating: 0, count: 16)
}
