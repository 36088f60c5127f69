// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// A value that Calico's own clients would refuse, so we do not write it.
public struct ValidationError: Error, Hashable, CustomStringConvertible {
    public let kind: String
    public let name: String
    public let field: String
    public let reason: String

    public init(kind: String, name: String, field: String, reason: String) {
        self.kind = kind
        self.name = name
        self.field = field
        self.reason = reason
    }

    public var description: String { "\(kind) \(name.isEmpty ? "" : name + ": ")\(field): \(reason)" }
}

/// The lexical rules of Calico's validator (libcalico-go `lib/validator/v3`).
public enum Validation {
    /// Lower-case letters, digits, `-` and `.`, at most 253; every dot-separated part begins and ends with a letter
    /// or digit.
    public static func isResourceName(_ name: String) -> Bool {
        name.utf8.count <= resourceNameLimit && hasNameParts(name)
    }

    /// In bytes.
    static let resourceNameLimit = 253

    private static func hasNameParts(_ name: String) -> Bool {
        name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { part in
            guard let first = part.first, let last = part.last else { return false }
            return isLowerAlphanumeric(first) && isLowerAlphanumeric(last)
                && part.allSatisfy { isLowerAlphanumeric($0) || $0 == UInt8(ascii: "-") }
        }
    }

    /// 1 to 15 of `[A-Za-z0-9_.-]`.
    public static func isInterfaceName(_ name: String) -> Bool {
        (1...15).contains(name.utf8.count)
            && name.utf8.allSatisfy { isAlphanumeric($0) || "_.-".utf8.contains($0) } && name != "." && name != ".."
    }

    /// A Kubernetes qualified name: an optional DNS prefix and `/`, then 1 to 63 of `[A-Za-z0-9-_.]`.
    public static func isLabelKey(_ key: String) -> Bool {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let name = parts.last, !name.isEmpty, isLabelValue(String(name)) else { return false }
        return parts.count == 1 || isResourceName(String(parts[0]))
    }

    /// Empty, or 1 to 63 of `[A-Za-z0-9-_.]` with a letter or digit at both ends.
    public static func isLabelValue(_ value: String) -> Bool {
        guard let first = value.utf8.first, let last = value.utf8.last else { return true }
        return value.utf8.count <= 63 && isAlphanumeric(first) && isAlphanumeric(last)
            && value.utf8.allSatisfy { isAlphanumeric($0) || "_.-".utf8.contains($0) }
    }

    /// Letters and digits, with `-` between them.
    static func isContainerID(_ text: String) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last else { return false }
        return isAlphanumeric(first) && isAlphanumeric(last)
            && text.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
    }

    /// What keys and values of a resource's annotations may have together, in bytes (Kubernetes).
    static let annotationLimit = 256 << 10

    /// Whether Go's `net.ParseMAC` takes it: 6, 8 or 20 bytes, as pairs of digits joined by `:` or `-`, or as fours
    /// joined by `.`.
    static func isMAC(_ text: String) -> Bool {
        [(":", 2), ("-", 2), (".", 4)].contains { separator, digits in
            let groups = text.split(separator: Character(separator), omittingEmptySubsequences: false)
            return [6, 8, 20].contains(groups.count * digits / 2)
                && groups.allSatisfy { $0.utf8.count == digits && $0.allSatisfy(\.isHexDigit) }
        }
    }

    static func resourceName(_ value: String, kind: String, name: String, field: String) throws(ValidationError) {
        guard !isResourceName(value) else { return }
        let reason =
            hasNameParts(value)
            ? "has \(value.utf8.count) bytes, of \(resourceNameLimit) allowed"
            : "must consist of lower-case letters, digits, '-' and '.'"
        throw ValidationError(kind: kind, name: name, field: field, reason: "\"\(value)\" \(reason)")
    }

    private static func isLowerAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        isLowerAlphanumeric(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }
}

extension Resource {
    /// Throws the first rule of Calico's validator that this resource breaks.
    public func validate() throws(ValidationError) {
        try Validation.resourceName(metadata.name, kind: Spec.kind, name: metadata.name, field: "metadata.name")
        guard !Spec.isNamespaced || metadata.namespace?.isEmpty == false else {
            throw ValidationError(
                kind: Spec.kind, name: metadata.name, field: "metadata.namespace",
                reason: "namespace is not specified on namespaced resource")
        }
        for (key, value) in metadata.labels {
            guard Validation.isLabelKey(key), Validation.isLabelValue(value) else {
                throw ValidationError(
                    kind: Spec.kind, name: metadata.name, field: "metadata.labels",
                    reason: "\"\(key)=\(value)\" is not a label")
            }
        }
        try validateAnnotations()
        try spec.validate(metadata)
    }

    private func validateAnnotations() throws(ValidationError) {
        let fail = { (reason: String) in
            ValidationError(kind: Spec.kind, name: metadata.name, field: "metadata.annotations", reason: reason)
        }
        if let key = metadata.annotations.keys.sorted().first(where: { !Validation.isLabelKey($0.lowercased()) }) {
            throw fail(
                "\"\(key)\" is not a key: it has 1 to 63 letters, digits, '-', '_' and '.', after a prefix and '/'")
        }
        let size = metadata.annotations.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        guard size <= Validation.annotationLimit else {
            throw fail("they have \(size) bytes, of \(Validation.annotationLimit) allowed")
        }
    }
}
