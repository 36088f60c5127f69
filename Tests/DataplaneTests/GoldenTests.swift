// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Foundation
import LinuxNetwork
import TestSupport
import Testing

/// What this host's rules look like, for reading: `Golden/*.nft`. With `RECORD_GOLDEN=1` the files are written anew.
@Suite struct `The ruleset of` {
    struct Situation: CustomTestStringConvertible, Sendable {
        let file: String
        let state: [ClusterChange]
        var options = RulesetOptions()
        var testDescription: String { file }
    }

    @Test(arguments: Situation.all)
    func `a situation is its golden file, and nft takes it`(situation: Situation) async throws {
        let index = PolicyIndex(node: Cluster.node, options: situation.options, state: situation.state)
        let text = index.ruleset.loadCommands()
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/\(situation.file).nft")
        if ProcessInfo.processInfo.environment["RECORD_GOLDEN"] != nil {
            try Data(text.utf8).write(to: file)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == text)
        try await inNewNetworkNamespace {
            let nftables = try Nftables()
            try nftables.check(text)
            try nftables.run(text)
            try nftables.run(text)  // over itself
        }
    }
}

extension `The ruleset of`.Situation {
    static let all: [Self] = [
        .init(file: "empty-host", state: []),
        .init(file: "host-action-drop", state: [], options: options { $0.endpointToHost = .drop }),
        .init(file: "other-marks", state: tiers, options: options { ($0.acceptMark, $0.passMark) = (0x10, 0x20) }),
        .init(
            file: "one-endpoint",
            state: [
                ClusterChange(Cluster.pool("pool", "10.65.0.0/16")), ClusterChange(Cluster.network("blue")),
                ClusterChange(Cluster.endpoint("b1aaaaaaaaaa", ["10.65.0.2"], profiles: ["blue"])),
            ]),
        .init(file: "two-networks", state: twoNetworks),
        .init(
            file: "internal-network",
            state: [
                ClusterChange(Cluster.pool("v4", "10.65.0.0/16")), ClusterChange(Cluster.pool("v6", "fd00:65::/64")),
                ClusterChange(Cluster.network("inner", isInternal: true)),
                ClusterChange(
                    Cluster.endpoint(
                        "i1aaaaaaaaaa", ["10.65.0.2", "fd00:65::2"], profiles: ["inner"], isInternal: true)),
                ClusterChange(
                    Cluster.endpoint(
                        "i2aaaaaaaaaa", ["10.65.9.9"], profiles: ["inner"], node: "host-2", isInternal: true)),
            ]),
        .init(
            file: "pools",
            state: [
                ClusterChange(Cluster.pool("a", "10.65.0.0/16")),
                ClusterChange(Cluster.pool("b", "10.66.0.0/16", nat: false)),
                ClusterChange(Cluster.pool("c", "10.67.0.0/16", disabled: true)),
                ClusterChange(Cluster.pool("d", "10.66.128.0/17")),
                ClusterChange(Cluster.pool("e", "fd00:65::/64")),
                ClusterChange(Cluster.pool("f", "fd00:66::/64", nat: false)),
            ]),
        .init(file: "tiers", state: tiers),
        .init(file: "rule-features", state: ruleFeatures),
        .init(
            file: "missing-profile",
            state: [
                ClusterChange(
                    Cluster.endpoint("a1aaaaaaaaaa", ["10.65.0.2"], profiles: ["gone", "projectcalico-default-allow"]))
            ]),
        .init(file: "namespaces", state: namespaces),
        .init(file: "published-ports", state: publishedPorts),
    ]

    private static func options(_ change: (inout RulesetOptions) -> Void) -> RulesetOptions {
        var options = RulesetOptions()
        change(&options)
        return options
    }

    static let twoNetworks: [ClusterChange] = [
        ClusterChange(Cluster.pool("v4", "10.65.0.0/16")), ClusterChange(Cluster.pool("v6", "fd00:65::/64")),
        ClusterChange(Cluster.network("blue")), ClusterChange(Cluster.network("red")),
        ClusterChange(Cluster.endpoint("b1aaaaaaaaaa", ["10.65.0.2", "fd00:65::2"], profiles: ["blue"])),
        ClusterChange(Cluster.endpoint("b2aaaaaaaaaa", ["10.65.0.3", "fd00:65::3"], profiles: ["blue"])),
        ClusterChange(Cluster.endpoint("r1aaaaaaaaaa", ["10.65.0.4", "fd00:65::4"], profiles: ["red"])),
        ClusterChange(Cluster.endpoint("r2aaaaaaaaaa", ["10.65.0.5", "fd00:65::5"], profiles: ["red"])),
        ClusterChange(Cluster.endpoint("r3aaaaaaaaaa", ["10.65.9.9"], profiles: ["red"], node: "host-2")),
    ]

    static let tiers: [ClusterChange] =
        twoNetworks + [
            ClusterChange(Tier(metadata: .init(name: "security"), spec: .init(order: 10, defaultAction: .deny))),
            ClusterChange(Tier(metadata: .init(name: "soft"), spec: .init(order: 20, defaultAction: .pass))),
            ClusterChange(
                Cluster.policy(
                    "security.b", tier: "security", order: 2, selector: "has(blue)",
                    ingress: [Rule(action: .pass, source: .init(nets: [CIDR("10.0.0.0/8")!]))])),
            ClusterChange(
                Cluster.policy(
                    "security.a", tier: "security", order: 1, selector: "has(blue)",
                    ingress: [Rule(action: .deny, source: .init(selector: "bad == 'yes'"))])),
            ClusterChange(
                Cluster.policy(
                    "soft.c", tier: "soft", selector: "has(blue)",
                    ingress: [Rule(action: .log), Rule(action: .allow, source: .init(selector: "has(red)"))],
                    egress: [Rule(action: .deny, protocol: .udp)])),
            ClusterChange(Cluster.policy("default.z", selector: "has(red)", egress: [Rule(action: .pass)])),
        ]

