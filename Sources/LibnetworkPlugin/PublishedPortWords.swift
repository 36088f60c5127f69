// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
public import CalicoModel

extension WorkloadEndpoint {
    /// The published ports in words, for people and tools that read endpoints: `docker ps` cannot show them.
    public static let portsAnnotation = "org.projectcalico.ports"
}

extension [EndpointPort] {
    /// As `docker ps` writes them, `0.0.0.0:8080->80/tcp`; without an address where every one of the host's serves.
    /// `nil` where none is published.
    public var words: String? {
        let published = compactMap(\.words)
        return published.isEmpty ? nil : published.joined(separator: ", ")
    }
}

extension EndpointPort {
    fileprivate var words: String? {
        guard let hostPort else { return nil }
        return place + "\(hostPort)->\(port)/\(`protocol`.text)"
    }

    private var place: String {
        guard let hostIP, !hostIP.isEmpty else { return "" }
        return IPAddress(hostIP)?.family == .v6 ? "[\(hostIP)]:" : "\(hostIP):"
    }
}
