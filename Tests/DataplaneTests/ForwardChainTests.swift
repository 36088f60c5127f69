// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

@testable import Dataplane

@Suite struct `The rule in iptables' FORWARD chain` {
    static let ours = "-A FORWARD -m mark --mark 0x1000000/0x1000000 -m comment --comment calico-libnetwork -j ACCEPT"
    /// By what it says: a number from a listing may be another's by the time it is used.
    static let removal = ours.replacing("-A FORWARD", with: "-D FORWARD")
    static let docker = "-A FORWARD -j DOCKER-USER\n-A FORWARD -i docker0 -o docker0 -j ACCEPT"

    @Test(arguments: [
        ("-P FORWARD DROP", ["-A"]), ("-P FORWARD DROP\n\(docker)", ["-A"]), ("\(docker)\n\(ours)", []),
        ("\(docker)\n-A FORWARD -j REJECT --reject-with icmp-port-unreachable", ["-I FORWARD 3"]),
        ("\(docker)\n-A FORWARD -m comment --comment end -j DROP\n\(ours)", [removal, "-I FORWARD 3"]),
        ("\(docker)\n-A FORWARD -i eth0 -j DROP\n\(ours)", []), ("\(ours)\n\(docker)", [removal, "-A"]),
        ("\(docker)\n\(ours)\n\(ours)", [removal, removal, "-A"]),
        ("\(docker)\n\(ours)\n-A FORWARD -j DROP", []),
    ])
    func `stands last, but before the end of the chain`(listing: String, expected: [String]) {
        let commands = LegacyForwardChain(listing).commands(mark: 0x0100_0000).map { $0.joined(separator: " ") }
        #expect(commands.count == expected.count)
        for (command, beginning) in zip(commands, expected) { #expect(command.hasPrefix(beginning), "\(commands)") }
    }

    @Test func `is said to be there only where iptables has done what it was asked for`() throws {
        let program = try #require(HostCommand("ip"))
        #expect(try program.output(of: ["-V"]).hasPrefix("ip utility"))
        #expect(throws: HostCommandFailure.self) { try program.output(of: ["link", "show", "caliunknown"]) }
    }

    static let head = #"{"nftables": [{"metainfo": {}}, {"chain": {"handle": 1, "hook": "forward"}}"#
    static let mark =
        #", {"rule": {"handle": 9, "expr": [{"match": {"op": "==", "left": {"&": [{"meta": {"key": "mark"}}, 16777216]}, "right": 16777216}}, {"counter": {"packets": 0, "bytes": 0}}, {"accept": null}]}}"#
    static let jump = #", {"rule": {"handle": 3, "expr": [{"counter": {}}, {"jump": {"target": "X"}}]}}"#
    static let end =
        #", {"rule": {"handle": 5, "expr": [{"xt": {"type": "match", "name": "comment"}}, {"xt": {"type": "target", "name": "REJECT"}}]}}"#
    static let some =
        #", {"rule": {"handle": 6, "expr": [{"xt": {"type": "match", "name": "conntrack"}}, {"drop": null}]}}"#

    @Test(arguments: [
        (head + "]}", ["add rule c meta mark"]), (head + jump + some + "]}", ["add rule"]),
        (head + jump + mark + "]}", []),
        (head + jump + end + mark + "]}", ["insert rule c position 5", "delete rule c handle 9"]),
        (head + mark + end + "]}", []), (head + mark + jump + "]}", ["add rule", "delete rule c handle 9"]),
        (#"{"nftables": [{"chain": {"handle": 1}}]}"#, []),
    ])
    func `is read from nft's listing as well`(listing: String, expected: [String]) throws {
        let commands = try ForwardChain(listing).commands(chain: "c", mark: 0x0100_0000).split(separator: "\n")
        #expect(commands.count == expected.count, "\(commands)")
        for (command, beginning) in zip(commands, expected) { #expect(command.hasPrefix(beginning), "\(commands)") }
    }
}