    static let publishedPorts: [ClusterChange] = [
        ClusterChange(Cluster.network("blue")),
        ClusterChange(
            Cluster.endpoint(
                "b1aaaaaaaaaa", ["10.65.0.2", "fd00:65::2"], profiles: ["blue"],
                ports: [
                    .init(protocol: .tcp, port: 80, hostPort: 8080),
                    .init(protocol: .tcp, port: 80, hostPort: 8081, hostIP: "127.0.0.1"),
                    .init(protocol: .udp, port: 53, hostPort: 5353, hostIP: "0.0.0.0"),
                    .init(protocol: .udp, port: 53, hostPort: 53, hostIP: "2001:db8::1"),
                    .init(protocol: .sctp, port: 90, hostPort: 9090),
                    .init(name: "web", protocol: .tcp, port: 80),
                    .init(protocol: .tcp, port: 80, hostPort: 9999, hostIP: "nonsense"),
                ])),
    ]

    static let namespaces: [ClusterChange] =
        twoNetworks + [
            ClusterChange(
                NetworkPolicy(
                    metadata: .init(name: "p", namespace: "libnetwork"),
                    spec: .init(ingress: [
                        Rule(action: .allow, source: .init(selector: "has(red)")),
                        Rule(action: .allow, source: .init(notSelector: "has(red)")),
                        Rule(action: .allow, source: .init(selector: "has(red)", namespaceSelector: "all()")),
                        Rule(action: .allow, source: .init(selector: "has(red)", namespaceSelector: "global()")),
                        Rule(action: .allow, source: .init(namespaceSelector: "team == 'x'")),
                    ]))),
            ClusterChange(
                NetworkPolicy(
                    metadata: .init(name: "elsewhere", namespace: "other"),
                    spec: .init(ingress: [Rule(action: .deny)]))),
        ]

    static let ruleFeatures: [ClusterChange] = [
        ClusterChange(
            Cluster.networkSet(
                "office", ["10.1.0.0/16", "10.1.2.0/24", "10.9.9.9", "fd00::/32"], labels: ["office": ""])),
        ClusterChange(
            Cluster.endpoint(
                "b1aaaaaaaaaa", ["10.65.0.2", "fd00:65::2"], profiles: ["rules"], labels: ["role": "db"],
                ports: [.init(name: "sql", protocol: .tcp, port: 5432), .init(name: "dns", protocol: .udp, port: 53)])),
        ClusterChange(
            Profile(metadata: .init(name: "rules"), spec: .init(ingress: features, egress: [Rule(action: .allow)]))),
    ]

    private static let features: [Rule] = [
        Rule(
            action: .allow, protocol: .tcp,
            destination: .init(ports: [.number(443), .number(80), .range(79...90), .range(1000...2000)])),
        Rule(
            action: .allow, protocol: .udp, source: .init(notPorts: [.number(53)]),
            destination: .init(notPorts: [.range(1...1023)])),
        Rule(action: .allow, protocol: .number(132)),
        Rule(action: .deny, notProtocol: .udpLite),
        Rule(action: .deny, ipVersion: 4),
        Rule(action: .allow, protocol: .icmp),
        Rule(action: .allow, protocol: .icmp, icmp: .init(type: 8)),
        Rule(action: .allow, protocol: .icmpv6, icmp: .init(type: 1, code: 3)),
        Rule(action: .allow, protocol: .icmp, notICMP: .init(type: 8)),
        Rule(action: .allow, protocol: .icmp, notICMP: .init(type: 3, code: 4)),
        Rule(action: .allow, source: .init(nets: [CIDR("10.0.0.0/8")!, CIDR("10.1.0.0/16")!, CIDR("192.0.2.1/32")!])),
        Rule(
            action: .allow, source: .init(notNets: [CIDR("fd00::/8")!]), destination: .init(nets: [CIDR("fd01::/16")!])),
        Rule(
            action: .allow, source: .init(nets: [CIDR("10.0.0.0/8")!]), destination: .init(nets: [CIDR("fd01::/16")!])),
        Rule(action: .allow, source: .init(selector: "has(office)")),
        Rule(action: .allow, source: .init(selector: "role=='db'", notSelector: "has(office)")),
        Rule(action: .allow, ipVersion: 6, source: .init(selector: "role == \"db\"")),
        Rule(action: .allow, protocol: .tcp, destination: .init(ports: [.named("sql"), .number(80)])),
        Rule(action: .allow, protocol: .udp, destination: .init(ports: [.named("dns")])),
        Rule(action: .deny, destination: .init(notPorts: [.named("sql")])),
        Rule(action: .log, protocol: .tcp),
        unanswerable,
    ]

    private static var unanswerable: Rule {
        var rule = Rule(action: .allow)
        rule.http = ["methods": ["GET"]]
        return rule
    }
}
