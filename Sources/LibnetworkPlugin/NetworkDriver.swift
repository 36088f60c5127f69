// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
public import Dataplane
public import Datastore
import FoundationEssentials
import IPAM
public import Logging

/// Docker's network driver `calico`: networks, endpoints, sandboxes.
public struct NetworkDriver: Sendable {
    /// What a user can set.
    public struct Settings: Sendable {
        /// `local` or `global` (engines up to 20.10 with a cluster store).
        public var scope = "local"
        /// Interface names inside containers begin so.
        public var interfacePrefix = "cali"
        /// `nil`: as the uplink.
        public var mtu: Int?
        public var createsProfiles = true
        /// Calico namespace of the endpoints.
        public var namespace = "libnetwork"
        /// Whether endpoints carry the labels of their containers.
        public var labelsEndpoints = false
        /// How long a start may be held up by the engine that is asked for them.
        public var labelPatience = Duration.seconds(2)
        /// How long they are looked for after that.
        public var labelPollTimeout = Duration.seconds(5)

        public init() {}

        /// Every engine of the cluster store knows every network; only the one that makes it tells its plugin.
        public var isGlobal: Bool { scope == "global" }
    }

    let replica: Replica<ClusterState>
    let dataplane: any Dataplane
    let engine: any NetworkDirectory
    let ports = PortReservations()
    let background = BackgroundWork()
    let nextHops = NextHopClaims()
    /// To make networks.
    let creations = LatestRequests()
    let node: String
    let settings: Settings
    let logger: Logger

    public init(
        replica: Replica<ClusterState>, dataplane: any Dataplane,
        engine: any NetworkDirectory, node: String, settings: Settings, logger: Logger
    ) {
        self.replica = replica
        self.dataplane = dataplane
        self.engine = engine
        self.node = node
        self.settings = settings
        self.logger = logger
    }

    func identity(_ endpoint: String) throws -> EndpointIdentity {
        guard endpoint.utf8.count >= 4, endpoint.utf8.allSatisfy({ $0.isIDByte }) else {
            throw PluginError("\"\(endpoint)\" is not an endpoint id")
        }
        return EndpointIdentity(node: node, namespace: settings.namespace, endpoint: endpoint)
    }

    func endpoint(_ id: String) throws -> Versioned<WorkloadEndpoint>? {
        let key = try identity(id).key()
        return replica.read { $0.endpoints[key] }
    }

    func network(_ id: String) -> Versioned<NetworkRecord>? { replica.read { $0.networks[id] } }

    /// Commits what `plan` makes of the present state, again after each conflict; `nil` from it means nothing is to do.
    ///
    /// - Parameter ifInDoubt: learns of the transaction that the datastore got and did not answer.
    /// - Throws: as `Replica.commit` does, and the `ValidationError` of a resource that Calico would refuse.
    func commit(
        ifInDoubt: (Transaction) -> Void = { _ in }, _ plan: (borrowing ClusterState) throws -> sending Transaction?
    ) async throws {
        try await replica.commit(ifInDoubt: ifInDoubt) { state -> sending Transaction? in
            let transaction = try plan(state)
            try transaction?.validate()
            return transaction
        }
    }

    /// Finds out what became of a transaction that got no answer, by committing it once more: afterwards it was carried
    /// out, or never will be.
    ///
    /// - Returns: false where the task was cancelled before the datastore answered.
    func decide(_ transaction: Transaction) async -> Bool {
        while (try? await replica.commit(transaction)) == nil {
            guard (try? await Task.sleep(for: .milliseconds(250))) != nil else { return false }
        }
        return true
    }

    // MARK: Capabilities

    func capabilities() -> NetworkCapabilities { NetworkCapabilities(Scope: settings.scope) }
}

extension UInt8 {
    /// Letters and digits: the alphabet of Docker's ids.
    var isIDByte: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self)
    }
}
