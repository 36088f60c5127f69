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

        func run() async throws {
            let command = try await CommandStore.open(settings)
            let containers = await ContainerNames(
                of: command.state.endpoints.values.map(\.value), command.configuration
            ).containers
            let found = try command.state.endpoint(called: id, containers)
            let endpoint = Row(found, containers[found.spec.endpoint])
            try output.print(endpoint) { Table(titles: ["endpoint", endpoint.id], rows: endpoint.lines) }
        }
    }
}

extension EndpointCommand.Row {
    /// One fact a line.
    fileprivate var lines: [[String]] {
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

extension ClusterState {
    /// - Parameter containers: of endpoints that do not name theirs yet, by the endpoint's id.
    /// - Throws: where no endpoint is called so, or several are.
    func endpoint(
        called name: String, _ containers: [String: EngineNetwork.Container] = [:]
    ) throws -> WorkloadEndpoint {
        let address = IPAddress(name)
        let found = endpoints.values.map(\.value).filter { endpoint in
            endpoint.spec.endpoint.hasPrefix(name) || endpoint.spec.interfaceName == name
                || (endpoint.containerName ?? containers[endpoint.spec.endpoint]?.name) == name
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
