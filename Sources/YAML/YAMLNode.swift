// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import CalicoModel

/// A value in a YAML text, with its position. Scalars keep their own spelling: what reads `0123` as text gets `0123`.
public struct YAMLNode: Sendable {
    public enum Content: Sendable {
        case scalar(Scalar)
        case sequence([YAMLNode])
        /// In the order of the text; no name occurs twice.
        case mapping([(name: Name, value: YAMLNode)])
    }

    public struct Scalar: Hashable, Sendable {
        public let text: String
        /// Quoted, a block, or tagged `!!str`: a string whatever it looks like.
        public let isString: Bool
    }

    /// A mapping's key.
    public struct Name: Hashable, Sendable {
        public let text: String
        public let position: YAMLPosition
    }

    public let content: Content
    public let position: YAMLPosition

    /// The documents of `text`, in order; none where there are only blanks and comments.
    ///
    /// Of YAML, merge keys (`<<`), keys that are not scalars, and tags other than the core schema's are refused.
    /// Aliases are carried out as long as what they repeat stays below 10 000 values.
    /// - Throws: `YAMLError`.
    public static func documents(of text: String) throws(YAMLError) -> [YAMLNode] {
        var composer = YAMLComposer(text)
        return try composer.documents()
    }

    /// The one document of `text`; `nil` where there is none.
    /// - Throws: `YAMLError`, also where there are several.
    public static func document(of text: String) throws(YAMLError) -> YAMLNode? {
        let documents = try documents(of: text)
        guard documents.count < 2 else {
            throw YAMLError(at: documents[1].position, "a second document begins; there may be only one")
        }
        return documents.first
    }
}

extension JSONValue {
    /// The one document of a YAML text; `null` where there is none.
    /// - Throws: `YAMLError`, also where there are several.
    public init(yaml text: String) throws(YAMLError) {
        self = try YAMLNode.document(of: text)?.json() ?? .null
    }

    /// The documents of a YAML text, in order.
    /// - Throws: `YAMLError`.
    public static func documents(yaml text: String) throws(YAMLError) -> [JSONValue] {
        var values: [JSONValue] = []
        for document in try YAMLNode.documents(of: text) { values.append(try document.json()) }
        return values
    }
}
