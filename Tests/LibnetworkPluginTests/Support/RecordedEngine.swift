// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import LibnetworkPlugin
import Synchronization

/// An engine that knows the networks it is given, or gives no answer at all.
final class RecordedEngine: NetworkDirectory, Sendable {
    struct Silence: Error {}

    private let known: Mutex<[String: EngineNetwork]>
    private let silent = Mutex(false)

    init(_ networks: [String: EngineNetwork] = [:]) { known = Mutex(networks) }

    func lookUp(_ id: String) async throws -> EngineNetwork? {
        if silent.withLock({ $0 }) { throw Silence() }
        return known.withLock { $0[id] }
    }

    func learn(_ id: String, _ network: EngineNetwork?) { known.withLock { $0[id] = network } }
    func fallSilent(_ isSilent: Bool = true) { silent.withLock { $0 = isSilent } }
}
