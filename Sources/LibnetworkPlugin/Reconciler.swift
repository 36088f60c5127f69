// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
public import FoundationEssentials
public import IPAM
public import Logging

/// Gives back what nobody will ever ask us to: engines log a failed clean-up and forget it.
///
/// - Addresses whose endpoint never came: engines forget an IPv4 address when the IPv6 one is refused, and a request
///   whose connection broke is repeated without its arguments.
/// - Reserved addresses (`--aux-address`) that none of the engine's networks names: engines forget them when making the
///   network fails.
/// - Ports of endpoints that are no more.
/// - Endpoints the engine no longer knows, once their interface is dead too. The interface decides: an engine that
///   answers for another host must not cost anybody a running container.
/// - Networks the engine no longer knows, once no endpoint of any node is on them.
/// - Blocks of this host that have long been empty.
///
/// It also has endpoints of containers on several networks follow a change of Felix's configuration, and notes whose
/// endpoints are: that is no container start's to pay for.
///
/// An address must be found unused twice, an endpoint or network missing twice, a sweep apart. An engine whose cluster
/// store is away says of each network of global scope that there is none: it is believed while it knows of at least one.
public actor Reconciler {
    let driver: NetworkDriver
    let allocator: AddressAllocator
    let engine: any NetworkDirectory
    let logger: Logger
    /// How long an address may wait for its endpoint, in seconds.
    let grace: TimeInterval
    private let interval: Duration
    /// Missing at the last sweep.
    private var suspects: Set<String> = []
    /// Without use at the last sweep, and whose they were.
    var unused: [IPAddress: AllocationAttributes] = [:]
    private var idleBlocks = IdleBlocks()

    var replica: Replica<ClusterState> { driver.replica }
    var node: String { driver.node }

    /// - Parameters:
    ///   - interval: between sweeps.
    ///   - requestTimeout: within which requests are answered.
    public init(
        driver: NetworkDriver, allocator: AddressAllocator, engine: any NetworkDirectory,
        interval: Duration = .seconds(60), requestTimeout: Duration = .seconds(10), logger: Logger
    ) {
        self.driver = driver
        self.allocator = allocator
        self.engine = engine
        self.interval = interval
        grace = Orphan.grace(requestTimeout)
        self.logger = logger
    }

    /// Sweeps until cancelled.
    public func run() async {
        while !Task.isCancelled {
            await sweep()
            try? await Task.sleep(for: interval)
        }
    }

    /// One look at everything.
    public func sweep(at now: Date = .now) async {
        await driver.releaseStrayPorts()
        await releaseUnused(at: now)
        await driver.completeProvisionalNetworks()
        await attempt("update endpoints of containers on several networks") { [driver] in
            try await driver.reuniteContainers()
        }
        for block in replica.read({ idleBlocks.look(at: $0, node: node, now: now) }) {
            logger.info("giving an idle block back", metadata: ["block": "\(block)"])
            await allocator.giveBack(block)
        }
        var missing: Set<String> = []
        var named: [Key: EngineNetwork.Container] = [:]
        let networks = networksOfThisNode()
        let answers = await lookUp(networks.keys)
        let seesAllNetworks = !driver.settings.isGlobal || answers.values.contains { $0?.isGlobal == true }
        for (id, endpoints) in networks {
            // No answer is no evidence.
            guard let known = answers[id] else { continue }
            if known == nil, seesAllNetworks, !hasEndpoints(id) { missing.insert(id) }
            for endpoint in endpoints where known?.endpoints.contains(endpoint.spec.endpoint) != true {
                guard await driver.dataplane.isIdle(interfaceName: endpoint.spec.interfaceName) else { continue }
                missing.insert(endpoint.spec.endpoint)
                if suspects.contains(endpoint.spec.endpoint) { await remove(endpoint) }
            }
            if missing.contains(id), suspects.contains(id) { await removeNetwork(id) }
            if let known { await named.merge(name(endpoints, as: known, id)) { _, new in new } }
        }
        suspects = missing
        await attempt("note the names of \(named.count) containers") { [driver, named] in
            try await driver.record(named)
        }
    }

    /// Containers whose endpoints do not name them, or by an earlier name. Missing labels are learnt at once.
    private func name(
        _ endpoints: [WorkloadEndpoint], as known: EngineNetwork, _ network: String
    ) async -> [Key: EngineNetwork.Container] {
        var named: [Key: EngineNetwork.Container] = [:]
        for endpoint in endpoints {
            // Without id it is still starting.
            guard let container = known.containers[endpoint.spec.endpoint], container.id != nil else { continue }
            if driver.settings.labelsEndpoints, endpoint.containerID == nil {
                await attempt("learn the labels of container \(container.name)") { [driver] in
                    try await driver.learnContainer(
                        of: endpoint.spec.endpoint, network: network, name: container.name)
                }
            } else if endpoint.containerName != container.name || endpoint.containerID != container.id {
                named[endpoint.key] = container
            }
        }
        return named
    }

    /// What the engine says of each network; nothing of those it gave no answer about.
    private func lookUp(_ networks: some Sequence<String>) async -> [String: EngineNetwork?] {
        var answers: [String: EngineNetwork?] = [:]
        for id in networks {
            do { answers.updateValue(try await engine.lookUp(id), forKey: id) } catch { continue }
        }
        return answers
    }

    private func hasEndpoints(_ network: String) -> Bool {
        replica.read { state in state.endpoints.values.contains { $0.value.networkID == network } }
    }

    private func networksOfThisNode() -> [String: [WorkloadEndpoint]] {
        replica.read { state in
            var networks: [String: [WorkloadEndpoint]] = [:]
            for record in state.networks.values where record.value.nextHops[node] != nil {
                networks[record.value.id] = []
            }
            for endpoint in state.endpoints.values.map(\.value) where driver.isOurs(endpoint) {
                guard let network = endpoint.networkID else { continue }
                networks[network, default: []].append(endpoint)
            }
            return networks
        }
    }

    private func remove(_ endpoint: WorkloadEndpoint) async {
        // What is given out from now on is somebody else's, even under the same MAC.
        let held = replica.read { state in
            state.endpoints[endpoint.key] == nil ? nil : state.addresses(heldFor: endpoint)
        }
        guard let held else { return }
        let id = endpoint.spec.endpoint
        logger.notice(
            "removing an endpoint the engine no longer knows",
            metadata: ["endpoint": "\(id.abbreviated)", "address": "\(endpoint.spec.addresses)"])
        await attempt("remove endpoint \(id.abbreviated)") { [driver] in try await driver.end(endpoint) }
        for (address, owner) in held { await release(address, from: owner) }
    }

    private func removeNetwork(_ id: String) async {
        logger.notice("removing a network the engine no longer knows", metadata: ["network": "\(id.abbreviated)"])
        await attempt("remove network \(id.abbreviated)") { [driver] in
            _ = try await driver.deleteNetwork(NetworkRequest(networkID: id))
        }
    }

    /// What fails now is tried again at the next sweep.
    func attempt(_ what: String, _ work: () async throws -> Void) async {
        do { try await work() } catch {
            logger.warning("could not \(what)", metadata: ["error": "\(error)"])
        }
    }
}

extension NetworkRequest {
    init(networkID: String) { self.networkID = networkID }
}
