// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import ArgumentParser
import CalicoModel
import Dataplane
import Datastore
import FoundationEssentials
import Glibc
import IPAM
import LibnetworkPlugin
import LinuxNetwork
import Logging
import ServiceLifecycle
import UnixSignals

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the daemon: both plugin sockets, until SIGTERM.",
        discussion: """
            Needs root. Serves calico.sock and calico-ipam.sock in CALICO_LIBNETWORK_SOCKET_DIR, where Docker finds
            them. Start it before Docker: an engine waits 15 s for every network whose plugin is missing.
            """)

    @OptionGroup(title: "Settings") var settings: SettingOptions

    func run() async throws {
        let configuration = try settings.configuration()
        let logger = Logger(label: "calico-libnetwork") { _ in
            LogOutput(format: configuration.logFormat, logLevel: configuration.logLevel)
        }
        do { try await Daemon(configuration, logger).run() } catch {
            logger.critical("cannot go on", metadata: ["error": "\(error)"])
            throw ExitCode.failure
        }
    }
}

/// The composition root: everything the daemon is made of, put together top to bottom.
private struct Daemon {
    let configuration: Configuration
    let logger: Logger
    let store: any KeyValueStore
    let replica: Replica<ClusterState>
    let dataplane: LinuxDataplane
    let network: NetworkDriver
    let ipam: IPAMDriver
    let reconciler: Reconciler
    let registration: Registration
    let gate = Gate()
    /// Carries the requests, from the socket to etcd and back.
    let executor: EventLoopTaskExecutor

    init(_ configuration: Configuration, _ logger: Logger) async throws {
        // Sockets and files are for their owner alone, from their first moment.
        umask(0o177)
        self.configuration = configuration
        self.logger = logger
        try Folder.create(configuration.socketDirectory)
        try SocketOwner.check(
            ["calico", "calico-ipam"].map(configuration.socket)
                + SocketOwner.servedByManagedPlugins(in: configuration.socketDirectory, named: "calico.sock"))
        executor = EventLoopTaskExecutor()
        store = try await configuration.openDatastore(logger, on: executor.loop)
        replica = Replica(of: store, under: ClusterState.ranges, logger: logger)
        dataplane = LinuxDataplane(
            node: configuration.node, choice: configuration.dataplane,
            circumstances: { [replica] in replica.read { configuration.felixCircumstances($0) } },
            sysctl: Sysctl(root: configuration.sysctlRoot), logger: logger)
        let engine = EngineAPI(configuration.engine)
        let allocator = AddressAllocator(
            replica: replica, node: configuration.node, logger: logger, surroundings: Surroundings(executor: executor))
        network = NetworkDriver(
            replica: replica, dataplane: dataplane, engine: engine, node: configuration.node,
            settings: configuration.driver, logger: logger)
        let limit = configuration.requestTimeout
        ipam = IPAMDriver(allocator: allocator, network: network, requestTimeout: limit, logger: logger)
        reconciler = Reconciler(
            driver: network, allocator: allocator, engine: engine, requestTimeout: limit, logger: logger)
        registration = Registration(configuration, in: replica, logger)
    }

