// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
public import FoundationEssentials

/// Calico's values as bytes: compact JSON, slashes unescaped as Go writes them.
public enum StoreJSON {
    public static func encode(_ value: some Encodable) -> Data {
        if let value = value as? any JSONWriter.Writable {
            var writer = JSONWriter()
            value.write(to: &writer)
            return Data(writer.bytes)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        do { return try encoder.encode(value) } catch {
            // Our types hold only finite numbers and valid strings.
            preconditionFailure("a model value cannot be encoded: \(error)")
        }
    }

    /// - Throws: `StoreError.corrupt` naming the key.
    public static func decode<Value: Decodable>(_ type: Value.Type, _ entry: Entry) throws(StoreError) -> Value {
        try decode(type, entry.value, at: entry.key)
    }

    public static func decode<Value: Decodable>(
        _ type: Value.Type, _ data: Data, at key: Key
    ) throws(StoreError) -> Value {
        do { return try JSONDecoder().decode(type, from: data) } catch {
            throw .corrupt("\(key): \(error)")
        }
    }
}
