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

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Check host, engine, datastore and daemon, and say what to do.",
        discussion: "Changes nothing. Exit status 1 where a check failed.")

    @OptionGroup var output: OutputOptions
    @OptionGroup(title: "Settings") var settings: SettingOptions

    func run() async throws {
        let configuration = try settings.configuration()
        let findings = await Examination(configuration: configuration).findings()
        try output.print(
            findings,
            columns: [
                ("CHECK", \.check), ("RESULT", \.result.rawValue), ("FOUND", \.found), ("REMEDY", { $0.remedy ?? "" }),
            ])
        guard findings.allSatisfy({ $0.result != .failed }) else { throw ExitCode.failure }
    }
}

/// What one check has found.
struct Finding: Encodable {
    enum Result: String, Encodable {
        case passed = "ok"
        /// Works, but perhaps not as meant.
        case warning
        case failed
    }

    let check: String
    let result: Result
    let found: String
    var remedy: String?

    static func passed(_ check: String, _ found: String) -> Finding {
        Finding(check: check, result: .passed, found: found)
    }
    static func warning(_ check: String, _ found: String, _ remedy: String) -> Finding {
        Finding(check: check, result: .warning, found: found, remedy: remedy)
    }
    static func failed(_ check: String, _ found: String, _ remedy: String) -> Finding {
        Finding(check: check, result: .failed, found: found, remedy: remedy)
    }
}

/// All checks, in the order in which they build on each other.
private struct Examination {
    let configuration: Configuration

    func findings() async -> [Finding] {
        var findings = unknownVariables + [user, rules] + daemon
        findings.append(await engine)
        if let file = configuration.datastore.missingFile {
            let remedy = "the daemon makes it when it starts; CALICO_LIBNETWORK_SQLITE_PATH names another"
            return findings + [.warning("datastore", "there is no \(file) yet", remedy)]
        }
        do {
            let store = try await configuration.openDatastore(CommandStore.silent)
            if let etcd = try await etcd(behind: store) { findings += await members(of: etcd) }
            findings += try await contents(of: store)
        } catch {
            findings.append(
                .failed("datastore", "\(error)", "'calico-libnetwork config show' tells where each setting came from"))
        }
        return findings
    }

    // MARK: Host

    private var unknownVariables: [Finding] {
        configuration.unknownVariables.map {
            .warning("settings", $0, "'calico-libnetwork config show' lists the settings")
        }
    }

    private var user: Finding {
        geteuid() == 0
            ? .passed("user", "root") : .failed("user", "user id \(geteuid())", "run it as root: so must the daemon")
    }

    private var rules: Finding {
        do {
            _ = try Nftables().query("list tables")
            return .passed("nftables", "the kernel answers")
        } catch {
            return .failed("nftables", "\(error)", "load nf_tables, and give the daemon CAP_NET_ADMIN")
        }
    }

    /// A managed plugin has one socket for both drivers, in a folder of its own.
    private var daemon: [Finding] {
        let managed = SocketOwner.servedByManagedPlugins(in: configuration.socketDirectory, named: "calico.sock")
        guard managed.isEmpty else { return managed.map { .passed("managed plugin", $0) } }
        return ["calico", "calico-ipam"].map { driver in
            let path = configuration.socket(driver)
            return SocketOwner.isServed(path)
                ? .passed("socket \(driver)", path)
                : .failed("socket \(driver)", "nobody serves \(path)", "start the daemon: calico-libnetwork serve")
        }
    }

    private var engine: Finding {
        get async {
            do {
                _ = try await EngineAPI(configuration.engine).lookUp("doctor")
                return .passed("engine", "answers")
            } catch {
                return .warning(
                    "engine", "\(error)",
                    "start Docker, or set DOCKER_HOST; names and labels depend on it, nothing else")
            }
        }
    }

    // MARK: Datastore

    /// `nil` where the datastore is not etcd.
    private func etcd(behind store: any KeyValueStore) async throws(StoreError) -> EtcdStore? {
        if let discovered = store as? DiscoveredEtcdStore { return try await discovered.current() }
        return store as? EtcdStore
    }

    private func members(of etcd: EtcdStore) async -> [Finding] {
        await etcd.status().map { endpoint, result in
            switch result {
            case .success(let status) where !status.alarms.isEmpty:
                .failed(
                    "etcd", "\(endpoint): alarm \(status.alarms.joined(separator: ", "))", "see 'etcdctl alarm list'")
            case .success(let status) where !status.knowsLeader:
                .failed("etcd", "\(endpoint): has no leader", "start a majority of etcd's members")
            case .success(let status):
                .passed(
                    "etcd",
                    "\(endpoint): \(status.version)\(status.isLeader ? ", leader" : ""), "
                        + "\(status.databaseSize / 1_000_000) MB")
            case .failure(let error):
                .warning("etcd", error.description, "this member is of no use until that is mended")
            }
        }
    }

    private func contents(of store: any KeyValueStore) async throws -> [Finding] {
        let state = try await CommandStore(configuration, store).state
        return [.passed("datastore", "\(configuration.datastore)"), lock(state), node(state), pools(state)]
            + DataplaneExamination(configuration: configuration, state: state).findings
            + state.unreadable.sorted { $0.key.path < $1.key.path }.map {
                .warning("value", "\($0.key): \($0.value)", "it is left alone; whoever wrote it has to mend it")
            }
    }

    private func lock(_ state: ClusterState) -> Finding {
        state.isReady
            ? .passed("lock", "open")
            : .failed("lock", "datastoreReady is false", "end the migration that has locked the datastore")
    }

    private func node(_ state: ClusterState) -> Finding {
        state.nodes[configuration.node] != nil
            ? .passed("node", configuration.node)
            : .warning("node", "\(configuration.node) is not registered", "start the daemon, or set NODENAME")
    }

    private func pools(_ state: ClusterState) -> Finding {
        let usable = state.poolsInOrder.filter(\.isAllocatable)
        return usable.isEmpty
            ? .failed("pools", "no pool gives addresses", "calico-libnetwork pool create NAME --cidr CIDR")
            : .passed("pools", usable.map { "\($0.name) \($0.spec.cidr)" }.joined(separator: ", "))
    }
}
