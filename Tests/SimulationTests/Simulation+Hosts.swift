// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import IPAM

// What the hosts do: requests, deaths, new lives.

extension Simulation {
    /// The cluster before anybody acts.
    func populate() {
        var writes: [Transaction.Write] = []
        for (index, pool) in scenario.pools.enumerated() {
            var resource = IPPool(metadata: ResourceMetadata(name: "pool-\(index)"), spec: IPPoolSpec(cidr: pool.cidr))
            resource.spec.blockSize = pool.blockSize
            writes.append(.put(resource.key, resource))
        }
        if scenario.configuration != IPAMConfiguration() {
            writes.append(.put(.ipamConfiguration, scenario.configuration))
        }
        writes.append(reservation(scenario.reserved))
        for name in Set(scenario.hosts.map(\.name)).sorted() { writes.append(node(name, isSelected: true)) }
        _ = keys.apply(Transaction(writes: writes))
        processes = scenario.hosts.map { Process(plan: $0) }
        for index in processes.indices { start(index) }
    }

    private func reservation(_ cidrs: [String]) -> Transaction.Write {
        let reservation = IPReservation(
            metadata: ResourceMetadata(name: "r"), spec: IPReservationSpec(reservedCIDRs: cidrs))
        return .put(reservation.key, reservation)
    }

    private func node(_ name: String, isSelected: Bool) -> Transaction.Write {
        var node = Node(metadata: ResourceMetadata(name: name), spec: NodeSpec())
        node.metadata.labels = ["selected": isSelected ? "yes" : "no"]
        return .put(node.key, node)
    }

    // MARK: Lives

    func start(_ index: Int) {
        let plan = processes[index].plan
        nextClient += 1
        let client = Client(
            id: nextClient, host: index, name: "\(plan.role) \(plan.name) #\(nextClient)", isGo: plan.role == .go)
        speeds[client.id] = (random.pick([2, 8, 24]), random.pick([1, 1, 4, 24]))
        processes[index].client = client
        note(client.name, "starts")
        guard plan.role == .plugin else {
            processes[index].isReady = true
            return
        }
        let host = PluginHost(self, client, node: plan.name)
        processes[index].plugin = host
        processes[index].follower = executor.start { [self] in
            guard (try? await host.replica.load()) != nil else { return }
            await hasLoaded(client)
            await host.replica.follow()
        }
    }

    private func hasLoaded(_ client: Client) {
        guard !isDead(client) else { return }
        processes[client.host].isReady = true
    }

    func crash(_ index: Int) {
        guard let client = processes[index].client else { return }
        counts.crashes += 1
        note(client.name, "dies")
        dead.insert(client.id)
        ledger.forsake(client: client.id)
        processes[index].client = nil
        processes[index].plugin = nil
        processes[index].isReady = false
        processes[index].isTroubled = true
        processes[index].requestsUnderWay = 0
        processes[index].follower?.cancel()
        watchers.removeAll { $0.client == client.id }
        let forsaken = steps.filter { $0.client == client.id && $0.forsake != nil }
        steps.removeAll { $0.client == client.id && $0.forsake != nil }
        for step in forsaken { step.forsake?(self) }
    }

    // MARK: Requests

    /// Lets a host make one more request.
    func act(_ index: Int) {
        guard let client = processes[index].client else { return }
        actionsLeft -= 1
        let held = ledger.releasable(by: index)
        let wantsMore = random.chance(held.count < 5 ? 60 : 20)
        if let id = held.isEmpty || wantsMore ? nil : random.pick(held) {
            begin(client) { await $0.release(id, by: client) }
            // Asked twice at once: only one may find it.
            if random.chance(10) { begin(client) { await $0.release(id, by: client) } }
        } else if random.chance(25) {
            doSomethingElse(client)
        } else {
            assign(client)
        }
    }