    func run() async throws {
        logger.notice(
            "starting",
            metadata: [
                "version": "\(Version.text)", "node": "\(configuration.node)", "store": "\(configuration.datastore)",
            ])
        warnOfSeparateDatastores()
        for variable in configuration.unknownVariables { logger.warning("\(variable)") }
        // Told to stop from the last to the first, each once the one before has ended: requests need the state.
        let services: [any Service] = [
            Background(name: "state") { try await prepareAndFollow() },
            Together(services: [
                server("calico", .networkDriver(network).serving(.ipamDriver(ipam))),
                server("calico-ipam", .ipamDriver(ipam)),
            ]),
        ]
        var group = ServiceGroupConfiguration(
            services: services.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint],
            logger: quietLogger)
        // Docker kills a managed plugin after 10 s; few requests take so long.
        group.maximumGracefulShutdownDuration = .seconds(8)
        group.maximumCancellationDuration = .seconds(1)
        try await ServiceGroup(configuration: group).run()
        await dataplane.stop()
        logger.notice("stopped")
    }

    private func warnOfSeparateDatastores() {
        guard configuration.driver.isGlobal, case .sqlite = configuration.datastore else { return }
        logger.warning(
            """
            networks of scope global are on every host, but this datastore is this host's own: two hosts would give the \
            same addresses. Set ETCD_ENDPOINTS, or CALICO_LIBNETWORK_SCOPE=local
            """)
    }

    private var quietLogger: Logger {
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        return quiet
    }

    private func server(_ name: String, _ routes: PluginRoutes) -> any Service {
        let responder = PluginResponder(
            routes: routes, gate: gate, limit: configuration.requestTimeout, on: executor, logger: logger)
        return PluginServer(socket: configuration.socket(name), responder: responder)
    }

    /// Reads the state, puts the host into it, lets requests in, and keeps up with changes until shutdown.
    private func prepareAndFollow() async throws {
        await gate.explain("it still reads its state from \(configuration.datastore)")
        let (news, isComplete) = try await prepare()
        await gate.open()
        logger.notice("ready")
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await replica.follow() }
            group.addTask {
                for await changes in news {
                    registration.notice(changes)
                    await dataplane.apply(changes.filter(isNews).compactMap(change))
                }
            }
            group.addTask { await reconciler.run() }
            group.addTask { await registration.keep(isComplete: isComplete) }
        }
    }

    /// - Returns: what has to be fed to the dataplane from now on, and whether what calico/node makes is there.
    private func prepare() async throws -> (news: AsyncStream<[Change]>, isComplete: Bool) {
        let present = try await whenAvailable { () async throws(StoreError) in try await replica.load() }
        let news = replica.news(under: .allResources)
        let isComplete = await registration.create()
        try await dataplane.start(
            present.flatMap(\.entries).filter { Key.allResources.isPrefix(of: $0.key) }.compactMap {
                change(for: Change($0))
            })
        await network.restorePorts()
        return (news, isComplete)
    }

    /// A datastore that is away is waited for: the sockets are there, and say why nothing works yet.
    private func whenAvailable<Result>(_ attempt: () async throws(StoreError) -> Result) async throws -> Result {
        var said: StoreError?
        while true {
            do throws(StoreError) { return try await attempt() } catch {
                guard case .unavailable = error else { throw error }
                await gate.explain("\(error)")
                if said != error { logger.error("waiting for the datastore", metadata: ["error": "\(error)"]) }
                said = error
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    /// False for an endpoint's value that is known to be superseded: Join may have put the later one in force already,
    /// and that is told, too.
    private func isNews(_ change: Change) -> Bool {
        replica.read { state in state.endpoints[change.key].map { $0.revision <= change.revision } ?? true }
    }

    /// An unreadable value counts as removed: it must neither stop the others nor leave its old version in force.
    private func change(for change: Change) -> ClusterChange? {
        // Spares decoding what this process wrote.
        if let endpoint = change.model as? WorkloadEndpoint { return ClusterChange(endpoint) }
        do { return try ClusterChange(key: change.key, json: change.value) } catch {
            logger.error("ignoring an unreadable value", metadata: ["key": "\(change.key)", "error": "\(error)"])
            return ClusterChange(key: change.key, value: nil)
        }
    }
}

/// Work that runs beside the servers and ends with them.
private struct Background: Service {
    let name: String
    let work: @Sendable () async throws -> Void

    func run() async throws {
        do { try await cancelWhenGracefulShutdown { try await work() } } catch {
            // Being cut short, as told, is no failure.
            guard Task.isShuttingDownGracefully else { throw error }
        }
        // Returning early would end the whole group.
        try? await gracefulShutdown()
    }
}

/// Services that are told to stop at the same moment; the time that each has for it is the time for all.
private struct Together: Service {
    let services: [any Service]

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for service in services { group.addTask { try await service.run() } }
            try await group.next()
            // Where one ends by itself, the daemon does.
            if !Task.isShuttingDownGracefully { group.cancelAll() }
            try await group.waitForAll()
        }
    }
}

/// Folders of ours: for their owner alone, whatever the umask says.
enum Folder {
    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    /// Creates the folder and its missing parents, mode 0755: others may look for a socket, not use it.
    static func create(_ path: String) throws {
        if FileManager.default.fileExists(atPath: path) { return }
        try create(parent(of: path))
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else {
            throw Configuration.Problem(
                description: "cannot create the folder \(path): \(String(cString: strerror(errno)))")
        }
        chmod(path, 0o755)
    }
}
