// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Testing
import YAML

@Suite struct `Writing YAML` {
    @Test func `looks as Calico's tools print it`() {
        let value: JSONValue = [
            "apiVersion": "projectcalico.org/v3", "kind": "IPPool",
            "metadata": ["name": "blue", "creationTimestamp": "2026-01-15T09:36:50Z", "labels": [:]],
            "spec": [
                "cidr": "10.65.0.0/16", "blockSize": 26, "natOutgoing": true, "nodeSelector": "all()",
                "rules": [["a": 1, "b": ["x", "12"]], [[1, []]], .null], "order": .number(10),
            ],
        ]
        #expect(
            value.yaml == """
                apiVersion: projectcalico.org/v3
                kind: IPPool
                metadata:
                  creationTimestamp: "2026-01-15T09:36:50Z"
                  labels: {}
                  name: blue
                spec:
                  blockSize: 26
                  cidr: 10.65.0.0/16
                  natOutgoing: true
                  nodeSelector: all()
                  order: 10.0
                  rules:
                  - a: 1
                    b:
                    - x
                    - "12"
                  - - - 1
                      - []
                  - null

                """)
    }

    @Test(arguments: [
        "blue", "/run/docker/plugins", "fd00::/48", "role == 'web'", "10.0.0.1", "http://127.0.0.1:2379", "a-b_c.d",
    ])
    func `leaves ordinary strings plain`(_ text: String) {
        #expect(JSONValue.string(text).yaml == text + "\n")
    }

    @Test(arguments: [
        "", " ", "a ", "a: b", "a:", "a #b", "- a", "true", "Yes", "no", "on", "NULL", "y", "~", "12", "0x1f", "1e3",
        "5d1",
        "12:30:45", "2026-01-15", "1_000", ".5", ".inf", "=", "<<", "*a", "&a", "!a", "[a", "{a", "%a", "@a", "`a",
        "'a",
        "?", "10.0.0", "line\nbreak", "tab\t", "☺", "10.0.0.1:80",
    ])
    func `quotes what some reader could take for something else`(_ text: String) throws {
        let written = JSONValue.string(text).yaml
        #expect(written.hasPrefix("\"") && written.hasSuffix("\"\n"), "\(written)")
        #expect(try JSONValue(yaml: written) == .string(text))
    }

    @Test func `separates documents`() throws {
        let values: [JSONValue] = [["a": 1], .null, ["b", "c"], "d"]
        #expect(JSONValue.yaml(values) == "a: 1\n---\nnull\n---\n- b\n- c\n---\nd\n")
        #expect(try JSONValue.documents(yaml: JSONValue.yaml(values)) == values)
    }

    @Test func `whatever is written reads back the same`() throws {
        var random = RandomValues()
        for _ in 0..<3_000 {
            let values = (0..<3).map { _ in random.value(depth: 4) }
            let text = JSONValue.yaml(values)
            #expect(try JSONValue.documents(yaml: text) == values, "\(text)")
        }
    }
}

/// JSON values with the strings that YAML makes difficult.
private struct RandomValues {
    var random = SystemRandomNumberGenerator()
    private let pieces = [
        "a", "b", "12", "0", ":", ": ", "#", " #", "-", "- ", "?", "!", "&", "*", "'", "\"", "\\", "\n", "\r\n", "\t",
        " ", "  ",
        ".", "e", "true", "null", "~", "/", "{", "}", "[", "]", ",", "|", ">", "%", "---", "...", "\u{0}", "\u{7f}",
        "\u{85}",
        "\u{a0}", "\u{2028}", "\u{feff}", "\u{fffe}", "ü", "☺", "🐳",
    ]

    mutating func value(depth: Int) -> JSONValue {
        switch Int.random(in: 0..<(depth == 0 ? 6 : 9), using: &random) {
        case 0: .null
        case 1: .bool(.random(using: &random))
        case 2: .integer(.random(in: .min ... .max, using: &random))
        case 3: .unsigned(.random(in: UInt64(Int64.max) + 1 ... .max, using: &random))
        case 4: number()
        case 5: .string(string(upTo: 6))
        case 6: .array((0..<Int.random(in: 0...4, using: &random)).map { _ in value(depth: depth - 1) })
        default: object(depth: depth - 1)
        }
    }

    private mutating func number() -> JSONValue {
        let number = Double(bitPattern: .random(in: 0 ... .max, using: &random))
        return .number(number.isFinite ? number : 1.5)
    }

    private mutating func object(depth: Int) -> JSONValue {
        var members: [String: JSONValue] = [:]
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let isLong = Int.random(in: 0..<50, using: &random) == 0
            members[string(upTo: isLong ? 1_500 : 6)] = value(depth: depth)
        }
        return .object(members)
    }

    private mutating func string(upTo limit: Int) -> String {
        (0..<Int.random(in: 0...limit, using: &random)).map { _ in pieces.randomElement(using: &random)! }.joined()
    }
}
