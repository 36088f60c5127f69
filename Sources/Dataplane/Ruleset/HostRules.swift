// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

/// The rules that every host has, whatever runs on it; endpoints and pools are elements of the sets they refer to.
///
/// A packet of a container meets, in this order: `raw` (is the source its own), `forward-from` (its egress rules) or
/// `input-from`, `forward-to` (the receiver's ingress rules), `postrouting` (masquerade). `publish` leads from ports of
/// the host to containers. An accept in one of these chains only leads on to the next one, and after them to other
/// tables' chains.
enum HostRules {
    /// Sets and maps with a family at the end of their name.
    static func own(_ family: IPAddress.Family) -> String { "own\(family.number)" }
    static func loop(_ family: IPAddress.Family) -> String { "self\(family.number)" }
    static func pools(_ family: IPAddress.Family) -> String { "pools\(family.number)" }
    static func masqueraded(_ family: IPAddress.Family) -> String { "masq\(family.number)" }
    /// Addresses and ports of the host, with the container's that each leads to.
    static func published(_ family: IPAddress.Family) -> String { "published\(family.number)" }
    /// The same for ports of every address of the host.
    static func publishedAnywhere(_ family: IPAddress.Family) -> String { "published-anywhere\(family.number)" }
    /// Containers' addresses and ports that published ones lead to.
    static func publishedTargets(_ family: IPAddress.Family) -> String { "published-target\(family.number)" }
    /// Addresses that stay in the pools.
    static func internals(_ family: IPAddress.Family) -> String { "internal\(family.number)" }
    /// What passes published ports on. Felix has nothing like it, so it stays where Felix is the master.
    static let publishing = Set(
        ["publish-incoming", "publish-outgoing", "publish", "publish-refuse", "publish-return"]
            + IPAddress.Family.allCases.flatMap {
                [published($0), publishedAnywhere($0), publishedTargets($0), loop($0)]
            })
    static let dockerInterfaces = "docker-interfaces"
    static let egress = "from-endpoint"
    static let ingress = "to-endpoint"

    static func ruleset(_ options: RulesetOptions) -> Ruleset {
        Ruleset(sets: sets, chains: chains(options))
    }

    private static var sets: [String: Ruleset.ElementSet] {
        var sets = [
            dockerInterfaces: Ruleset.ElementSet("type ifname;"),
            egress: Ruleset.ElementSet(isMap: true, "type ifname : verdict;"),
            ingress: Ruleset.ElementSet(isMap: true, "type ifname : verdict;"),
        ]
        for family in IPAddress.Family.allCases {
            let type = "\(family.name)_addr"
            sets[own(family)] = Ruleset.ElementSet("type ifname . \(type);")
            sets[loop(family)] = Ruleset.ElementSet("type \(type) . \(type);")
            sets[internals(family)] = Ruleset.ElementSet("type \(type);")
            sets[pools(family)] = Ruleset.ElementSet("type \(type); flags interval;")
            sets[masqueraded(family)] = Ruleset.ElementSet("type \(type); flags interval;")
            let port = "inet_proto . inet_service"
            sets[publishedTargets(family)] = Ruleset.ElementSet("type \(type) . \(port);")
            let target = "\(type) . inet_service"
            sets[published(family)] = Ruleset.ElementSet(isMap: true, "type \(type) . \(port) : \(target);")
            sets[publishedAnywhere(family)] = Ruleset.ElementSet(isMap: true, "type \(port) : \(target);")
        }
        return sets
    }

