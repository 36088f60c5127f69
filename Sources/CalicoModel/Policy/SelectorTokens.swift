// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// One word of a selector, with the byte offset it begins at.
struct SelectorToken: Equatable {
    enum Kind: Equatable {
        case leftParenthesis, rightParenthesis, leftBrace, rightBrace, comma
        case not, and, or
        case equals, differs, isIn, isNotIn, contains, startsWith, endsWith
        case all, global
        case has(String)
        case label(String)
        case string(String)
        case end
    }

    let kind: Kind
    let position: Int
}

/// Splits a selector's text into words.
struct SelectorTokenizer {
    /// Bytes in an identifier, libcalico-go `lib/selector/tokenizer`.
    static let identifierLimit = 512

    private let text: String
    private let bytes: [UInt8]
    private var position = 0
    private var followsLabel = false

    init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    func error(_ reason: String, at position: Int? = nil) -> SelectorError {
        SelectorError(selector: text, position: position ?? self.position, reason: reason)
    }

    mutating func next() throws(SelectorError) -> SelectorToken {
        skipBlanks()
        let start = position
        let kind = try nextKind()
        if case .label = kind { followsLabel = true } else { followsLabel = false }
        return SelectorToken(kind: kind, position: start)
    }

    private mutating func nextKind() throws(SelectorError) -> SelectorToken.Kind {
        guard position < bytes.count else { return .end }
        if let quote = quote() { return try string(closedBy: quote) }
        for (symbol, kind) in Self.symbols where consume(symbol) { return kind }
        guard followsLabel else { return try functionOrLabel() }
        guard let kind = wordOperator() else { throw error("expected an operator after the label") }
        return kind
    }

    private static let symbols: [(String, SelectorToken.Kind)] = [
        ("(", .leftParenthesis), (")", .rightParenthesis), ("{", .leftBrace), ("}", .rightBrace), (",", .comma),
        ("==", .equals), ("!=", .differs), ("!", .not), ("&&", .and), ("||", .or),
    ]

    private func quote() -> UInt8? {
        "\"'".utf8.contains(bytes[position]) ? bytes[position] : nil
    }

    private mutating func string(closedBy quote: UInt8) throws(SelectorError) -> SelectorToken.Kind {
        guard let end = bytes[(position + 1)...].firstIndex(of: quote) else {
            throw error("the text has no closing quote")
        }
        defer { position = end + 1 }
        return .string(String(decoding: bytes[(position + 1)..<end], as: UTF8.self))
    }

    /// `has(k)`, `all()` and `global()`; without the bracket right behind it, each of these words is a label.
    private mutating func functionOrLabel() throws(SelectorError) -> SelectorToken.Kind {
        let start = position
        for (name, kind) in [("all(", SelectorToken.Kind.all), ("global(", .global)] where consume(name) {
            skipBlanks()
            if consume(")") { return kind }
            position = start
        }
        guard consume("has(") else { return .label(try identifier()) }
        skipBlanks()
        let key = try identifier()
        skipBlanks()
        guard consume(")") else { throw error("expected ')' after the label of has()") }
        return .has(key)
    }

    /// Blanks between two words may be missing; behind the last one the word must end.
    private mutating func wordOperator() -> SelectorToken.Kind? {
        let operators: [([String], SelectorToken.Kind)] = [
            (["contains"], .contains), (["starts", "with"], .startsWith), (["ends", "with"], .endsWith),
            (["not", "in"], .isNotIn), (["in"], .isIn),
        ]
        let start = position
        for (words, kind) in operators {
            let found = words.allSatisfy { word in
                skipBlanks()
                return consume(word)
            }
            if found, position == bytes.count || !Self.isWordByte(bytes[position]) { return kind }
            position = start
        }
        return nil
    }

    private mutating func identifier() throws(SelectorError) -> String {
        let end = bytes[position...].firstIndex { !Self.isIdentifierByte($0) } ?? bytes.count
        guard end > position else { throw error("unexpected character") }
        guard end - position <= Self.identifierLimit else {
            throw error("the label is over \(Self.identifierLimit) bytes")
        }
        defer { position = end }
        return String(decoding: bytes[position..<end], as: UTF8.self)
    }

    private mutating func consume(_ word: String) -> Bool {
        guard bytes[position...].starts(with: word.utf8) else { return false }
        position += word.utf8.count
        return true
    }

    private mutating func skipBlanks() {
        while position < bytes.count, bytes[position] == UInt8(ascii: " ") || bytes[position] == UInt8(ascii: "\t") {
            position += 1
        }
    }

    /// Regular expressions' `\w`.
    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isIdentifierByte(_ byte: UInt8) -> Bool { isWordByte(byte) || "./-".utf8.contains(byte) }
}
