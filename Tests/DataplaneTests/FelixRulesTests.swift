// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import LinuxNetwork
import Testing

@testable import Dataplane

/// Felix writes its rules for IPv4 and IPv6 one after the other, and none for IPv6 where it is told so.
@Suite struct `Felix's rules` {
    private static let ready: Set = ["cali-FORWARD", "cali-tw-calia", "cali-tw-calib"]

    @Test(
        arguments: [
            ([.v4: ready, .v6: ready], []),
            ([.v4: ready], []),
            ([.v4: ready, .v6: ["something-else"]], []),
            ([.v4: ready, .v6: ["cali-FORWARD", "cali-tw-calia"]], ["calib"]),
            ([.v4: ["cali-FORWARD"], .v6: ready], ["calia", "calib"]),
        ] as [([IPAddress.Family: Set<String>], [String])])
    func `are complete when every family that has any has them for an interface`(
        chains: [IPAddress.Family: Set<String>], missing: [String]
    ) throws {
        let names = try ["calia", "calib"].map { try #require(InterfaceName($0)) }
        let rules = FelixRules(chains: chains)
        #expect(rules.areThere)
        #expect(rules.interfacesWithout(names).map(\.description) == missing)
    }

    @Test func `are not there without Felix's chain for forwarded packets`() {
        #expect(!FelixRules(chains: [.v4: ["FORWARD"], .v6: []]).areThere)
    }
}
