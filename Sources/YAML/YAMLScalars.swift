// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import CalicoModel

extension YAMLNode {
    /// The value in JSON's terms: plain scalars after YAML 1.2's core schema, others as strings.
    /// - Throws: `YAMLError` for `.inf` and `.nan`, which JSON does not have.
    public func json() throws(YAMLError) -> JSONValue {
        switch content {
        case .scalar(let scalar):
            guard let value = scalar.json else {
                throw YAMLError(at: position, "\(scalar.text) is no number that JSON has")
            }
            return value
        case .sequence(let elements):
            var values: [JSONValue] = []
            for element in elements { values.append(try element.json()) }
            return .array(values)
        case .mapping(let members):
            var values: [String: JSONValue] = [:]
            for (name, value) in members { values[name.text] = try value.json() }
            return .object(values)
        }
    }
}

extension YAMLNode.Scalar {
    static let coreTag = "tag:yaml.org,2002:"

    init(_ text: String, isPlain: Bool, tag: String?, at position: YAMLPosition) throws(YAMLError) {
        switch tag {
        case nil: self.init(text: text, isString: !isPlain)
        case "!", Self.coreTag + "str": self.init(text: text, isString: true)
        case let tag?:
            self.init(text: text, isString: false)
            guard isPlain, let kinds = json?.coreTags, kinds.contains(where: { Self.coreTag + $0 == tag }) else {
                throw YAMLError(at: position, "the tag \(tag) is not understood for \"\(text)\"")
            }
        }
    }

    /// Nothing written, `~` or `null`.
    public var isNull: Bool { !isString && ["", "~", "null", "Null", "NULL"].contains(text) }

    /// `nil` for `.inf` and `.nan`.
    var json: JSONValue? {
        if isString { return .string(text) }
        if isNull { return .null }
        switch text {
        case "true", "True", "TRUE": return true
        case "false", "False", "FALSE": return false
        default: break
        }
        if let number = integer { return number }
        // "1e999" is written as a number, but JSON's readers could not take it in.
        if isDecimal { return Double(text).flatMap { $0.isFinite ? .number($0) : nil } }
        return isNoNumber ? nil : .string(text)
    }

    /// `[-+]?[0-9]+`, `0o[0-7]+`, `0x[0-9a-fA-F]+`; beyond 64 bits a floating point number, as in Go.
    private var integer: JSONValue? {
        for (prefix, radix) in [("0o", 8), ("0x", 16)] where text.hasPrefix(prefix) {
            let digits = text.dropFirst(2)
            guard let number = UInt64(digits, radix: radix), !digits.hasPrefix("+") else { return nil }
            return Int64(exactly: number).map { .integer($0) } ?? .unsigned(number)
        }
        if let number = Int64(text) { return .integer(number) }
        return UInt64(text).map { .unsigned($0) }
    }

    /// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
    private var isDecimal: Bool {
        var rest = Substring(text)
        rest.skip(one: "+-")
        var digits = rest.skipDigits()
        if rest.skip(one: ".") { digits += rest.skipDigits() }
        guard digits > 0 else { return false }
        guard rest.skip(one: "eE") else { return rest.isEmpty }
        rest.skip(one: "+-")
        return rest.skipDigits() > 0 && rest.isEmpty
    }

    private var isNoNumber: Bool {
        let unsigned = text.first.map { "+-".contains($0) } == true ? text.dropFirst() : text[...]
        return [".inf", ".Inf", ".INF"].contains(unsigned) || [".nan", ".NaN", ".NAN"].contains(text)
    }
}

extension Substring {
    /// Whether one of `choices` came next; it is behind us then.
    @discardableResult
    fileprivate mutating func skip(one choices: String) -> Bool {
        guard let first, choices.contains(first) else { return false }
        removeFirst()
        return true
    }

    /// How many digits came next.
    fileprivate mutating func skipDigits() -> Int {
        let digits = prefix { ("0"..."9").contains($0) }.count
        removeFirst(digits)
        return digits
    }
}

extension JSONValue {
    /// The tags of the core schema that fit.
    fileprivate var coreTags: [String] {
        switch self {
        case .null: ["null"]
        case .bool: ["bool"]
        case .integer, .unsigned: ["int", "float"]
        case .number: ["float"]
        case .string, .array, .object: []
        }
    }
}
