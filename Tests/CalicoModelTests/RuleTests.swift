// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Foundation
import Testing

@Suite struct `A rule` {
    private func roundTrip<Value: Codable>(_ json: String, as type: Value.Type) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let value = try JSONDecoder().decode(type, from: Data(json.utf8))
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    @Test(arguments: [
        (
            #"{"action":"Allow","source":{"selector":"has(pool1)"},"destination":{}}"#,
            #"{"action":"Allow","destination":{},"source":{"selector":"has(pool1)"}}"#
        ),
        (#"{"action":"Deny"}"#, #"{"action":"Deny","destination":{},"source":{}}"#),
        (
            #"{"action":"Pass","protocol":"17","destination":{"ports":[80,"81","1000:2000","7:7","dns"]}}"#,
            #"{"action":"Pass","destination":{"ports":[80,81,"1000:2000",7,"dns"]},"protocol":17,"source":{}}"#
        ),
        (
            #"{"action":"Log","icmp":{"type":8},"protocol":"ICMP","future":{"n":18446744073709551615}}"#,
            #"{"action":"Log","destination":{},"future":{"n":18446744073709551615},"icmp":{"type":8},"protocol":"ICMP","source":{}}"#
        ),
        (
            #"{"action":"Allow","source":{"selector":"","nets":["10.0.0.1"],"later":1},"http":{"methods":["GET"]}}"#,
            #"{"action":"Allow","destination":{},"http":{"methods":["GET"]},"source":{"later":1,"nets":["10.0.0.1/32"]}}"#
        ),
        (
            #"{"action":"Deny","notICMP":{"type":8,"code":0,"later":1},"source":{"serviceAccounts":{"names":["a"],"later":[]}}}"#,
            #"{"action":"Deny","destination":{},"notICMP":{"code":0,"later":1,"type":8},"source":{"serviceAccounts":{"later":[],"names":["a"]}}}"#
        ),
    ])
    func `is written as Go writes it, with what we do not know`(json: String, expected: String) throws {
        #expect(try roundTrip(json, as: Rule.self) == expected)
    }

    @Test(arguments: ["\"90:80\"", "\"70000\"", "\"a b\"", "-1", "\"\"", "\"1:2:3\""])
    func `refuses what is no port`(json: String) {
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(PortMatch.self, from: Data(json.utf8)) }
    }

    @Test(arguments: [
        (Rule(action: .allow, destination: .init(ports: [.number(80)])), "needs protocol TCP, UDP or SCTP"),
        (Rule(action: .allow, protocol: .icmp, destination: .init(ports: [.number(80)])), "needs protocol TCP"),
        (Rule(action: .allow, protocol: .tcp, destination: .init(ports: [.number(0)])), "1...65535"),
        (Rule(action: .allow, icmp: .init(type: 8)), "needs protocol ICMP"),
        (Rule(action: .allow, protocol: .icmp, icmp: .init(code: 8)), "a code needs a type"),
        (Rule(action: .allow, protocol: .icmp, icmp: .init(type: 255)), "0...254"),
        (Rule(action: .allow, ipVersion: 6, protocol: .icmp), "ICMP is for ipVersion 4"),
        (Rule(action: .allow, ipVersion: 4, protocol: .icmpv6), "ICMPv6 is for ipVersion 6"),
        (Rule(action: .allow, ipVersion: 5), "neither 4 nor 6"),
        (Rule(action: .allow, protocol: .name("IGRP")), "no protocol"),
        (
            Rule(
                action: .allow, source: .init(nets: [CIDR("10.0.0.0/8")!]),
                destination: .init(nets: [CIDR("fd00::/8")!])), "IPv4 and IPv6"
        ),
        (Rule(action: .allow, source: .init(notNets: [CIDR("0.0.0.0/0")!])), "exclude everything"),
        (Rule(action: .allow, source: .init(selector: "a = b")), "selector"),
    ])
    func `that Calico refuses is refused`(rule: Rule, reason: String) {
        let error = #expect(throws: ValidationError.self) {
            try rule.validate(kind: "Profile", name: "p", field: "spec.ingress[0]")
        }
        #expect(error?.description.contains(reason) == true, "\(String(describing: error))")
    }

    @Test(arguments: [
        Rule(action: .allow), Rule(action: .allow, source: .init(selector: "has(blue)")),
        Rule(action: .allow, destination: .init(ports: [.named("dns")])),
        Rule(action: .deny, ipVersion: 4, protocol: .icmp, icmp: .init(type: 8, code: 0)),
        Rule(action: .allow, protocol: .number(6), destination: .init(ports: [.range(1...65535)])),
    ])
    func `that Calico takes is taken`(rule: Rule) throws {
        try rule.validate(kind: "Profile", name: "p", field: "spec.ingress[0]")
    }

    @Test func `in a policy keeps its policy's members`() throws {
        let json = #"""
            {"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{"creationTimestamp":null,"name":"default.p","namespace":"libnetwork"},"spec":{"egress":[{"action":"Allow","destination":{},"source":{}}],"order":10.5,"performanceHints":["AssumeNeededOnEveryNode"],"selector":"all()","tier":"default","types":["Egress"]}}
            """#
        #expect(try roundTrip(json, as: NetworkPolicy.self) == json)
    }

    @Test(
        arguments: [
            ("default.p", nil, [:], "p"), ("default.p", "default", [:], "p"), ("t.p", "t", [:], "t.p"),
            ("p", nil, [:], "p"),
            ("default.p", nil, ["projectcalico.org/metadata": #"{"name":"default.p"}"#], "default.p"),
            ("t.p", "t", ["projectcalico.org/metadata": #"{"name":"p"}"#], "p"),
        ] as [(String, String?, [String: String], String)])
    func `belongs to a policy with one name in every release`(
        stored: String, tier: String?, annotations: [String: String], expected: String
    ) {
        var metadata = ResourceMetadata(name: stored)
        metadata.annotations = annotations
        #expect(metadata.policyName(tier: tier) == expected)
    }
}
