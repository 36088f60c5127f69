// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Synchronization

/// Next hops of networks whose records are just being written: two networks made at once must not get the same one.
final class NextHopClaims: Sendable {
    private let claims = Mutex<[String: Int]>([:])

    /// The smallest next hop that nobody else uses or is about to: a container may join any networks of a node together.
    /// Past 254 networks they repeat.
    func claim(for network: String, besides used: Set<Int>) -> Int {
        claims.withLock { claims in
            let others = used.union(claims.filter { $0.key != network }.values)
            let hop = (1...254).first { !others.contains($0) } ?? others.count % 254 + 1
            claims[network] = hop
            return hop
        }
    }

    /// The record is written, or given up.
    func end(_ network: String) { claims.withLock { $0[network] = nil } }
}

extension NetworkDriver {
    /// The network's next hop, claimed until `nextHops.end` where no record says it yet.
    func nextHop(of network: String, in state: borrowing ClusterState) -> Int {
        if let hop = state.networks[network]?.value.nextHops[node] { return hop }
        return nextHops.claim(for: network, besides: Set(state.networks.values.compactMap { $0.value.nextHops[node] }))
    }
}