    private func doSomethingElse(_ client: Client) {
        guard let plugin = processes[client.host].plugin else {
            let go = goClient(client)
            let mustBeEmpty = random.chance(50)
            note(client.name, "gives its \(mustBeEmpty ? "empty " : "")blocks up")
            begin(client) { _ in await go.releaseHostAffinities(mustBeEmpty: mustBeEmpty) }
            return
        }
        switch random.pick(weighted: (0, 2), (1, 3), (2, 5)) {
        case 0:
            note(client.name, "lists everything again")
            begin(client) { _ in await plugin.replica.refresh() }
        case 1: begin(client) { await $0.releaseOrphans(client) }
        default:
            let own = plugin.replica.snapshot.blocksByAffinity["host:\(plugin.node)"]?.sorted() ?? []
            guard !own.isEmpty else { return }
            let block = random.pick(own)
            note(client.name, "gives \(block) back if it is empty")
            begin(client) { _ in await plugin.allocator.giveBack(block) }
        }
    }

    private func assign(_ client: Client) {
        let (id, request) = newRequest(of: client)
        guard let plugin = processes[client.host].plugin else {
            let go = goClient(client)
            begin(client) { _ in await go.assign(id, request) }
            return
        }
        let task = begin(client) { _ in await plugin.assign(id, request) }
        if random.chance(12) { cancellable.append((id, task)) }
    }

    /// A request of `client`, noted as open.
    func newRequest(of client: Client) -> (id: String, request: AddressRequest) {
        nextRequest += 1
        let plan = processes[client.host].plan
        let id = "\(plan.role).\(client.host).\(nextRequest)"
        let handle = scenario.sharesHandles ? (random.chance(30) ? "shared" : "\(plan.role).\(client.host)") : id
        let owner = AllocationAttributes(
            handleID: handle, secondary: ["node": plan.name, "mac": id, "container": "c\(nextRequest % 5)"])
        ledger.open(id, Ledger.Request(host: client.host, client: client.id, owner: owner))
        let isParticular = phase == .acting && scenario.asksForParticularAddresses && random.chance(25)
        let address = isParticular ? anyAddress(for: client) : nil
        note(client.name, "asks for \(address.map { "\($0)" } ?? "an address") as \(id)")
        let orphans = Set(ledger.orphans(of: client.host).filter { ledger[$0.id] == .uncertain }.map(\.id))
        let request = AddressRequest(family: scenario.family, address: address, owner: owner) { _, holder in
            holder.secondary["mac"].map(orphans.contains) ?? false
        }
        return (id, request)
    }

    private func anyAddress(for client: Client) -> IPAddress {
        // One whose holder is gone may pass on.
        if random.chance(30), let orphan = ledger.orphans(of: client.host).first { return orphan.address }
        let pool = random.pick(scenario.pools).cidr
        return pool.address.advanced(by: UInt128(random.below(1 << min(pool.hostBits, 5))))!
    }

    @discardableResult
    private func begin(
        _ client: Client, _ body: @escaping @Sendable (Simulation) async -> Void
    ) -> Task<Void, Never> {
        processes[client.host].requestsUnderWay += 1
        return executor.start { [self] in
            await body(self)
            await hasEnded(client)
        }
    }

    private func hasEnded(_ client: Client) {
        if processes[client.host].client?.id == client.id { processes[client.host].requestsUnderWay -= 1 }
    }

    func goClient(_ client: Client) -> GoClient {
        GoClient(simulation: self, client: client, host: processes[client.host].plan.name)
    }

    // MARK: Answers

    func answered(_ id: String, _ address: IPAddress, to client: Client) {
        guard !isDead(client) else { return }
        counts.assigned += 1
        note(client.name, "\(id) gets \(address)")
        check(ledger.answer(id, address))
        if !scenario.pools.contains(where: { $0.cidr.contains(address) }) { fail("\(address) is in no pool") }
    }

    func refused(_ id: String, _ reason: String, _ certainty: Certainty, to client: Client) {
        guard !isDead(client) else { return }
        counts.refused += 1
        note(client.name, "\(id) gets none: \(reason)")
        switch certainty {
        case .nothingDone: check(ledger.refuse(id, isUncertain: false))
        case .unknown: check(ledger.refuse(id, isUncertain: true))
        case .willBeUndone: if ledger[id] != .cancelled { fail("\(id) was abandoned, but not by its caller") }
        }
    }

    func isHeld(_ id: String) -> Bool { ledger[id] == .held }

