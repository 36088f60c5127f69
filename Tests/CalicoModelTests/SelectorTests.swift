// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Testing

@Suite struct `A selector` {
    static let labels = ["a": "b", "role": "web-db", "empty": "", "x.io/y-z_1": "v", "in": "1"]

    @Test(arguments: [
        ("", true), ("all()", true), ("all( )", true), ("global()", true), ("!all()", false), ("!!all()", true),
        ("! ! !all()", false), ("has(a)", true), ("has( a )", true), ("has(q)", false), ("!has(q)", true),
        ("a == \"b\"", true), ("a=='b'", true), ("a == 'B'", false), ("q == 'b'", false), ("a != 'b'", false),
        ("q != 'b'", true), ("a in {'b'}", true), ("a in {\"c\", 'b',}", true), ("a in {}", false),
        ("a not in {}", true), ("q in {'b'}", false), ("q not in {'b'}", true), ("a notin {'b'}", false),
        ("a not  in{'c'}", true), ("role contains 'b-d'", true), ("role contains ''", true), ("q contains ''", false),
        ("role starts with 'web'", true), ("role startswith 'db'", false), ("role ends with 'db'", true),
        ("role endswith 'web'", false), ("empty == ''", true), ("x.io/y-z_1 == 'v'", true), ("in == '1'", true),
        ("in in {'1'}", true), ("has(in)", true), ("a == 'b' && role == 'x' || has(empty)", true),
        ("a == 'b' && (role == 'x' || has(q))", false), ("!(a == 'b')", false), ("!a == 'b'", false),
        ("a == 'b' && !has(q) && all()", true),
    ])
    func `says of labels what Calico says`(text: String, expected: Bool) throws {
        #expect(try Selector(text).matches(Self.labels) == expected, "\(text)")
    }

    @Test(arguments: [
        "a", "a = 'b'", "a == b", "a == 'b", "a & 'b'", "a == 'b' & has(c)", "a == 'b' | has(c)", "(a == 'b'",
        "a == 'b')", "a == 'b' has(c)", "has(a", "has()", "has (a)", "all", "a in 'b'", "a in {'b' 'c'}", "a in {,}",
        "a in {'b'", "a inn {'b'}", "a notx 'b'", "a == 'b' &&", "|| all()", "\n", "ä == 'b'", "a containsx 'b'", "!",
        String(repeating: "(", count: 100_000) + "all()",
    ])
    func `that is malformed is refused with its place`(text: String) {
        #expect(throws: SelectorError.self) { try Selector(text) }
    }

    @Test func `error names text, place and reason`() {
        let error = #expect(throws: SelectorError.self) { try Selector("a == 'b' && c") }
        #expect(
            error?.description == "selector \"a == 'b' && c\" at byte 13: expected an operator after label \"c\"")
    }

    @Test(arguments: [
        ("a=='b'", "a == \"b\""), ("  ( a == 'b' ) ", "a == \"b\""), ("a in {'c','b','c'}", "a in {\"b\", \"c\"}"),
        ("", "all()"), ("a == '\"'", "a == '\"'"), ("!!has(a)", "has(a)"),
        ("has(a)&&has(b)||has(c)", "((has(a) && has(b)) || has(c))"), ("a not in {'b'}", "a not in {\"b\"}"),
        ("!(has(a) || has(b))", "!(has(a) || has(b))"), ("a startswith 'b'", "a starts with \"b\""),
    ])
    func `has one canonical text, which parses to itself`(text: String, canonical: String) throws {
        let selector = try Selector(text)
        #expect(selector.text == canonical)
        #expect(try Selector(canonical) == selector)
    }

    @Test func `label of 512 bytes is the longest`() throws {
        _ = try Selector("has(\(String(repeating: "a", count: 512)))")
        #expect(throws: SelectorError.self) { try Selector("has(\(String(repeating: "a", count: 513)))") }
    }

    @Test func `combines and moves to prefixed labels`() throws {
        let combined = try Selector("has(a)").and(.label("n", equals: "x")).and(.all)
        #expect(combined.text == "(has(a) && n == \"x\")")
        #expect(combined.prefixingLabels(with: "pcns.").text == "(has(pcns.a) && pcns.n == \"x\")")
        #expect(!Selector.none.matches([:]))
    }
}