    private static func chains(_ options: RulesetOptions) -> [String: Ruleset.Chain] {
        let mark = "meta mark set meta mark | \(options.acceptMark.mark)"
        return [
            "raw": base("filter", "prerouting", -310, #"iifname "cali*" goto raw-endpoint"#),
            "raw-endpoint": .init(rules: ownSources),
            "forward-from": base("filter", "forward", -12, #"iifname "cali*" goto forward-from-endpoint"#),
            // Docker's bridges keep out what does not come through Docker's own chains, so no mark for them.
            "forward-from-endpoint": .init(
                rules: ["oifname != @\(dockerInterfaces) \(mark)", known] + noTunnels + stayInside
                    + policed("iifname", egress)),
            "forward-to": base("filter", "forward", -11, #"oifname "cali*" goto forward-to-endpoint"#),
            "forward-to-endpoint": .init(
                rules: [mark, known] + nothingFromOutside + publishedPorts + policed("oifname", ingress)),
            "input-from": base("filter", "input", -12, #"iifname "cali*" goto input-from-endpoint"#),
            "input-from-endpoint": .init(rules: [known] + housekeeping + stayOut + policed("iifname", egress)),
            "input-host": base("filter", "input", -11, #"iifname "cali*" goto endpoint-to-host"#),
            "endpoint-to-host": .init(
                rules: [known] + housekeeping + (options.endpointToHost == .drop ? ["counter drop"] : [])),
            "publish-incoming": base("nat", "prerouting", -105, notLoopback + [published]),
            "publish-outgoing": base("nat", "output", -105, published),
            "publish": .init(rules: publish),
            "publish-refuse": base("filter", "output", -11, refuseLoopback6),
            "publish-return": base("nat", "postrouting", 94, publishReturn),
            "postrouting": base("nat", "postrouting", 95, masquerade),
        ]
    }

    private static let published = "fib daddr type local goto publish"
    /// DNAT comes before the kernel refuses such packets from outside, and a port published on 127.0.0.1 is the host's.
    private static let notLoopback = ["ip daddr 127.0.0.0/8 return", "ip6 daddr ::1 return"]

    private static let publish = IPAddress.Family.allCases.flatMap { family in
        let ports = "meta l4proto { 6, 17, 132 } dnat \(family.keyword) to"
        return [
            "\(ports) \(family.keyword) daddr . meta l4proto . th dport map @\(published(family))",
            "meta nfproto \(family.name) \(ports) meta l4proto . th dport map @\(publishedAnywhere(family))",
        ]
    }

    /// IPv6 has no route_localnet: what a container answers finds no way back to `::1`. A refusal makes clients of
    /// `localhost` go on to 127.0.0.1; the socket that holds the port would keep them waiting.
    private static let refuseLoopback6 = [
        "ip6 saddr ::1 \(cameThroughPort(.v6)) meta l4proto tcp reject with tcp reset",
        "ip6 saddr ::1 \(cameThroughPort(.v6)) reject with icmpx type port-unreachable",
    ]

    /// A published port is open to all, but only by the way of its publication.
    private static let publishedPorts = IPAddress.Family.allCases.map { "\(cameThroughPort($0)) accept" }

    private static func cameThroughPort(_ family: IPAddress.Family) -> String {
        "ct status dnat \(family.keyword) daddr . meta l4proto . th dport @\(publishedTargets(family))"
    }

    private static func base(_ type: String, _ hook: String, _ priority: Int, _ rules: String...) -> Ruleset.Chain {
        base(type, hook, priority, rules)
    }

    private static func base(_ type: String, _ hook: String, _ priority: Int, _ rules: [String]) -> Ruleset.Chain {
        .init(hook: "type \(type) hook \(hook) priority \(priority); policy accept;", rules: rules)
    }

    private static let known = "ct state vmap { established : accept, related : accept, invalid : drop }"
    /// A tunnel of a container's own would carry packets around these rules.
    private static let noTunnels = ["meta l4proto 4 drop", "udp dport 4789 drop"]

    /// Whatever profiles and policies say. An answer spares programs the wait for one, as a missing route would.
    private static let stayInside = IPAddress.Family.allCases.map { family in
        let word = family.keyword
        return "\(word) saddr @\(internals(family)) \(word) daddr != @\(pools(family)) \(noRoute)"
    }
    /// The host is outside, also where it has an address in a pool.
    private static let stayOut = IPAddress.Family.allCases.map { family in
        "\(family.keyword) saddr @\(internals(family)) \(noRoute)"
    }
    private static let noRoute = "counter reject with icmpx type no-route"

    private static let nothingFromOutside = IPAddress.Family.allCases.map { family in
        let word = family.keyword
        return "\(word) daddr @\(internals(family)) \(word) saddr != @\(pools(family)) counter drop"
    }

    private static func policed(_ interface: String, _ map: String) -> [String] {
        ["\(interface) vmap @\(map)", "counter drop"]
    }

    /// What a container needs of its host whatever its policy: multicast and neighbour discovery, DHCP.
    private static let housekeeping = [
        "icmpv6 type { 130, 131, 132, 133, 135, 136 } accept", "udp sport 68 udp dport 67 accept",
    ]

    private static let ownSources = [
        // With route_localnet, 127.0.0.0/8 would reach the host; the next hops loop between lo and here until the TTL
        // ends.
        "ip daddr { 127.0.0.0/8, 169.254.1.0/24 } counter drop",
        "iifname . ip saddr @\(own(.v4)) accept",
        "iifname . ip6 saddr @\(own(.v6)) accept",
        "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
        "ip6 saddr { ::, fe80::/10 } icmpv6 type { 131, 132, 133, 135, 136, 143 } accept",
        "counter drop",
    ]

    private static let publishReturn = [
        // A container that reaches itself through a published port would answer itself past the host.
        "ct status dnat ip saddr . ip daddr @\(loop(.v4)) masquerade",
        "ct status dnat ip6 saddr . ip6 daddr @\(loop(.v6)) masquerade",
        #"oifname "cali*" ip saddr 127.0.0.0/8 ct status dnat masquerade"#,
    ]

    private static let masquerade = [
        "ip saddr @\(masqueraded(.v4)) ip daddr != @\(pools(.v4)) masquerade",
        "ip6 saddr @\(masqueraded(.v6)) ip6 daddr != @\(pools(.v6)) masquerade",
    ]
}
