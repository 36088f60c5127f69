// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane

/// Values of a small cluster, as the plugin and Calico's users write them.
enum Cluster {
    static let node = "host-1"

    static func endpoint(
        _ id: String, _ addresses: [String], profiles: [String], node: String = node, labels: [String: String] = [:],
        mac: MACAddress? = nil, ports: [EndpointPort] = [], isInternal: Bool = false
    ) -> WorkloadEndpoint {
        var spec = WorkloadEndpointSpec(
            orchestrator: "libnetwork", workload: "libnetwork", node: node, endpoint: id,
            ipNetworks: addresses.map { CIDR(lenient: $0)! }, profiles: profiles, interfaceName: "cali" + id.prefix(11),
            mac: mac)
        spec.ports = ports
        var metadata = ResourceMetadata(name: "\(node)-libnetwork-libnetwork-\(id)", namespace: "libnetwork")
        metadata.labels = labels
        if isInternal { metadata.annotations[WorkloadEndpoint.internalAnnotation] = "true" }
        return WorkloadEndpoint(metadata: metadata, spec: spec)
    }

    static func pool(_ name: String, _ cidr: String, nat: Bool = true, disabled: Bool = false) -> IPPool {
        var spec = IPPoolSpec(cidr: CIDR(cidr)!)
        spec.natOutgoing = nat
        spec.disabled = disabled
        return IPPool(metadata: .init(name: name), spec: spec)
    }

    /// What the plugin writes for a Docker network.
    static func network(_ name: String, isInternal: Bool = false) -> Profile {
        let members = EntityRule(selector: "has(\(name))")
        return Profile(
            metadata: .init(name: name),
            spec: .init(
                ingress: [Rule(action: .allow, source: members)],
                egress: [isInternal ? Rule(action: .allow, destination: members) : Rule(action: .allow)],
                labelsToApply: [name: ""]))
    }

    static func policy(
        _ name: String, tier: String? = nil, order: Double? = nil, selector: String? = nil, ingress: [Rule] = [],
        egress: [Rule] = []
    ) -> GlobalNetworkPolicy {
        GlobalNetworkPolicy(
            metadata: .init(name: name),
            spec: .init(tier: tier, order: order, selector: selector, ingress: ingress, egress: egress))
    }

    static func networkSet(_ name: String, _ nets: [String], labels: [String: String]) -> GlobalNetworkSet {
        var metadata = ResourceMetadata(name: name)
        metadata.labels = labels
        return GlobalNetworkSet(metadata: metadata, spec: .init(nets: nets.map { CIDR(lenient: $0)! }))
    }
}
