// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import CalicoModel

extension JSONValue {
    /// Block-style YAML, members by name, with a line break at the end. Reading it gives the same value again, by rules
    /// of YAML 1.1 and 1.2 both. Not finite numbers become `.nan` and `.inf`, which ``init(yaml:)`` refuses.
    public var yaml: String {
        var writer = YAMLWriter()
        writer.document(self)
        return writer.text
    }

    /// Several documents, `---` between them.
    public static func yaml(_ documents: [JSONValue]) -> String { documents.map(\.yaml).joined(separator: "---\n") }
}

private struct YAMLWriter {
    private(set) var text = ""

    mutating func document(_ value: JSONValue) {
        if let scalar = value.scalarText { text += scalar } else { block(value, indent: 0) }
        text += "\n"
    }

    /// Writes a collection that is not empty. The cursor stands where its first line begins.
    private mutating func block(_ value: JSONValue, indent: Int) {
        switch value {
        case .array(let elements):
            for (index, element) in elements.enumerated() {
                if index > 0 { newLine(indent) }
                text += "- "
                if let scalar = element.scalarText { text += scalar } else { block(element, indent: indent + 2) }
            }
        case .object(let members):
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { newLine(indent) }
                self.member(member.key, member.value, indent: indent)
            }
        default: break
        }
    }

    private mutating func member(_ name: String, _ value: JSONValue, indent: Int) {
        let key = name.yamlScalar
        // A key without "? " may have 1024 characters.
        if key.utf8.count > 1000 {
            text += "? \(key)"
            newLine(indent)
        } else {
            text += key
        }
        text += ":"
        if let scalar = value.scalarText {
            text += " " + scalar
        } else {
            // Lists stand below their key without more indent, as Calico's tools print them.
            let inner = value.array == nil ? indent + 2 : indent
            newLine(inner)
            block(value, indent: inner)
        }
    }

    private mutating func newLine(_ indent: Int) { text += "\n" + String(repeating: " ", count: indent) }
}

extension JSONValue {
    /// `nil` for collections with something in them.
    fileprivate var scalarText: String? {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .integer(let value): "\(value)"
        case .unsigned(let value): "\(value)"
        case .number(let value) where value.isNaN: ".nan"
        case .number(let value) where value.isInfinite: value < 0 ? "-.inf" : ".inf"
        case .number(let value): "\(value)"
        case .string(let value): value.yamlScalar
        case .array(let values): values.isEmpty ? "[]" : nil
        case .object(let members): members.isEmpty ? "{}" : nil
        }
    }
}

extension String {
    fileprivate var yamlScalar: String { isPlainYAML ? self : quotedYAML }

    /// Whether this text, written as it is, is a string to readers of YAML 1.1 and 1.2: a cautious choice, which leaves
    /// names, paths, CIDRs and selectors plain.
    private var isPlainYAML: Bool {
        guard let first = utf8.first, let last = utf8.last, utf8.count <= 200,
            utf8.allSatisfy({ (0x20...0x7e).contains($0) && $0 != UInt8(ascii: "#") })
        else { return false }
        guard last != UInt8(ascii: " "), last != UInt8(ascii: ":"), !contains(": ") else { return false }
        if first.isDigit { return isAddress }
        return (first.isLetter || first == UInt8(ascii: "/")) && !isWord
    }

    /// `10.65.0.0/16`, `10.0.0.1`: digits at the start, but no number, date or time of day.
    private var isAddress: Bool {
        let parts = split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let isDotted = { (text: Substring) in
            text.utf8.count { $0 == UInt8(ascii: ".") } == 3
                && text.utf8.allSatisfy { $0.isDigit || $0 == UInt8(ascii: ".") }
        }
        return isDotted(parts[0]) && (parts.count == 1 || parts[1].utf8.allSatisfy(\.isDigit))
    }

    /// A word that stands for a truth value or nothing, in any case.
    private var isWord: Bool {
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(lowercased())
    }

    private var quotedYAML: String {
        var text = "\""
        for scalar in unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\t": text += "\\t"
            case _ where scalar.isPrintableYAML: text.unicodeScalars.append(scalar)
            default: text += scalar.escapedYAML
            }
        }
        return text + "\""
    }
}

extension Unicode.Scalar {
    /// What may stand in a quoted scalar as it is. Line breaks (U+0085, U+2028, U+2029) may not, nor a byte order mark.
    fileprivate var isPrintableYAML: Bool {
        switch value {
        case 0x20...0x7e, 0xa0...0x2027, 0x202a...0xfefe, 0xff00...0xfffd, 0x10000...0x10ffff: true
        default: false
        }
    }

    fileprivate var escapedYAML: String {
        let digits = String(value, radix: 16)
        let (letter, width) = value <= 0xff ? ("x", 2) : ("u", 4)
        return "\\" + letter + String(repeating: "0", count: width - digits.count) + digits
    }
}

extension UInt8 {
    fileprivate var isDigit: Bool { (0x30...0x39).contains(self) }
    fileprivate var isLetter: Bool { (0x61...0x7a).contains(self | 0x20) }
}
