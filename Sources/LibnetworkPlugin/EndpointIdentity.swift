// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
public import CalicoModel

/// What a Docker endpoint is called in Calico.
struct EndpointIdentity: Hashable {
    let node: String
    let namespace: String
    /// Docker's endpoint id.
    let endpoint: String

    static let orchestrator = "libnetwork"
    static let networkAnnotation = "libnetwork.projectcalico.org/network"
    static let networkNameAnnotation = "libnetwork.projectcalico.org/network-name"
    static let containerAnnotation = "libnetwork.projectcalico.org/container-id"
    static let containerNameAnnotation = "libnetwork.projectcalico.org/container-name"

    /// `cali` and 11 characters of the id: 15, the kernel's limit (IFNAMSIZ - 1).
    static func interfaceName(_ endpoint: String) -> String { "cali" + endpoint.prefix(11) }
    /// The end that the engine moves into the container.
    static func peerName(_ endpoint: String) -> String { "temp" + endpoint.prefix(11) }

    /// - Throws: where node or endpoint cannot be part of a name.
    func endpoint(
        addresses: [IPAddress], mac: MACAddress, profiles: [String], labels: [String: String],
        annotations: [String: String]
    ) throws(ValidationError) -> WorkloadEndpoint {
        let spec = WorkloadEndpointSpec(
            orchestrator: Self.orchestrator, workload: Self.orchestrator, node: node, endpoint: endpoint,
            ipNetworks: addresses.map(CIDR.init(host:)), profiles: profiles,
            interfaceName: Self.interfaceName(endpoint), mac: mac)
        var metadata = ResourceMetadata(name: try WorkloadEndpointName(spec).text, namespace: namespace)
        metadata.labels = labels
        // Calico's clients force these two (libcalico-go `updateLabelsForStorage`).
        metadata.labels["projectcalico.org/namespace"] = namespace
        metadata.labels["projectcalico.org/orchestrator"] = Self.orchestrator
        metadata.annotations = annotations
        return WorkloadEndpoint(metadata: metadata.asCreated(), spec: spec)
    }

    /// Where the endpoint lies in the datastore.
    func key() throws(ValidationError) -> Key {
        let spec = WorkloadEndpointSpec(
            orchestrator: Self.orchestrator, workload: Self.orchestrator, node: node, endpoint: endpoint,
            ipNetworks: [], profiles: [], interfaceName: "", mac: nil)
        return Key.resource(
            WorkloadEndpointSpec.self, name: try WorkloadEndpointName(spec).text, namespace: namespace)
    }
}

extension WorkloadEndpoint {
    /// Docker's id of the endpoint's network, where this plugin wrote it.
    public var networkID: String? { metadata.annotations[EndpointIdentity.networkAnnotation] }
    /// Docker's name of it.
    public var networkName: String? { metadata.annotations[EndpointIdentity.networkNameAnnotation] }
    /// Docker's name of the container; known from the start on engines that tell it (29.0 and later), else soon after.
    public var containerName: String? { metadata.annotations[EndpointIdentity.containerNameAnnotation] }
    /// Docker's id of the container; there once the engine has been asked.
    public var containerID: String? { metadata.annotations[EndpointIdentity.containerAnnotation] }

    mutating func belong(to container: EngineNetwork.Container) {
        metadata.annotations[EndpointIdentity.containerNameAnnotation] = container.name
        if let id = container.id { metadata.annotations[EndpointIdentity.containerAnnotation] = id }
    }
}

/// An endpoint in words, for messages.
struct EndpointWords {
    let endpoint: WorkloadEndpoint

    var text: String {
        (endpoint.containerName.map { "container \($0), " } ?? "")
            + "endpoint \(endpoint.spec.endpoint.abbreviated)"
            + (endpoint.networkName.map { " of network \($0)" } ?? "")
            + " on node \(endpoint.spec.node)"
    }
}
