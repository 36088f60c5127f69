// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel

/// The members of a request, read as Go reads them: names match in any case, null and absent are the same, unknown
/// ones are ignored.
struct WireMembers {
    private let container: KeyedDecodingContainer<MemberKey>
    private let keys: [String: MemberKey]

    init(_ decoder: any Decoder) throws {
        container = try decoder.container(keyedBy: MemberKey.self)
        keys = Dictionary(container.allKeys.map { ($0.stringValue.lowercased(), $0) }) { first, _ in first }
    }

    func value<Value: Decodable>(_ name: String, default fallback: Value) throws -> Value {
        guard let key = keys[name.lowercased()] else { return fallback }
        return try container.decodeIfPresent(Value.self, forKey: key) ?? fallback
    }

    func text(_ name: String) throws -> String { try value(name, default: "") }
}
