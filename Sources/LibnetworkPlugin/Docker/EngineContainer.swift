// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials

/// A container as the list of containers tells it.
public struct EngineContainer: Hashable, Sendable {
    public let id: String
    public let name: String
    public let labels: [String: String]
    /// Names of the networks that it is on, or will be once it has started.
    public let networks: Set<String>

    public init(id: String, name: String, labels: [String: String] = [:], networks: Set<String> = []) {
        self.id = id
        self.name = name
        self.labels = labels
        self.networks = networks
    }
}

extension EngineAPI {
    /// Asks for the list, not for the container: that would wait for the lock which the engine holds while it waits for
    /// us. The list is a snapshot, from engine 17.07 on.
    public func container(named name: String) async throws -> EngineContainer? {
        guard let path = Self.listPath(name: name) else { return nil }
        let (status, body) = try await get(path)
        guard status == 200 else { throw PluginError("the engine answered \(status) to GET /containers/json") }
        let found = try JSONDecoder().decode([Listed].self, from: body).first { $0.Names?.contains("/" + name) == true }
        return found.map {
            EngineContainer(
                id: $0.Id, name: name, labels: $0.Labels ?? [:],
                networks: Set(($0.NetworkSettings?.Networks ?? [:]).keys))
        }
    }

    /// The filter is a regular expression on the name with its slash; `nil` for what is no name (moby
    /// `daemon/names/names.go`).
    static func listPath(name: String) -> String? {
        guard !name.isEmpty, name.utf8.allSatisfy({ $0.isIDByte || "_.-".utf8.contains($0) }) else { return nil }
        let expression = name.replacing(".", with: "%5B.%5D")
        // filters={"name":["^/NAME$"]}
        return "/containers/json?all=1&filters=%7B%22name%22%3A%5B%22%5E%2F\(expression)%24%22%5D%7D"
    }
}

/// The part of the engine's answer that we read.
private struct Listed: Decodable {
    let Id: String
    let Names: [String]?
    let Labels: [String: String]?
    let NetworkSettings: Settings?

    struct Settings: Decodable {
        struct Endpoint: Decodable {}
        let Networks: [String: Endpoint?]?
    }
}
