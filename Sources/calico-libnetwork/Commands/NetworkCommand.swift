// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import ArgumentParser
import CalicoModel
import Datastore
import LibnetworkPlugin

struct NetworkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "network", abstract: "Docker's networks, as the plugin knows them.", subcommands: [List.self],
        defaultSubcommand: List.self)

    struct Row: Encodable {
        let id: String
        let name: String?
        let nodes: [String]
        let subnets: [String]
        let pools: [String]
        let profile: String?
        let `internal`: Bool
        let endpoints: Int
        let created: String

        init(_ record: NetworkRecord, in state: ClusterState) {
            id = record.id
            name = record.name
            nodes = record.nextHops.keys.sorted()
            subnets = record.subnets.map(\.description)
            pools = record.pools
            profile = record.profile
            `internal` = record.isInternal
            created = record.created
            endpoints = state.endpoints.values.count { $0.value.networkID == record.id }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the networks.")
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws {
            let state = try await CommandStore.open(settings).state
            let rows = state.networks.values.map { Row($0.value, in: state) }.sorted {
                ($0.name ?? $0.id) < ($1.name ?? $1.id)
            }
            try output.print(
                rows,
                columns: [
                    ("ID", { String($0.id.prefix(12)) }), ("NAME", { $0.name ?? "(not yet known)" }),
                    ("SUBNETS", { $0.subnets.joined(separator: ",") }),
                    ("POOLS", { $0.pools.isEmpty ? "any" : $0.pools.joined(separator: ",") }),
                    ("PROFILE", { $0.profile ?? "-" }), ("ENDPOINTS", { "\($0.endpoints)" }),
                ])
        }
    }
}

struct EndpointCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "endpoint", abstract: "Workload endpoints: the containers' interfaces.",
        subcommands: [List.self, Show.self], defaultSubcommand: List.self)

    struct Row: Encodable {
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

        /// - Parameter live: what the engine says, where the endpoint does not know it yet.
        init(_ endpoint: WorkloadEndpoint, _ live: EngineNetwork.Container? = nil) {
            id = endpoint.spec.endpoint
            container = endpoint.containerName ?? live?.name
            containerID = endpoint.containerID ?? live?.id
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
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List this node's endpoints.")
        @Flag(help: "List every node's.") var allNodes = false
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws {
            let command = try await CommandStore.open(settings)
            let endpoints = command.state.endpoints.values.map(\.value)
                .filter { allNodes || $0.spec.node == command.configuration.node }
            let containers = await ContainerNames(of: endpoints, command.configuration).containers
            let rows = endpoints.map { Row($0, containers[$0.spec.endpoint]) }.sorted {
                ($0.networkName ?? "", $0.addresses.first ?? "") < ($1.networkName ?? "", $1.addresses.first ?? "")
            }
            try output.print(
                rows,
                columns: [
                    ("ENDPOINT", { String($0.id.prefix(12)) }), ("CONTAINER", { $0.container ?? "-" }),
                    ("NETWORK", { $0.networkName ?? $0.network.map { String($0.prefix(12)) } ?? "-" }),
                    ("NODE", \.node), ("ADDRESSES", { $0.addresses.joined(separator: ",") }),
                    ("MAC", { $0.mac ?? "-" }), ("INTERFACE", \.interface),
                    ("PROFILES", { $0.profiles.joined(separator: ",") }), ("PORTS", { $0.ports.words ?? "-" }),
                ])
        }
    }
}

struct ConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Settings.", subcommands: [Show.self], defaultSubcommand: Show.self)

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show every setting, its value and where it came from.")
        @OptionGroup var output: OutputOptions
        @OptionGroup(title: "Settings") var settings: SettingOptions

        func run() async throws {
            try output.print(
                try settings.configuration().settings,
                columns: [("SETTING", \.name), ("VALUE", \.value), ("FROM", \.origin)])
        }
    }
}
