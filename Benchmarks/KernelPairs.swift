// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import LinuxNetwork

/// Link pairs that the kernel alone makes, configures and removes: as many as one thread can ask for, without a
/// plugin, a datastore or firewall rules. One lock of the kernel guards all of it, so no plugin whose containers have
/// veth pairs has more lives than this.
struct KernelPairs {
    struct Rate {
        let perSecond: Double
        /// Of one pair, in milliseconds.
        let making: Double
        let removing: Double
    }

    /// Pairs removed at a time; more would gain little.
    private static let batch = 128
    /// "benc" in ASCII; the daemon's groups are others.
    private static let group: UInt32 = 0x6265_6e63

    static func measure(seconds: Double) throws -> Rate {
        let socket = try RouteSocket()
        var making = Duration.zero
        var removing = Duration.zero
        var count = 0.0
        while making + removing < .seconds(seconds) {
            let start = ContinuousClock.now
            try make(socket)
            let made = ContinuousClock.now
            try socket.perform(.deleteLinks(inGroup: group))
            making += start.duration(to: made)
            removing += made.duration(to: .now)
            count += Double(batch)
        }
        return Rate(
            perSecond: count / ((making + removing) / .seconds(1)), making: making / .milliseconds(1) / count,
            removing: removing / .milliseconds(1) / count)
    }

    private static func make(_ socket: RouteSocket) throws {
        let requests = try (0..<batch).flatMap { number -> [NetlinkRequest] in
            // 198.18.0.0/15 is for benchmarks (RFC 2544).
            guard let hostName = InterfaceName("bench\(number)"), let peerName = InterfaceName("peer\(number)"),
                let address = IPAddress("198.18.0.\(number)")
            else { throw BenchmarkError("no name or address for link \(number)") }
            let mac = MACAddress.random()
            let link = try socket.createVethPair(
                VethPair(
                    hostName: hostName, hostMAC: .random(), peerName: peerName, peerMAC: mac, mtu: 1500,
                    hostGroup: group, generatesLinkLocal: true))  // spares a request
            let route = Route(
                destination: CIDR(host: address), outputIndex: link.index, scope: .link, protocolNumber: 4)
            return [.replaceRoute(route), .replaceNeighbour(address, mac: mac, index: link.index)]
        }
        try socket.perform(requests)
    }
}
