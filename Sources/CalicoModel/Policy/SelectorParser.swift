// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Recursive descent over a selector's words: `||` binds loosest, then `&&`, then `!`.
struct SelectorParser {
    /// Brackets inside brackets, so that no text can exhaust the stack.
    static let nestingLimit = 200

    private var tokenizer: SelectorTokenizer
    private var token: SelectorToken
    private var depth = 0

    init(_ text: String) throws(SelectorError) {
        tokenizer = SelectorTokenizer(text)
        token = try tokenizer.next()
    }

    mutating func parse() throws(SelectorError) -> Selector.Condition {
        if token.kind == .end { return .all }
        let condition = try disjunction()
        guard token.kind == .end else { throw unexpected("nothing more") }
        return condition
    }

    private mutating func disjunction() throws(SelectorError) -> Selector.Condition {
        var parts = [try conjunction()]
        while try take(.or) { parts.append(try conjunction()) }
        return parts.count == 1 ? parts[0] : .or(parts)
    }

    private mutating func conjunction() throws(SelectorError) -> Selector.Condition {
        var parts = [try operation()]
        while try take(.and) { parts.append(try operation()) }
        return parts.count == 1 ? parts[0] : .and(parts)
    }

    private mutating func operation() throws(SelectorError) -> Selector.Condition {
        var negated = false
        while try take(.not) { negated.toggle() }
        let condition = try operand()
        return negated ? .not(condition) : condition
    }

    private mutating func operand() throws(SelectorError) -> Selector.Condition {
        let kind = token.kind
        switch kind {
        case .all, .global, .has, .label, .leftParenthesis: try advance()
        default: throw unexpected("a label, has(), all(), global() or '('")
        }
        switch kind {
        case .global: return .global
        case .has(let key): return .has(key)
        case .label(let key): return try comparison(of: key)
        case .leftParenthesis: return try bracketed()
        default: return .all
        }
    }

    private mutating func bracketed() throws(SelectorError) -> Selector.Condition {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.nestingLimit else { throw unexpected("at most \(Self.nestingLimit) nested brackets") }
        let condition = try disjunction()
        guard try take(.rightParenthesis) else { throw unexpected("')'") }
        return condition
    }

    private mutating func comparison(of key: String) throws(SelectorError) -> Selector.Condition {
        let kind = token.kind
        switch kind {
        case .equals, .differs, .contains, .startsWith, .endsWith, .isIn, .isNotIn: try advance()
        default: throw unexpected("an operator after label \"\(key)\"")
        }
        switch kind {
        case .equals: return .equals(key, try string())
        case .differs: return .differs(key, try string())
        case .contains: return .contains(key, try string())
        case .startsWith: return .startsWith(key, try string())
        case .endsWith: return .endsWith(key, try string())
        case .isIn: return .isIn(key, try set())
        default: return .isNotIn(key, try set())
        }
    }

    /// A comma may follow the last value.
    private mutating func set() throws(SelectorError) -> [String] {
        guard try take(.leftBrace) else { throw unexpected("'{'") }
        var values: Set<String> = []
        while try !take(.rightBrace) {
            values.insert(try string())
            if try !take(.comma), token.kind != .rightBrace { throw unexpected("',' or '}'") }
        }
        return values.sorted()
    }

    private mutating func string() throws(SelectorError) -> String {
        guard case .string(let value) = token.kind else { throw unexpected("a text in quotes") }
        try advance()
        return value
    }

    private mutating func take(_ kind: SelectorToken.Kind) throws(SelectorError) -> Bool {
        guard token.kind == kind else { return false }
        try advance()
        return true
    }

    private mutating func advance() throws(SelectorError) { token = try tokenizer.next() }

    private func unexpected(_ expected: String) -> SelectorError {
        tokenizer.error("expected \(expected)", at: token.position)
    }
}
