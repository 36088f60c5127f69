// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel

/// Something selectors in rules can find: labels, and the addresses they stand for.
struct Member: Hashable, Sendable {
    var labels: [String: String]
    var networks: [CIDR]
    var ports: [NamedPort] = []

    /// A port an endpoint has given a name.
    struct NamedPort: Hashable, Sendable {
        let name: String
        let protocolNumber: UInt8
        let port: UInt16
    }

    init(_ set: GlobalNetworkSet) {
        labels = set.metadata.labels
        networks = set.spec.nets
    }

    init(_ set: NetworkSet) {
        labels = set.metadata.labels
        labels[Labels.namespace] = set.metadata.namespace
        networks = set.spec.nets
    }

    /// - Parameter profile: looks up what a profile gives the endpoints that list it.
    init(_ endpoint: WorkloadEndpoint, profile: (String) -> ProfileSpec?) {
        labels = endpoint.metadata.labels.filter {
            !$0.key.hasPrefix(Labels.namespacePrefix) && !$0.key.hasPrefix(Labels.serviceAccountPrefix)
        }
        labels[Labels.namespace] = endpoint.metadata.namespace
        // The endpoint's own label wins, then the first profile's.
        for name in endpoint.spec.profiles {
            if let inherited = profile(name)?.labelsToApply { labels.merge(inherited) { own, _ in own } }
        }
        networks = endpoint.spec.ipNetworks
        ports = endpoint.spec.ports.compactMap { port in
            guard let name = port.name, let number = port.protocol.number else { return nil }
            return NamedPort(name: name, protocolNumber: number, port: port.port)
        }
    }

    /// What a set of this kind and family holds because of this member.
    func elements(of artefact: Artefact) -> [CIDR] {
        guard case .members(let selector, let family) = artefact, selector.matches(labels) else { return [] }
        return networks.filter { $0.family == family }
    }

    func portElements(of artefact: Artefact) -> [String] {
        guard case .ports(let name, let number, let family) = artefact else { return [] }
        return ports.filter { $0.name == name && $0.protocolNumber == number }.flatMap { port in
            networks.filter { $0.family == family }.map { "\($0.address) . \(number) . \(port.port)" }
        }
    }
}