    func release(_ id: String, by client: Client) async {
        guard !isDead(client), let request = ledger.requests[id], let address = request.address,
            let fate = ledger.beginRelease(id, by: client.id)
        else { return }
        note(client.name, "gives \(address) of \(id) back, \(fate)")
        if let plugin = processes[client.host].plugin {
            await plugin.release(id, address, request.owner)
        } else {
            await goClient(client).release(id, address, request.owner)
        }
    }

    func released(_ id: String, _ found: AllocationAttributes?, by client: Client) {
        guard !isDead(client) else { return }
        note(client.name, "\(id) is released, \(found == nil ? "nobody held it" : "held until now")")
        check(ledger.release(id, found: found))
    }

    func failedToRelease(_ id: String, _ reason: String, _ certainty: Certainty, by client: Client) {
        guard !isDead(client) else { return }
        note(client.name, "\(id) is not released: \(reason)")
        check(ledger.failRelease(id, isUncertain: certainty != .nothingDone))
    }

    // MARK: Settling

    /// Everybody comes back, releases what nobody will ever ask to release, and makes good what is half done.
    func settle() {
        for index in processes.indices where processes[index].client == nil { start(index) }
        let rounds = random.chance(50)
        for process in processes {
            guard let client = process.client else { continue }
            let go = goClient(client)
            begin(client) { simulation in
                await simulation.releaseOrphans(client)
                if let plugin = process.plugin {
                    if rounds { await plugin.makeTheRounds() }
                } else {
                    await go.finishClaims()
                }
            }
        }
    }

    /// What the reconciler does: it releases what its copy shows, and nobody is going to use.
    private func releaseOrphans(_ client: Client) async {
        let copy = processes[client.host].plugin?.replica.snapshot
        for orphan in ledger.orphans(of: client.host) where ledger[orphan.id] != .cancelled || phase == .settling {
            guard copy.map({ $0.owner(of: orphan.address) == orphan.owner }) ?? (phase == .settling) else { continue }
            note(client.name, "finds the orphan \(orphan.id) at \(orphan.address)")
            ledger.adopt(orphan.id, orphan.address)
            await release(orphan.id, by: client)
        }
    }

    // MARK: An administrator

    func administer() {
        // Nobody can do much meanwhile, so a lock stays for a short time only.
        guard !isLocked else { return setLocked(false) }
        switch random.below(5) {
        case 0:
            let pool = random.below(scenario.pools.count)
            change(Key.resource(IPPoolSpec.self, name: "pool-\(pool)"), IPPool.self) { $0.spec.disabled.toggle() }
        case 1:
            note("administrator", "changes reservations")
            write(reservation(random.chance(50) ? [] : [scenario.pools[0].cidr.address.description]))
        case 2:
            change(Key.resource(IPPoolSpec.self, name: "pool-0"), IPPool.self) {
                $0.spec.nodeSelector = $0.spec.nodeSelector == nil ? "selected == 'yes'" : nil
            }
        case 3:
            note("administrator", "changes the labels of \(scenario.hosts[0].name)")
            write(node(scenario.hosts[0].name, isSelected: random.chance(50)))
        default: setLocked(true)
        }
    }

    private static let lockKey = Key.resource(ClusterInformationSpec.self, name: "default")

    var isLocked: Bool { keys.value(Self.lockKey, ClusterInformation.self)?.spec.datastoreReady == false }

    func setLocked(_ isLocked: Bool) {
        note("administrator", isLocked ? "locks the datastore" : "unlocks the datastore")
        let information = ClusterInformation(
            metadata: ResourceMetadata(name: "default"), spec: ClusterInformationSpec(datastoreReady: !isLocked))
        write(.put(Self.lockKey, information))
        guard isLocked else { return }
        counts.locks += 1
        // Our hosts cannot undo now what their callers have given up on.
        for index in processes.indices where processes[index].plan.role == .plugin {
            processes[index].isTroubled = true
        }
    }

    private func change<Value: Codable & Sendable>(_ key: Key, _ type: Value.Type, _ body: (inout Value) -> Void) {
        guard var value = keys.value(key, type) else { return }
        note("administrator", "changes \(key.brief)")
        body(&value)
        write(.put(key, value))
    }

    private func write(_ write: Transaction.Write) { _ = keys.apply(Transaction(writes: [write])) }
}
