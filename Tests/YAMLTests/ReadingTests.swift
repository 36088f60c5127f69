// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Testing
import YAML

@Suite struct `Reading YAML` {
    @Test(arguments: [
        ("true", JSONValue.bool(true)), ("FALSE", false), ("yes", "yes"), ("on", "on"), ("~", .null), ("", .null),
        ("Null", .null), ("nUll", "nUll"), ("0", 0), ("-12", -12), ("+12", 12), ("0123", 123), ("0x1F", 31),
        ("0o17", 15),
        ("0x", "0x"), ("0x+1", "0x+1"), ("-0x1", "-0x1"), ("1_000", "1_000"),
        ("9223372036854775807", 9_223_372_036_854_775_807),
        ("9223372036854775808", .unsigned(9_223_372_036_854_775_808)),
        ("18446744073709551616", .number(18_446_744_073_709_551_616)),
        ("1.5", .number(1.5)), (".5", .number(0.5)), ("5.", .number(5)), ("1e3", .number(1000)),
        ("-1.5E-2", .number(-0.015)),
        ("1e", "1e"), (".", "."), ("-", .array([.null])), ("e1", "e1"), ("1.2.3", "1.2.3"), ("nan", "nan"),
        ("inf", "inf"),
        ("10.65.0.0/16", "10.65.0.0/16"), ("2026-01-15T09:36:50Z", "2026-01-15T09:36:50Z"), ("12:30:45", "12:30:45"),
        ("'true'", "true"), ("\"12\"", "12"), ("|\n  12\n", "12\n"), (">-\n  a\n  b\n", "a b"), ("!!str 12", "12"),
        ("! 12", "12"), ("!!int 12", 12), ("!!float 12", 12), ("!!null ~", .null),
        ("!!map {a: 1}", ["a": 1] as JSONValue),
        ("\u{feff}a: 1", ["a": 1] as JSONValue),
        ("\"a\\u263a\\n\"", "a☺\n"), ("# nothing\n", .null), ("--- 1\n...\n", 1),
    ])
    func `takes a scalar for what YAML 1.2's core schema says it is`(_ text: String, _ expected: JSONValue) throws {
        #expect(try JSONValue(yaml: text) == expected)
    }

    @Test func `understands a Calico manifest`() throws {
        let text = """
            apiVersion: projectcalico.org/v3
            kind: GlobalNetworkPolicy
            metadata:
              name: allow-web   # a comment
            spec:
              order: 10.5
              selector: role == 'web' && has(zone)
              types: [Ingress, Egress]
              ingress:
              - action: Allow
                protocol: TCP
                source: {nets: ["10.0.0.0/8", fd00::/8]}
                destination:
                  ports: [80, "443", 8000:9000]
              egress:
                - action: Allow
            """
        let value = try JSONValue(yaml: text)
        #expect(value["metadata"] == ["name": "allow-web"])
        #expect(value["spec"]?["order"] == .number(10.5))
        #expect(value["spec"]?["selector"] == "role == 'web' && has(zone)")
        let rule = value["spec"]?["ingress"]?.array?.first
        #expect(rule?["source"] == ["nets": ["10.0.0.0/8", "fd00::/8"]])
        #expect(rule?["destination"] == ["ports": [80, "443", "8000:9000"]])
        #expect(value["spec"]?["egress"] == [["action": "Allow"]])
    }

