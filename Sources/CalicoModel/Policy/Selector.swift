// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// A Calico selector: a condition on labels, such as `role == "db" && !has(retired)`.
///
/// Two selectors that differ only in blanks, quotes, superfluous brackets or the order inside `{…}` are equal, so they
/// can share one set of addresses.
public struct Selector: Hashable, Sendable, CustomStringConvertible {
    /// Canonical text; parsing it gives this selector again.
    public let text: String
    let condition: Condition

    /// What the text says, as a tree.
    indirect enum Condition: Sendable {
        case all
        /// Written `global()`: true for everything, but `namespaceSelector` reads it as "outside any namespace".
        case global
        case has(String)
        case equals(String, String)
        case differs(String, String)
        /// The values are sorted and distinct.
        case isIn(String, [String])
        case isNotIn(String, [String])
        case contains(String, String)
        case startsWith(String, String)
        case endsWith(String, String)
        case not(Condition)
        case and([Condition])
        case or([Condition])
    }

    /// Parses a selector; empty text means `all()`.
    public init(_ text: String) throws(SelectorError) {
        var parser = try SelectorParser(text)
        self.init(try parser.parse())
    }

    init(_ condition: Condition) {
        self.condition = condition
        text = condition.text
    }

    /// Everything.
    public static let all = Selector(.all)
    /// Nothing.
    public static let none = Selector(.not(.all))

    /// Whether something with these labels is selected.
    public func matches(_ labels: [String: String]) -> Bool { condition.matches { labels[$0] } }

    /// As ``matches(_:)-swift.method``, for labels that lie in more than one place.
    /// - Parameter label: the value of a label, `nil` where there is no such label.
    public func matches(_ label: (String) -> String?) -> Bool { condition.matches(label) }

    /// True for what both select.
    public func and(_ other: Selector) -> Selector {
        switch (condition, other.condition) {
        case (.all, _): other
        case (_, .all): self
        default: Selector(.and(condition.conjuncts + other.condition.conjuncts))
        }
    }

    /// Label `key` has exactly this value.
    public static func label(_ key: String, equals value: String) -> Selector { Selector(.equals(key, value)) }
    /// Label `key` has one of these values.
    public static func label(_ key: String, isIn values: [String]) -> Selector {
        Selector(.isIn(key, Set(values).sorted()))
    }
    /// Label `key` is there.
    public static func has(_ key: String) -> Selector { Selector(.has(key)) }

    /// The same condition on labels whose keys begin with `prefix`, which is how Calico's endpoints carry the labels of
    /// their namespace (`pcns.`) and service account (`pcsa.`).
    public func prefixingLabels(with prefix: String) -> Selector {
        Selector(condition.mapLabels { prefix + $0 })
    }

    public var isAll: Bool { if case .all = condition { true } else { false } }
    public var isGlobal: Bool { if case .global = condition { true } else { false } }
    /// Whether `global()` stands anywhere in it.
    public var mentionsGlobal: Bool { condition.mentionsGlobal }

    public var description: String { text }
    public static func == (a: Selector, b: Selector) -> Bool { a.text == b.text }
    public func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

/// Why a text is no selector.
public struct SelectorError: Error, Hashable, CustomStringConvertible {
    public let selector: String
    /// Offset in bytes at which reading stopped making sense.
    public let position: Int
    public let reason: String

    public var description: String { "selector \"\(selector)\" at byte \(position): \(reason)" }
}

extension Selector.Condition {
    /// An absent label fulfils only `!=` and `not in`.
    func matches(_ label: (String) -> String?) -> Bool {
        switch self {
        case .all, .global: true
        case .has(let key): label(key) != nil
        case .equals(let key, let value): label(key) == value
        case .differs(let key, let value): label(key) != value
        case .isIn(let key, let values): label(key).map(values.contains) ?? false
        case .isNotIn(let key, let values): !(label(key).map(values.contains) ?? false)
        case .contains(let key, let part): label(key)?.utf8.containsBytes(part.utf8) ?? false
        case .startsWith(let key, let part): label(key)?.utf8.starts(with: part.utf8) ?? false
        case .endsWith(let key, let part): label(key)?.utf8.reversed().starts(with: part.utf8.reversed()) ?? false
        case .not(let condition): !condition.matches(label)
        case .and(let conditions): conditions.allSatisfy { $0.matches(label) }
        case .or(let conditions): conditions.contains { $0.matches(label) }
        }
    }

    var conjuncts: [Self] { if case .and(let conditions) = self { conditions } else { [self] } }

    fileprivate var mentionsGlobal: Bool {
        switch self {
        case .global: true
        case .not(let condition): condition.mentionsGlobal
        case .and(let conditions), .or(let conditions): conditions.contains(where: \.mentionsGlobal)
        default: false
        }
    }

    func mapLabels(_ transform: (String) -> String) -> Self {
        switch self {
        case .all, .global: self
        case .has(let key): .has(transform(key))
        case .equals(let key, let value): .equals(transform(key), value)
        case .differs(let key, let value): .differs(transform(key), value)
        case .isIn(let key, let values): .isIn(transform(key), values)
        case .isNotIn(let key, let values): .isNotIn(transform(key), values)
        case .contains(let key, let part): .contains(transform(key), part)
        case .startsWith(let key, let part): .startsWith(transform(key), part)
        case .endsWith(let key, let part): .endsWith(transform(key), part)
        case .not(let condition): .not(condition.mapLabels(transform))
        case .and(let conditions): .and(conditions.map { $0.mapLabels(transform) })
        case .or(let conditions): .or(conditions.map { $0.mapLabels(transform) })
        }
    }

    var text: String {
        switch self {
        case .all: "all()"
        case .global: "global()"
        case .has(let key): "has(\(key))"
        case .equals(let key, let value): "\(key) == \(quoted(value))"
        case .differs(let key, let value): "\(key) != \(quoted(value))"
        case .isIn(let key, let values): "\(key) in {\(values.map(quoted).joined(separator: ", "))}"
        case .isNotIn(let key, let values): "\(key) not in {\(values.map(quoted).joined(separator: ", "))}"
        case .contains(let key, let part): "\(key) contains \(quoted(part))"
        case .startsWith(let key, let part): "\(key) starts with \(quoted(part))"
        case .endsWith(let key, let part): "\(key) ends with \(quoted(part))"
        case .not(let condition): "!\(condition.text)"
        case .and(let conditions): "(\(conditions.map(\.text).joined(separator: " && ")))"
        case .or(let conditions): "(\(conditions.map(\.text).joined(separator: " || ")))"
        }
    }

    /// The language has no escapes: a text holds at most one kind of quote.
    private func quoted(_ value: String) -> String {
        value.utf8.contains(UInt8(ascii: "\"")) ? "'\(value)'" : "\"\(value)\""
    }
}

extension String.UTF8View {
    fileprivate func containsBytes(_ part: String.UTF8View) -> Bool {
        part.isEmpty || indices.contains { self[$0...].starts(with: part) }
    }
}
