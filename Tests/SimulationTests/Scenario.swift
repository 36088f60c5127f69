// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel

/// What one seed plays: pools, settings, hosts and mishaps. Everything is small, so that all meet all the time.
struct Scenario: Sendable {
    enum Role: Sendable { case plugin, go }

    struct Host: Sendable {
        let name: String
        let role: Role
    }

    let pools: [(cidr: CIDR, blockSize: Int)]
    let configuration: IPAMConfiguration
    let reserved: [String]
    let hosts: [Host]
    /// How many requests the hosts make altogether.
    let actions: Int
    /// Requests of one host that may be under way at once.
    let inFlight: Int
    /// Owners use a few handles in common instead of one each.
    let sharesHandles: Bool
    let asksForParticularAddresses: Bool
    /// An administrator changes pools, reservations and the lock meanwhile.
    let isAdministered: Bool
    /// In thousandths of all steps.
    let crashes: Int
    let leaps: Int
    /// In hundredths of all commits.
    let refusals: Int
    let silences: Int
    /// Watches tell a key's present value for each of its changes, as SQLite's does.
    let watchTellsPresentValues: Bool
    /// Values are decoded from JSON everywhere, as if each had been written by another process.
    let decodes: Bool

    init(seed: UInt64) {
        var random = SeededRandom(seed: seed ^ 0x5CE_4A210)
        pools = Self.layouts[random.below(Self.layouts.count)].map { (CIDR($0.0)!, $0.1) }
        configuration = random.pick(weighted: (Self.plain, 5), (Self.strict, 2), (Self.limited, 2), (Self.cooling, 1))
        reserved = random.chance(20) ? [pools[0].cidr.address.description, "10.65.0.4/31"] : []
        let count = 2 + random.below(3)
        let goClients = random.pick(weighted: (0, 3), (1, 5), (2, 2))
        var hosts = (0..<count).map { Host(name: "host-\($0)", role: $0 < count - goClients ? .plugin : .go) }
        if hosts.allSatisfy({ $0.role == .go }) { hosts.append(Host(name: "host-9", role: .plugin)) }
        // calico/node on the same host takes its tunnel addresses under the same name.
        if configuration.maxBlocksPerHost == 0, random.chance(25), let last = hosts.last, last.role == .go {
            hosts[hosts.count - 1] = Host(name: "host-0", role: .go)
        }
        self.hosts = hosts
        actions = 12 + random.below(16)
        inFlight = 1 + random.below(3)
        sharesHandles = random.chance(40)
        asksForParticularAddresses = configuration.maxBlocksPerHost == 0 && random.chance(60)
        isAdministered = random.chance(15)
        crashes = random.pick(weighted: (0, 2), (10, 3), (30, 3), (60, 1))
        leaps = random.pick(weighted: (0, 2), (10, 2), (60, 2))
        refusals = random.pick(weighted: (0, 3), (5, 1))
        silences = random.pick(weighted: (0, 3), (5, 1), (20, 1))
        watchTellsPresentValues = random.chance(30)
        decodes = seed % 8 == 0
    }

    private static let layouts: [[(String, Int)]] = [
        [("10.65.0.0/28", 30)], [("10.65.0.0/29", 31)], [("10.65.0.0/30", 30)], [("10.65.0.0/30", 32)],
        [("10.65.0.0/29", 30), ("10.65.1.0/30", 31)], [("fd00::/124", 126)], [("10.65.0.0/28", 30)],
    ]
    private static let plain = IPAMConfiguration()
    private static let strict = IPAMConfiguration(strictAffinity: true)
    private static let limited = IPAMConfiguration(strictAffinity: true, maxBlocksPerHost: 1)
    private static let cooling = IPAMConfiguration(cooldownSeconds: 30)

    var family: IPAddress.Family { pools[0].cidr.family }
}