    @Test func `tells several documents apart`() throws {
        let text = "kind: A\n---\n# empty\n---\nkind: B\n...\n"
        #expect(try JSONValue.documents(yaml: text) == [["kind": "A"], .null, ["kind": "B"]])
        #expect(try JSONValue.documents(yaml: "").isEmpty)
        #expect(throws: YAMLError(at: .init(line: 3, column: 1), "a second document begins; there may be only one")) {
            try JSONValue(yaml: "a: 1\n---\nb: 2")
        }
    }

    @Test func `reads keys as JSON has them`() throws {
        #expect(try JSONValue(yaml: "1: a\ntrue: b\n'': c\n\"<<\": d") == ["1": "a", "true": "b", "": "c", "<<": "d"])
    }

    @Test func `keeps the spelling of scalars and their places`() throws {
        let node = try #require(try YAMLNode.document(of: "password: 0123\nlist:\n  - x\n"))
        guard case .mapping(let members) = node.content, case .scalar(let scalar) = members[0].value.content else {
            Issue.record("no mapping")
            return
        }
        #expect(scalar.text == "0123" && !scalar.isString)
        #expect(members[0].value.position == YAMLPosition(line: 1, column: 11))
        #expect(members[1].name.text == "list" && members[1].name.position == YAMLPosition(line: 2, column: 1))
    }

    @Test func `carries out aliases`() throws {
        #expect(try JSONValue(yaml: "a: &x [1, &y 2]\nb: *x\nc: *y") == ["a": [1, 2], "b": [1, 2], "c": 2])
    }
}

@Suite struct `A YAML text that cannot be used` {
    private func problem(_ text: String) -> String {
        do {
            _ = try JSONValue.documents(yaml: text)
            return "no problem"
        } catch { return "\(error)" }
    }

    @Test(arguments: [
        ("a: 1\na: 2", "line 2, column 1: the key \"a\" occurs twice; it is on line 1 too"),
        ("x:\n  b: 1\n  'b': 2", "line 3, column 3: the key \"b\" occurs twice"),
        ("a: *x", "line 1, column 4: the alias *x has no anchor before it"),
        ("a: &x [*x]", "line 1, column 8: the alias *x has no anchor before it"),
        ("a: 1\n---\nb: &y 1\n---\nc: *y\nd: &y 1", "line 5, column 4: the alias *y has no anchor before it"),
        ("<<: {a: 1}", "line 1, column 1: merge keys"),
        ("? [a]\n: b", "line 1, column 3: a key is a simple text"),
        ("? \n: b", "line 1, column 2: a key is missing before ':'"),
        ("a: .inf", "line 1, column 4: .inf is no number that JSON has"),
        ("a: 1e999", "line 1, column 4: 1e999 is no number that JSON has"),
        ("a: !secret x", "line 1, column 4: the tag !secret is not understood for \"x\""),
        ("a: !!binary AAAA", "line 1, column 4: the tag tag:yaml.org,2002:binary is not understood"),
        ("a: !!int x", "line 1, column 4: the tag tag:yaml.org,2002:int is not understood for \"x\""),
        ("a: !!set {b: }", "line 1, column 4: the tag tag:yaml.org,2002:set is not understood here"),
        ("a: 'open", "line 1, column 9: found unexpected end of stream"),
        ("a:\n\t- b", "line 2, column 1: found character that cannot start any token"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed in this context"),
        ("a: [1, 2", "line 2, column 1: did not find expected ',' or ']'"),
        ("a: 1\nb: \u{1}", "line 2, column 4: control characters are not allowed"),
    ])
    func `is refused with line and column`(_ text: String, _ expected: String) {
        #expect(problem(text).hasPrefix(expected), "\(problem(text))")
    }

    @Test func `cannot stand for more than it is`() {
        let lines = (1...9).map {
            "a\($0): &a\($0) [\(Array(repeating: "*a\($0 - 1)", count: 9).joined(separator: ","))]"
        }
        let text = (["a0: &a0 [x,x,x,x,x,x,x,x,x]"] + lines).joined(separator: "\n")
        #expect(problem(text).contains("aliases repeat more than 10000 values"))
    }

    @Test(arguments: ["[", "- ", "{a: "])
    func `cannot exhaust the stack`(_ opening: String) {
        #expect(problem(String(repeating: opening, count: 100_000)).contains("nested deeper than 64 levels"))
    }

    @Test func `never crashes the reader`() {
        var random = SystemRandomNumberGenerator()
        let alphabet = Array("ab: -?[]{},#&*!|>'\"%@`\n\t\\x0u1.~<\u{85}☺\r")
        for _ in 0..<20_000 {
            let text = String(
                (0..<Int.random(in: 0...24, using: &random)).map { _ in alphabet.randomElement(using: &random)! })
            _ = problem(text)
        }
    }
}
