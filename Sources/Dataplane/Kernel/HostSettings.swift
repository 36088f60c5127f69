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
    ///
    /// - Parameter bridges: Docker's.
    func checkIPv4(bridges: Set<InterfaceName>) {
        let settings = strictFilters(bridges: bridges)
        guard !settings.isEmpty else { return }
        logger.warning(
            "rp_filter is 1 (strict); a container on several networks cannot answer on all of them. Set it to 0 or 2",
            metadata: ["settings": "\(settings.joined(separator: " "))"])
    }

    /// What makes the kernel drop a packet that comes in where its answer would not go out, as a container's answers on
    /// its other networks do. Of `all` and the interface's own value the greater counts, and 2 is the loose one
    /// (Documentation/networking/ip-sysctl.rst). Containers' links have 0; bridges that Docker makes begin with `default`.
    func strictFilters(bridges: Set<InterfaceName>) -> [String] {
        let all: Sysctl.Key = "net/ipv4/conf/all/rp_filter"
        let candidates: [Sysctl.Key] =
            switch try? sysctl.read(all) {
            case "1": [all]
            case "2": []
            default:
                ["net/ipv4/conf/default/rp_filter"]
                    + bridges.sorted { $0.text < $1.text }.map { .ipv4($0, "rp_filter") }
            }
        return candidates.filter { (try? sysctl.read($0)) == "1" }.map { $0.path.replacing("/", with: ".") }
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
