// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import LibnetworkPlugin

/// Containers of this node's endpoints that are too young to carry a name, as the engine tells them now. Without an
/// answer the table goes without.
struct ContainerNames {
    /// By the endpoint's id.
    var containers: [String: EngineNetwork.Container] = [:]

    init(of endpoints: [WorkloadEndpoint], _ configuration: Configuration) async {
        let nameless = endpoints.filter { $0.spec.node == configuration.node && $0.containerName == nil }
        let engine = EngineAPI(configuration.engine, limit: .seconds(1))
        await withTaskGroup(of: EngineNetwork?.self) { group in
            for network in Set(nameless.compactMap(\.networkID)) {
                group.addTask { try? await engine.lookUp(network) }
            }
            for await network in group { containers.merge(network?.containers ?? [:]) { _, new in new } }
        }
    }
}
