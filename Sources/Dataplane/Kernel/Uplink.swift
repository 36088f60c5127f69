// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import LinuxNetwork

/// Which interface leads out of this host.
enum Uplink {
    /// Ethernet's, where nothing says otherwise.
    static let defaultMTU = 1500

    /// Bytes: of the default route's device; without one, the least of the hardware links that are up.
    static func mtu(_ socket: RouteSocket) throws -> Int {
        let links = try socket.links()
        for family in IPAddress.Family.allCases {
            let routes = try socket.routes(family).filter { $0.destination.prefixLength == 0 && $0.kind == .unicast }
            let best = routes.min { $0.metric < $1.metric }
            if let link = links.first(where: { $0.index == best?.outputIndex }) { return Int(link.mtu) }
        }
        return links.filter { $0.kind == nil && $0.isUp && $0.name != "lo" }.map { Int($0.mtu) }.min() ?? defaultMTU
    }

    /// Whether this event can change the answer.
    static func isConcerned(by event: KernelMonitor.Event) -> Bool {
        switch event {
        case .linkChanged(let link), .linkRemoved(let link): !isContainers(link)
        case .routeChanged(let route), .routeRemoved(let route): route.destination.prefixLength == 0
        case .rulesetChanged: false
        case .resyncNeeded: true
        }
    }

    /// Containers come and go all the time. Their links, ours and Docker's, are told by name: the uplink is a veth too
    /// where this host is itself a container.
    private static func isContainers(_ link: Link) -> Bool {
        link.kind == "veth" && ["cali", "temp", "veth"].contains { link.name.hasPrefix($0) }
    }
}
