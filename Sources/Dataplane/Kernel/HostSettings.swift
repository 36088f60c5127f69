// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import LinuxNetwork
import Logging

/// Settings of the host as a whole that containers' traffic needs.
struct HostSettings {
    private static let forwardIPv4: Sysctl.Key = "net/ipv4/ip_forward"
    private static let forwardIPv6: Sysctl.Key = "net/ipv6/conf/all/forwarding"
    let sysctl: Sysctl
    let logger: Logger

    /// `sysctl -w net.ipv4.ip_forward=1`, only once there is an endpoint: an engine that finds forwarding on when it
    /// starts leaves iptables' FORWARD policy at ACCEPT, and its own containers then lie open to the network.
    func forwardIPv4() throws {
        guard try sysctl.read(Self.forwardIPv4) == "0" else { return }
        try sysctl.write("1", to: Self.forwardIPv4)
        logger.notice("IPv4 forwarding is now on, for the first endpoint")
    }

    /// Says what will not work on this host.
    func checkIPv4() {
        let filter = (try? sysctl.read("net/ipv4/conf/all/rp_filter")) ?? "0"
        // The stricter of `all` and the interface's own counts, and `all` is the administrator's.
        if filter != "0" {
            logger.warning(
                "net.ipv4.conf.all.rp_filter is set; a container on several networks cannot answer on all of them",
                metadata: ["rp_filter": "\(filter)"])
        }
    }

    /// `sysctl -w net.ipv6.conf.all.forwarding=1`, without the host losing its own routes by it.
    ///
    /// A host that forwards takes no notice of router advertisements unless `accept_ra` is 2 on the interface.
    func prepareIPv6(_ links: [Link]) throws {
        guard try sysctl.read(Self.forwardIPv6) == "0" else { return }
        var raised: [String] = []
        for name in links.compactMap({ InterfaceName($0.name) }) where !name.text.hasPrefix("cali") {
            guard (try? sysctl.read(.ipv6(name, "accept_ra"))) == "1" else { continue }
            try sysctl.write("2", to: .ipv6(name, "accept_ra"))
            raised.append(name.text)
        }
        try sysctl.write("1", to: Self.forwardIPv6)
        logger.notice(
            "IPv6 forwarding is now on, for the first endpoint with an IPv6 address",
            metadata: ["accept_ra=2": "\(raised.joined(separator: " "))"])
    }
}
