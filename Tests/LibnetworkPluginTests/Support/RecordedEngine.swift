// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import LibnetworkPlugin
import Synchronization

/// An engine that knows the networks and containers it is given, or gives no answer at all.
final class RecordedEngine: NetworkDirectory, Sendable {
    struct Silence: Error {}

    private struct State {
        var networks: [String: EngineNetwork]
        var containers: [String: EngineContainer] = [:]
        var isSilent = false
        var hangs = false
        var questions: [String] = []
    }

    private let state: Mutex<State>

    init(_ networks: [String: EngineNetwork] = [:]) { state = Mutex(State(networks: networks)) }

    func lookUp(_ id: String) async throws -> EngineNetwork? { try await answer("network \(id)") { $0.networks[id] } }

    func networks() async throws -> [EngineNetwork] { try await answer("networks") { Array($0.networks.values) } }

    func container(named name: String) async throws -> EngineContainer? {
        try await answer("container \(name)") { $0.containers[name] }
    }

    private func answer<Answer: Sendable>(
        _ question: String, _ body: @Sendable (State) -> Answer
    ) async throws -> Answer {
        state.withLock { $0.questions.append(question) }
        while state.withLock({ $0.hangs }) { try await Task.sleep(for: .milliseconds(5)) }
        return try state.withLock { state in
            if state.isSilent { throw Silence() }
            return body(state)
        }
    }

    /// What it was asked, in order.
    var questions: [String] { state.withLock { $0.questions } }

    func learn(_ id: String, _ network: EngineNetwork?) { state.withLock { $0.networks[id] = network } }
    func fallSilent(_ isSilent: Bool = true) { state.withLock { $0.isSilent = isSilent } }
    func hang(_ hangs: Bool = true) { state.withLock { $0.hangs = hangs } }

    /// The container of `life`: starting, or running where it `isRunning`. Engines tell its id by its network only then.
    func learn(
        _ name: String, of life: Life, labels: [String: String] = [:], networks: Set<String> = [],
        isRunning: Bool = false
    ) {
        let container = EngineContainer(id: "id-of-\(name)", name: name, labels: labels, networks: networks)
        state.withLock { state in
            state.containers[name] = container
            var network = state.networks[life.network] ?? EngineNetwork(name: "web")
            network.endpoints.insert(life.endpoint)
            network.containers[life.endpoint] = .init(name: name, id: isRunning ? container.id : nil)
            state.networks[life.network] = network
        }
    }
}
