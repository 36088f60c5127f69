// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import IPAM
import Logging

/// What calico/node makes where it runs: the datastore's own entry, this node's, and the first pools. They are made when
/// the daemon starts, and the entries again whenever somebody deletes them.
///
/// Pools are made again only with the datastore's own entry, without which it was emptied: whoever deletes pools wants
/// none.
struct Registration {
    private let node: String
    private let addresses: NodeAddresses
    private let pools: DefaultPools.Settings
    private let replica: Replica<ClusterState>
    private let logger: Logger
    /// Whoever empties a datastore may take several steps, or fill it again at once.
    private let pauseAfterLoss: Duration
    private let losses: AsyncStream<Key>
    private let lost: AsyncStream<Key>.Continuation

    private var nodeKey: Key { Key.resource(NodeSpec.self, name: node) }

    init(
        _ configuration: Configuration, in replica: Replica<ClusterState>, _ logger: Logger,
        pauseAfterLoss: Duration = .seconds(1)
    ) {
        node = configuration.node
        addresses = configuration.nodeAddresses
        pools = configuration.pools
        self.replica = replica
        self.logger = logger
        self.pauseAfterLoss = pauseAfterLoss
        let (losses, lost) = AsyncStream.makeStream(of: Key.self)
        self.losses = losses
        self.lost = lost
    }

    /// Creates what is missing. No running container depends on it, so failing is no reason to stop.
    ///
    /// - Returns: whether there is nothing left to do.
    func create(withPools: Bool = true) async -> Bool {
        guard replica.read({ $0.isReady }) else {
            logger.warning("the datastore is locked (datastoreReady: false); nothing is written")
            return false
        }
        do {
            let host = try HostAddresses()
            if try await addresses.ensureClusterInformation(in: replica) { logger.notice("registered the datastore") }
            try await addresses.ensureDefaultTier(in: replica)
            if try await addresses.ensureNode(node, in: replica, host) {
                logger.notice("registered this node", metadata: ["node": "\(node)"])
            }
            guard withPools else { return true }
            try await DefaultPools(
                settings: pools, hostNetworks: host.networks, kernelHasIPv6: HostAddresses.kernelHasIPv6
            ).create(in: replica, logger)
            return true
        } catch {
            logger.warning("could not register this node", metadata: ["error": "\(error)"])
            return false
        }
    }

    /// Has made again what `changes` delete, while ``keep(isComplete:)`` runs.
    func notice(_ changes: [Change]) {
        for change in changes where change.value == nil && [.clusterInformation, nodeKey].contains(change.key) {
            lost.yield(change.key)
        }
    }

    /// Creates what is missing still, and what goes missing, until cancelled.
    ///
    /// - Parameter isComplete: what ``create(withPools:)`` returned at the start.
    func keep(isComplete: Bool) async {
        if !isComplete { await create(withPools: true, after: .seconds(5)) }
        for await key in losses { await create(withPools: key == .clusterInformation, after: pauseAfterLoss) }
    }

    /// Tries until it is done.
    private func create(withPools: Bool, after pause: Duration) async {
        var pause = pause
        while (try? await Task.sleep(for: pause)) != nil {
            if await create(withPools: withPools) { return }
            pause = .seconds(5)
        }
    }
}
