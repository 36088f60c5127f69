// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import FoundationEssentials
public import IPAM
public import Logging

/// Docker's IPAM driver `calico-ipam`: pools and addresses.
public struct IPAMDriver: Sendable {
    static let addressSpace = "CalicoAddressSpace"
    /// A network has no gateway address: the next hop is link-local, and this keeps the engine from asking for one.
    private static let gatewayKey = "com.docker.network.gateway"

    let allocator: AddressAllocator
    /// Whose endpoints the addresses are for.
    let network: NetworkDriver
    let logger: Logger
    let departures: Departures
    /// How long an address may wait for its endpoint, in seconds.
    private let grace: TimeInterval
    private let loops = LoopBreaker()

    var replica: Replica<ClusterState> { network.replica }
    var node: String { network.node }

    /// - Parameter requestTimeout: within which requests are answered.
    public init(
        allocator: AddressAllocator, network: NetworkDriver, requestTimeout: Duration = .seconds(10), logger: Logger
    ) {
        self.allocator = allocator
        self.network = network
        self.logger = logger
        grace = Orphan.grace(requestTimeout)
        departures = Departures(
            dataplane: network.dataplane, engine: network.engine, node: network.node, grace: grace)
    }

    // MARK: Pools

    func requestPool(_ request: RequestPoolRequest) async throws -> RequestPoolReply {
        try settleUnknown(request.options)
        let asked = try parse(request)
        let family: IPAddress.Family = asked?.family ?? (request.isV6 ? .v6 : .v4)
        let named = try await namedPools(request.options, family)
        guard let subnet = asked, subnet.prefixLength > 0 else { return try await anyPool(family, request, named) }
        let range = try self.range(request.subPool, in: subnet)
        let pool = try await pool(holding: subnet)
        try named?.check(pool, holding: subnet)
        let scope = AddressScope.pool(name: pool.name, subnet: subnet == pool.spec.cidr ? nil : subnet, range: range)
        return reply(PoolID(family: family, scope: scope), subnet)
    }

    private func anyPool(
        _ family: IPAddress.Family, _ request: RequestPoolRequest, _ named: NamedPools?
    ) async throws -> RequestPoolReply {
        guard request.subPool.isEmpty else {
            throw PluginError("--ip-range \(request.subPool) needs a --subnet that holds it")
        }
        guard await loops.admits(family) else {
            throw PluginError(
                "the engine asks for the same pool over and over, because \(family.name) pools overlap a name server or "
                    + "route of this host; give the network a --subnet")
        }
        // Never the pools' own range: engines do not take one that overlaps a route of the host (see `LoopBreaker`).
        let anySubnet = CIDR(IPAddress(family: family, value: 0), prefixLength: 0)!
        if let named { return reply(PoolID(family: family, scope: try named.scope()), anySubnet) }
        if !hasPool(family) {
            // A pool made a moment ago by a command may not have reached us yet.
            await replica.refresh()
            guard hasPool(family) else { throw IPAMError.noPool(family: family, node: node) }
        }
        return reply(.any(family), anySubnet)
    }

    private func hasPool(_ family: IPAddress.Family) -> Bool {
        replica.read { state in state.pools.values.contains { $0.value.spec.family == family } }
    }

    private func reply(_ id: PoolID, _ subnet: CIDR) -> RequestPoolReply {
        let none = subnet.family == .v4 ? "0.0.0.0/0" : "::/0"
        return RequestPoolReply(PoolID: id.description, Pool: subnet.description, Data: [Self.gatewayKey: none])
    }

    private func parse(_ request: RequestPoolRequest) throws -> CIDR? {
        guard !request.pool.isEmpty else { return nil }
        guard let subnet = CIDR(request.pool) else {
            throw PluginError("Invalid CIDR: \"\(request.pool)\" is not a subnet such as 192.168.0.0/16")
        }
        guard request.isV6 == (subnet.family == .v6) else {
            throw PluginError("subnet \(subnet) is not an \(request.isV6 ? "IPv6" : "IPv4") subnet")
        }
        return subnet
    }

