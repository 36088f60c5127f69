// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import ArgumentParser
import CalicoModel
import Datastore
import LibnetworkPlugin

extension EndpointCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one endpoint.")
        @Argument(help: "Its id, or how that begins; its container's name, its interface, or one of its addresses.")
        var id: String
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        struct Details: Encodable {
            let id: String
            let container: String?
            let containerID: String?
            let network: String?
            let networkName: String?
            let node: String
            let addresses: [String]
            let mac: String?
            let interface: String
            let profiles: [String]
            let ports: [EndpointPort]
            let labels: [String: String]
            let annotations: [String: String]
            let created: String?

            init(_ endpoint: WorkloadEndpoint) {
                id = endpoint.spec.endpoint
                container = endpoint.containerName
                containerID = endpoint.containerID
                network = endpoint.networkID
                networkName = endpoint.networkName
                node = endpoint.spec.node
                addresses = endpoint.spec.addresses.map(\.description)
                mac = endpoint.spec.mac
                interface = endpoint.spec.interfaceName
                profiles = endpoint.spec.profiles
                ports = endpoint.spec.ports
                labels = endpoint.metadata.labels
                annotations = endpoint.metadata.annotations
                created = endpoint.metadata.creationTimestamp
            }

            var rows: [[String]] {
                [
                    ["container", container ?? containerID.map { String($0.prefix(12)) } ?? "not noted yet"],
                    ["network", networkName ?? network.map { String($0.prefix(12)) } ?? "-"],
                    ["node", node],
                    ["addresses", addresses.joined(separator: ", ")], ["MAC", mac ?? "-"], ["interface", interface],
                    ["profiles", profiles.isEmpty ? "none" : profiles.joined(separator: ", ")],
                    ["ports", ports.words ?? "none published"],
                    ["labels", labels.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: ", ")],
                    ["created", created ?? "unknown"],
                ]
            }
        }

        func run() async throws {
            let details = Details(try await CommandStore.open(settings).state.endpoint(called: id))
            try output.print(details) { Table(titles: ["endpoint", details.id], rows: details.rows) }
        }
    }
}

extension ClusterState {
    /// - Throws: where no endpoint is called so, or several are.
    func endpoint(called name: String) throws -> WorkloadEndpoint {
        let address = IPAddress(name)
        let found = endpoints.values.map(\.value).filter { endpoint in
            endpoint.spec.endpoint.hasPrefix(name) || endpoint.spec.interfaceName == name
                || endpoint.containerName == name
                || address.map { endpoint.spec.addresses.contains($0) } ?? false
        }
        guard let first = found.first, !name.isEmpty else {
            throw ValidationFailure("there is no endpoint \(name); see 'calico-libnetwork endpoint list --all-nodes'")
        }
        guard found.count == 1 else {
            let ids = found.map(\.spec.endpoint).sorted().joined(separator: ", ")
            throw ValidationFailure("\(found.count) endpoints are called \(name) or begin so: \(ids)")
        }
        return first
    }
}
