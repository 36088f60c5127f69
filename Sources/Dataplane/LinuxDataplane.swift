// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
public import LinuxNetwork
import Logging

/// Our own dataplane: links and routes over netlink, rules in a table of nftables. Where a Felix serves this host,
/// only the links are ours; see `LinuxDataplane+Felix.swift`.
///
/// Netlink and nftables have a thread each, so the work for one endpoint overlaps, and so does that for several.
public actor LinuxDataplane: Dataplane {
    /// Changes of iptables in its old form cause no events; this often it is looked at.
    private static let inspectionInterval = Duration.seconds(15)
    /// Foreign changes of rules come in bursts.
    private static let settlingTime = Duration.milliseconds(100)

    /// How long links to remove gather. The kernel's lock is taken for a fifth of the time when links go all the time.
    /// Their connections are forgotten as often, although that reads the whole table (13 ms where it is empty and has
    /// 262,144 buckets): a busy host gives an address to the next container in a few tenths of a second, which would have
    /// to wait for it.
    private static let gatheringTime = Duration.milliseconds(100)

    private let node: String
    private let namespace: NetworkNamespace
    let logger: Logger
    let interfaces: InterfaceTable
    let rules: RulesetTable
    let forwardRule: DockerForwardRule
    private let remover: LinkRemover
    let felix: FelixObserver
    let felixTiming: FelixTiming

    /// Who has routes, settings and rules in hand.
    public internal(set) var master = Master.builtin
    /// What was said last of who should be the master.
    var verdict: MasterVerdict?
    /// Since when somebody else should be.
    var changeIsDueSince: ContinuousClock.Instant?
    /// At the last look, Felix had rules for every interface.
    var wasFelixReady = false
    private var felixWatch: Task<Void, Never>?
    private(set) var isStarted = false
    private var dockerInterfaces: Set<InterfaceName> = []
    /// Links that were down when last heard of.
    private var down: Set<Int32> = []
    private var monitor: KernelMonitor?
    private var watch: Task<Void, Never>?
    private var inspections: Task<Void, Never>?
    private var pendingInspection: Task<Void, Never>?
    /// Addresses of links that are gone or going, until the kernel has forgotten their connections.
    private var retired: Set<IPAddress> = []
    private var removal: Task<Void, Never>?
    /// The last removal has left something.
    private var isRemovalDue = false

    /// - Parameters:
    ///   - node: Calico's name of this host.
    ///   - choice: who is to be the master of containers' interfaces.
    ///   - circumstances: asked whenever Felix is looked for.
    ///   - sysctl: the settings of that namespace, writable.
    ///   - namespace: only tests work in another one than this process's.
    public init(
        node: String, options: RulesetOptions = .init(), choice: DataplaneChoice = .builtin,
        circumstances: @escaping @Sendable () -> FelixCircumstances = { .init() }, timing: FelixTiming = .init(),
        sysctl: Sysctl = Sysctl(), logger: Logger, namespace: NetworkNamespace = .own
    ) {
        self.node = node
        self.namespace = namespace
        self.logger = logger
        interfaces = InterfaceTable(namespace: namespace, sysctl: sysctl, logger: logger)
        rules = RulesetTable(node: node, options: options, namespace: namespace, logger: logger)
        forwardRule = DockerForwardRule(mark: options.acceptMark, namespace: namespace, logger: logger)
        remover = LinkRemover(namespace: namespace, logger: logger)
        felix = FelixObserver(choice: choice, circumstances: circumstances, namespace: namespace)
        felixTiming = timing
    }

    public func start(_ state: [ClusterChange]) async throws {
        try watchKernel()
        // Events tell of further bridges from here on.
        dockerInterfaces.formUnion(try await interfaces.prepareHost())
        let local = state.compactMap { change -> WorkloadEndpoint? in
            guard case .endpoint(let endpoint)? = change.value, endpoint.spec.node == node else { return nil }
            return endpoint
        }
        if !isStarted {
            master = await firstMaster(for: local)
            await interfaces.setMaster(master)
            try await rules.setMaster(master)
        }
        // Links first: they know which of them belong to one container, and the rules need that.
        let gone = try await interfaces.restore(local)
        let siblings = await interfaces.siblings()
        // No wait between reading the bridges and this call; what events tell from now on queues behind it.
        try await rules.load(state, dockerInterfaces: dockerInterfaces, siblings: siblings)
        await settleForwardRule()
        if let gone { removeLinksSoon(of: gone) }
        isStarted = true
        felixWatch = felixWatch ?? Task { await self.watchFelix() }
    }

    public func apply(_ changes: [ClusterChange]) async {
        do {
            try await rules.apply(changes)
        } catch {
            logger.error("nftables rules are behind the datastore", metadata: ["error": "\(error)"])
        }
    }

    @discardableResult
    public func connect(_ link: EndpointLink) async throws -> Connection {
        guard isStarted else { throw DataplaneError.notStarted }
        await forgetFormer(of: Set(link.endpoint.spec.addresses))
        async let inForce: Void = rules.apply([ClusterChange(link.endpoint)])
        let siblings = try await interfaces.connect(link)
        do {
            try await inForce
            try await rules.setSiblings(siblings)
        } catch {
            try? await disconnect(interfaceName: link.endpoint.spec.interfaceName)
            throw error
        }
        let name = link.endpoint.spec.interfaceName
        return Connection(siblings: Set(siblings.keys.map(\.text)).subtracting([name]), master: master)
    }

    public func disconnect(interfaceName: String) async throws {
        guard let name = InterfaceName(interfaceName) else { return }
        guard let remainder = try await interfaces.disconnect(name) else { return }
        removeLinksSoon(of: remainder.addresses)
        try await rules.setSiblings(remainder.siblings)
    }

    public func isIdle(interfaceName: String) async -> Bool {
        guard let name = InterfaceName(interfaceName) else { return true }
        do {
            return try await interfaces.isIdle(name)
        } catch {
            logger.warning("an interface could not be read", metadata: ["interface": "\(name)", "error": "\(error)"])
            return false
        }
    }

    public func uplinkMTU() async -> Int {
        do {
            return try await interfaces.currentMTU()
        } catch {
            logger.warning("the uplink's MTU could not be read", metadata: ["error": "\(error)"])
            return Uplink.defaultMTU
        }
    }

    public func stop() async {
        felixWatch?.cancel()
        await felixWatch?.value
        inspections?.cancel()
        pendingInspection?.cancel()
        await rules.stop()
        monitor?.close()
        await watch?.value
        removal?.cancel()
        await removal?.value
        // A removal under way, and what was retired since it began.
        await removeLinks()
    }

    // MARK: Removal of links

    /// Links gather for a moment. The remover itself is not asked: it may be waiting for the kernel.
    private func removeLinksSoon(of addresses: Set<IPAddress>) {
        retired.formUnion(addresses)
        guard removal == nil else { return }
        removal = Task {
            // Cancelled, it goes on at once.
            try? await Task.sleep(for: Self.gatheringTime)
            self.removal = nil
            await self.removeLinks()
        }
    }

    /// An address that comes back before its last holder's connections are forgotten; later would be too late.
    private func forgetFormer(of addresses: Set<IPAddress>) async {
        let inherited = retired.intersection(addresses)
        guard !inherited.isEmpty else { return }
        retired.subtract(inherited)
        // Queues behind a removal under way, which may have them, too.
        await remover.forgetInherited(inherited)
    }

    private func removeLinks() async {
        let addresses = retired
        isRemovalDue = await !remover.removeLinks(of: addresses)
        if !isRemovalDue { retired.subtract(addresses) }
    }

    // MARK: The kernel's news

    private func watchKernel() throws {
        guard monitor == nil else { return }
        let monitor = try namespace.run { try KernelMonitor([.links, .routes, .ruleset], capacity: 8192) }
        self.monitor = monitor
        watch = Task { for await event in monitor.events { await self.handle(event) } }
        inspections = Task {
            while !Task.isCancelled {
                try? await Task.sleep(for: Self.inspectionInterval)
                await self.inspect()
            }
        }
    }

    private func handle(_ event: KernelMonitor.Event) async {
        if Uplink.isConcerned(by: event) { await interfaces.forgetUplink() }
        do {
            switch event {
            case .linkChanged(let link):
                if !link.isUp {
                    down.insert(link.index)
                } else if down.remove(link.index) != nil {
                    try await interfaces.restore(link)
                }
                if let name = link.dockerInterface { try await noteDocker(dockerInterfaces.union([name])) }
            case .linkRemoved(let link):
                down.remove(link.index)
                if let name = link.dockerInterface { try await noteDocker(dockerInterfaces.subtracting([name])) }
            case .rulesetChanged(let generation):
                if !generation.isOwn { inspectSoon() }
            case .routeChanged, .routeRemoved: break
            case .resyncNeeded:
                inspectSoon()
                try await noteDocker(interfaces.resynchronize())
            }
        } catch {
            logger.error("a change in the kernel could not be followed", metadata: ["error": "\(error)"])
        }
    }

    private func noteDocker(_ names: Set<InterfaceName>) async throws {
        guard names != dockerInterfaces else { return }
        dockerInterfaces = names
        try await rules.setDockerInterfaces(names)
    }

    private func inspectSoon() {
        guard pendingInspection == nil else { return }
        pendingInspection = Task {
            try? await Task.sleep(for: Self.settlingTime)
            self.pendingInspection = nil
            await self.inspect()
        }
    }

    /// Looks whether our rules are still there, and puts back what is not.
    private func inspect() async {
        guard !Task.isCancelled else { return }
        do {
            try await rules.verify()
        } catch {
            logger.error("our nftables rules could not be checked", metadata: ["error": "\(error)"])
        }
        if master == .builtin { await forwardRule.ensure() }
        if isRemovalDue { removeLinksSoon(of: []) }
    }
}
