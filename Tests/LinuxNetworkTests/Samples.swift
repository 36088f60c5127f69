// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import LinuxNetwork
import Testing

func name(_ text: String) -> InterfaceName { InterfaceName(text)! }
func address(_ text: String) -> IPAddress { IPAddress(text)! }
func network(_ text: String) -> CIDR { CIDR(text)! }

extension VethPair {
    /// A pair as a container start makes it.
    static func sample(
        _ host: String = "cali0", peer: String = "temp0", group: UInt32 = 0, alias: String? = nil
    ) -> VethPair {
        VethPair(
            hostName: name(host), hostMAC: MACAddress("ee:ee:ee:ee:ee:ee")!, peerName: name(peer),
            peerMAC: MACAddress("02:00:0a:41:00:01")!, mtu: 1440, hostGroup: group, hostAlias: alias)
    }
}

/// A pair whose ends are both up.
func connectedPair(_ socket: RouteSocket) throws -> (host: Link, peer: Link) {
    let host = try socket.createVethPair(.sample())
    let peer = try #require(try socket.link(named: name("temp0")))
    try socket.perform(.setLink(index: peer.index, up: true))
    return (host, peer)
}