    private func range(_ text: String, in subnet: CIDR) throws -> CIDR? {
        guard !text.isEmpty else { return nil }
        guard let range = CIDR(text) else { throw PluginError("Invalid CIDR: \"\(text)\" is not an --ip-range") }
        guard subnet.contains(range) else {
            throw PluginError("the --ip-range \(range) does not lie in the subnet \(subnet)")
        }
        return range == subnet ? nil : range
    }

    /// The pool of a `--subnet`: one with that CIDR, or one that holds it.
    private func pool(holding subnet: CIDR) async throws -> IPPool {
        if let pool = replica.read({ $0.pool(containing: subnet) }) { return try usable(pool) }
        // As above.
        await replica.refresh()
        if let pool = replica.read({ $0.pool(containing: subnet) }) { return try usable(pool) }
        throw PluginError(
            "The requested subnet must match the CIDR of a configured Calico IP Pool, or lie inside one: \(subnet) does "
                + "not; the pools are \(poolList(subnet.family)). "
                + "Create one with: calico-libnetwork pool create NAME --cidr \(subnet)")
    }

    func usable(_ pool: IPPool) throws -> IPPool {
        guard pool.isAllocatable else {
            let others = replica.read { $0.allocatablePools(pool.spec.family).map(\.name) }
            throw IPAMError.poolDisabled(pool.name, others: others)
        }
        return pool
    }

    private func settleUnknown(_ options: [String: String]) throws {
        let unknown = options.keys.filter { $0 != "RequestAddressType" && $0 != NetworkOptions.poolKey }
        // The Go plugin's words, to which ours are added.
        let refusal = "Arbitrary options are not supported: calico-ipam takes no --ipam-opt"
        try OptionKeys([NetworkOptions.poolKey]).settle(unknown, in: "IPAM option", refusal: { _ in refusal }, logger)
    }

    // MARK: Addresses

    func requestAddress(_ request: RequestAddressRequest) async throws -> RequestAddressReply {
        guard let pool = PoolID(request.poolID) else {
            throw PluginError("there is no pool \"\(request.poolID)\"; recreate the network")
        }
        let address = try parse(request.address)
        if request.isForGateway { return try await gateway(address, pool) }
        // A Swarm worker repeats the dummy gateway as an ordinary address.
        if let address, address.isUnspecified { return RequestAddressReply(Address: "\(address)/0") }
        let family = try await self.family(of: pool)
        let assigned = try await assign(
            AddressRequest(
                family: family, scope: pool.scope, address: address, owner: owner(of: request, pool, address),
                mayReplace: {
                    $1.isSwarmReservation && (request.mac != nil || request.isForSwarmManager) || mayReplace($0, $1)
                }))
        return RequestAddressReply(Address: CIDR(host: assigned).description)
    }

    /// Whether the address was taken for an endpoint that never came.
    private func mayReplace(_ address: IPAddress, _ owner: AllocationAttributes) -> Bool {
        owner.isForEndpoint
            && replica.read { Orphan.isUnused(address, owner, node: node, after: grace, at: .now, in: $0) }
    }

    private func assign(_ request: AddressRequest) async throws -> IPAddress {
        do { return try await allocator.assign(request) } catch {
            // Matching the case in `catch` itself crashes the compiler (Swift 6.3).
            guard case .taken(let address, let owner) = error else { throw error }
            // A manager that takes over asks again for what its tasks use.
            if owner.isSwarmTask, request.owner.isSwarmReservation { return address }
            let holder = replica.read { $0.endpoint(using: address)?.value }
            guard let holder, await departures.isGone(holder) else {
                throw PluginError("address \(address) is already assigned to \(words(for: owner, holder))")
            }
            logger.notice(
                "taking an address over from a container that is gone",
                metadata: ["address": "\(address)", "endpoint": "\(holder.spec.endpoint.abbreviated)"])
            // What of it stays now goes with its address, or is a sweep's to find.
            try? await network.end(holder)
            return try await allocator.assign(request.takingOver(from: owner))
        }
    }

    private func words(for owner: AllocationAttributes, _ holder: WorkloadEndpoint?) -> String {
        if let holder { return EndpointWords(endpoint: holder).text }
        let isReserved = owner.handleID?.hasSuffix(".reserved") == true
        return (isReserved ? "an --aux-address of a network on " : "") + owner.words
    }

