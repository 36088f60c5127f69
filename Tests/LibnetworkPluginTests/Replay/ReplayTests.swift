// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

@testable import LibnetworkPlugin

@Suite struct `What engines really sent` {
    /// Commands during which the recorded plugin refused, lied or died on purpose: ours does not.
    static let skipped: [String: String] = [
        "h-refused-IpamDriver.RequestPool-A": "refused on purpose",
        "h-refused-NetworkDriver.CreateNetwork-A": "refused on purpose",
        "h-refused-aux": "refused on purpose",
        "h-run-refused-IpamDriver.RequestAddress-A": "refused on purpose",
        "h-run-refused-NetworkDriver.CreateEndpoint-A": "refused on purpose",
        "h-run-refused-NetworkDriver.Join-A": "refused on purpose",
        "h-run-refused-NetworkDriver.ProgramExternalConnectivity-A": "refused on purpose",
        "h-run-refused-RequestAddress-v6": "refused on purpose; the engine then forgets the IPv4 address",
        "x-connection-broken-NetworkDriver.CreateEndpoint": "closed the connection on purpose",
        "x-connection-broken-IpamDriver.RequestAddress": "closed the connection on purpose",
        "k-plugin-restart-in-join": "died on purpose",
        "x-replay-lr-setup": "asked for replays, which ours does not",
        "x-replay-lr-start": "asked for replays, which ours does not",
    ]

    /// Commands that ours refuses while the recorded plugin let them pass: where, and in which words.
    static let refusals: [String: (method: String, text: String)] = [
        "02-net-opt": ("NetworkDriver.CreateNetwork", "does not support the flags flag, foo;"),
        "02-net-config": ("NetworkDriver.CreateNetwork", "does not support the flag k;"),
        "02-net-gateway": ("IpamDriver.RequestAddress", "does not support specifying a gateway"),
        "h-refused-gateway": ("IpamDriver.RequestAddress", "does not support specifying a gateway"),
        "a-net-gateway": ("IpamDriver.RequestAddress", "does not support specifying a gateway"),
        "02-net-ipamopt": (
            "IpamDriver.RequestPool", "Arbitrary options are not supported: calico-ipam takes no --ipam-opt a;"
        ),
        "02-net-default-ipam": ("NetworkDriver.CreateNetwork", "Non-Calico IPAM driver"),
    ]

    @Test(arguments: Recording.names)
    func `each command succeeds and leaves just what runs`(_ name: String) async throws {
        let replay = Replay(try await Plugin.fresh())
        for (command, exchanges) in try Recording(name).cases where Self.skipped[command] == nil {
            let comment = Comment(rawValue: "\(name) \(command)")
            try await run(exchanges, Self.refusals[command], replay, comment)
            try await replay.expectNoLeftovers(comment)
        }
    }

    /// After a refusal the engine sends no more of the command.
    private func run(
        _ exchanges: [Recording.Exchange], _ refusal: (method: String, text: String)?, _ replay: Replay,
        _ comment: Comment
    ) async throws {
        for exchange in exchanges {
            guard let refused = try await replay.send(exchange, comment) else { continue }
            #expect(exchange.method == refusal?.method, "\(comment): \(exchange.method) \(refused)")
            #expect(refused.refusal?.contains(refusal?.text ?? "") == true, "\(comment): \(refused)")
            return
        }
        #expect(refusal == nil, comment)
    }

    @Test func `no command is left out silently`() throws {
        let commands = try Recording.names.flatMap { name in try Recording(name).cases.map { (name, $0.name) } }
        let skipped = commands.filter { Self.skipped[$0.1] != nil }
        for (name, command) in skipped { print("not replayed: \(name) \(command): \(Self.skipped[command] ?? "")") }
        #expect(Set(skipped.map(\.1)) == Set(Self.skipped.keys), "a listed command is in no recording")
        #expect(commands.count - skipped.count >= 150)
        #expect(skipped.count == 13)
    }
}
