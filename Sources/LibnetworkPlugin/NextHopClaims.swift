// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Logging
import Synchronization

/// Next hops of networks whose records are just being written: two networks made at once must not get the same one.
final class NextHopClaims: Sendable {
    private struct State {
        var claims: [String: Int] = [:]
        var hasWarned = false
    }

    private let state = Mutex(State())

    /// The smallest next hop that the fewest others use or are about to: a container may join any networks of a node
    /// together. Past 254 networks they repeat, and the log says so once.
    func claim(for network: String, besides used: [Int], _ logger: Logger) -> Int {
        let (hop, isFirstRepeated) = state.withLock { state in
            let others = used + state.claims.filter { $0.key != network }.values
            let uses = others.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
            let hop = (1...254).min { uses[$0, default: 0] < uses[$1, default: 0] }!
            state.claims[network] = hop
            let isFirstRepeated = uses[hop] != nil && !state.hasWarned
            if isFirstRepeated { state.hasWarned = true }
            return (hop, isFirstRepeated)
        }
        if isFirstRepeated {
            logger.warning(
                "next hops repeat past 254 networks; no container can be on two networks that have the same one",
                metadata: ["network": "\(network.abbreviated)", "nextHop": "\(NextHops(number: hop).v4)"])
        }
        return hop
    }

    /// The record is written, or given up.
    func end(_ network: String) { state.withLock { $0.claims[network] = nil } }
}

extension NetworkDriver {
    /// The network's next hop, claimed until `nextHops.end` where no record says it yet.
    func nextHop(of network: String, in state: borrowing ClusterState) -> Int {
        if let hop = state.networks[network]?.value.nextHops[node] { return hop }
        return nextHops.claim(
            for: network, besides: state.networks.values.compactMap { $0.value.nextHops[node] }, logger)
    }
}
