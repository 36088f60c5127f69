// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Synchronization

/// A kernel that keeps what it is told: which interfaces there are, which of them a container lives behind.
final class RecordingDataplane: Dataplane, Sendable {
    struct Refusal: Error, CustomStringConvertible {
        let description = "the kernel refused the link"
    }

    private struct State {
        var links: [String: EndpointLink] = [:]
        var alive: Set<String> = []
        var refusesLinks = false
        var changes: [ClusterChange] = []
    }

    private let state = Mutex(State())

    var interfaces: Set<String> { state.withLock { Set($0.links.keys) } }
    func link(_ interface: String) -> EndpointLink? { state.withLock { $0.links[interface] } }
    /// Changes that were applied since the start.
    var changes: [ClusterChange] { state.withLock { $0.changes } }

    func refuseLinks(_ refuses: Bool = true) { state.withLock { $0.refusesLinks = refuses } }
    /// Somebody runs behind the interface.
    func keepAlive(_ interface: String) { state.withLock { _ = $0.alive.insert(interface) } }

    func start(_ state: [ClusterChange]) async throws {}
    func apply(_ changes: [ClusterChange]) async { state.withLock { $0.changes += changes } }

    @discardableResult
    func connect(_ link: EndpointLink) async throws -> Connection {
        try state.withLock { state in
            if state.refusesLinks { throw Refusal() }
            let name = link.endpoint.spec.interfaceName
            state.links[name] = link
            let siblings = state.links.filter {
                $0.key != name && $0.value.sandbox != nil && $0.value.sandbox == link.sandbox
            }
            return Connection(siblings: Set(siblings.keys), master: .builtin)
        }
    }

    func disconnect(interfaceName: String) async throws {
        state.withLock { state in
            state.links[interfaceName] = nil
            state.alive.remove(interfaceName)
        }
    }

    func isIdle(interfaceName: String) async -> Bool { state.withLock { !$0.alive.contains(interfaceName) } }
    func uplinkMTU() async -> Int { 1500 }
    func stop() async {}
}