    private func parse(_ text: String) throws -> IPAddress? {
        guard !text.isEmpty else { return nil }
        // Some callers add the prefix length.
        guard let address = IPAddress(lenient: text) else {
            throw PluginError("\"\(text)\" is not an IP address")
        }
        return address
    }

    private func family(of pool: PoolID) async throws -> IPAddress.Family {
        if let family = pool.family ?? knownFamily(of: pool) { return family }
        // Another host may have made the pool, and a network of global scope on it, a moment ago.
        await replica.refresh()
        guard let family = knownFamily(of: pool) else {
            throw PluginError("IP pool \(pool) no longer exists; recreate the pool, or the network on another one")
        }
        return family
    }

    private func knownFamily(of pool: PoolID) -> IPAddress.Family? {
        replica.read { state in pool.poolNames.lazy.compactMap { state.pools[$0]?.value.spec.family }.first }
    }

    private func gateway(_ address: IPAddress?, _ pool: PoolID) async throws -> RequestAddressReply {
        guard let address, !address.isUnspecified else {
            return RequestAddressReply(Address: (try? await family(of: pool)) == .v6 ? "::/0" : "0.0.0.0/0")
        }
        throw PluginError(
            "Calico IPAM does not support specifying a gateway. A Calico network has no gateway address: "
                + "leave out --gateway \(address)")
    }

    /// One handle per owner, so that what one container holds can be found and freed as a whole.
    private func owner(
        of request: RequestAddressRequest, _ pool: PoolID, _ address: IPAddress?
    ) -> AllocationAttributes {
        var facts = ["node": node, "timestamp": Timestamp.text(.now)]
        facts["mac"] = request.mac?.description
        facts["container"] = request.container
        // Endpoints always come with a MAC (RequiresMACAddress); what else comes without is an --aux-address.
        let other = request.isForSwarmManager ? "swarm" : Orphan.reservation
        let label = request.mac.map { $0.description.filter { $0 != ":" } } ?? other
        if request.mac == nil { facts[AllocationAttributes.poolKey] = pool.description }
        let owner = AllocationAttributes(handleID: "\(Orphan.handlePrefix(node: node))\(label)", secondary: facts)
        if request.isForSwarmManager { return owner.reservingForSwarm() }
        let holder = address.flatMap { address in replica.read { $0.owner(of: address) } }
        return holder?.isSwarmReservation == true ? owner.usingSwarmReservation() : owner
    }

    /// One commit, and one more where the endpoint is still there with no other address: an engine that was killed says
    /// neither Leave nor DeleteEndpoint. One with an address left may live on: engines take IPv6 from a container that
    /// has it switched off.
    func releaseAddress(_ request: ReleaseAddressRequest) async throws -> EmptyReply {
        guard let address = try parse(request.address), !address.isUnspecified else { return EmptyReply() }
        // A network of global scope may be made here and removed elsewhere.
        let isOurs = { @Sendable [node, isGlobal = network.settings.isGlobal] (owner: AllocationAttributes) in
            Orphan.isOurs(owner, node: node) || isGlobal && Orphan.isReservation(owner)
        }
        let endpoint = replica.read { state in
            state.owner(of: address).map(isOurs) == true ? state.endpoint(using: address)?.value : nil
        }
        var failure: (any Error)?
        if let endpoint, network.isOurs(endpoint) {
            do { try await network.withdraw(address, from: endpoint) } catch { failure = error }
        }
        try await allocator.release(.init(address, if: isOurs))
        if let failure { throw failure }
        return EmptyReply()
    }
}

/// Breaks the endless loop of an engine that rejects each answer and asks again (see `anyPool`).
private actor LoopBreaker {
    private var recent: [IPAddress.Family: [ContinuousClock.Instant]] = [:]
    /// Engines loop some 600 times a second; no person or compose file makes 64 networks in one.
    private let limit = 64

    func admits(_ family: IPAddress.Family) -> Bool {
        let now = ContinuousClock.now
        let window = (recent[family] ?? []).filter { $0.duration(to: now) < .seconds(1) }
        recent[family] = window + [now]
        return window.count < limit
    }
}
