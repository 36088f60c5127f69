// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

// Calico's values gain members with every release. Whoever reads one and writes it back must keep those it does not
// know, or it undoes another component's work. These are the pieces with which each type here does that.

/// A coding key made from any name.
public struct MemberKey: CodingKey, Hashable {
    public let stringValue: String
    public var intValue: Int? { nil }

    public init(stringValue: String) { self.stringValue = stringValue }
    public init?(intValue: Int) { nil }
}

extension Decoder {
    /// The members of this object that `Known` does not name.
    func unknownMembers<Known: CodingKey & CaseIterable>(besides known: Known.Type) throws -> [String: JSONValue] {
        let container = try self.container(keyedBy: MemberKey.self)
        let names = Set(Known.allCases.map(\.stringValue))
        var members: [String: JSONValue] = [:]
        for key in container.allKeys where !names.contains(key.stringValue) {
            members[key.stringValue] = try container.decode(JSONValue.self, forKey: key)
        }
        return members
    }
}

extension Encoder {
    func encodeUnknown(_ members: [String: JSONValue]) throws {
        guard !members.isEmpty else { return }
        var container = self.container(keyedBy: MemberKey.self)
        for (name, value) in members { try container.encode(value, forKey: MemberKey(stringValue: name)) }
    }
}

extension KeyedDecodingContainer {
    /// `fallback` where the member is absent or null: Go writes either for an empty value.
    func value<Value: Decodable>(_ key: Key, default fallback: Value) throws -> Value {
        try decodeIfPresent(Value.self, forKey: key) ?? fallback
    }
}

extension KeyedEncodingContainer {
    /// Go's `omitempty`.
    mutating func encodeUnlessEmpty<Value: Encodable & Collection>(_ value: Value, forKey key: Key) throws {
        if !value.isEmpty { try encode(value, forKey: key) }
    }

    /// Go's `omitempty` for a flag.
    mutating func encodeIfTrue(_ value: Bool, forKey key: Key) throws {
        if value { try encode(value, forKey: key) }
    }
}
