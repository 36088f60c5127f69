// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import TestSupport
import Testing

import class Dataplane.NetworkNamespace

/// A host of `scripts/lab.sh` with a real Docker engine and the built daemon, and a neighbour on its LAN.
struct Lab: Sendable {
    /// What the host is like.
    struct Options: Sendable {
        var defaultRoute = true
        /// Which iptables the engine uses: `nft` or `legacy`.
        var iptables = "nft"
        /// Where the plugins keep their data: `sqlite`, each its own, or `etcd`, one for all.
        var datastore = ProcessInfo.processInfo.environment["LAB_DATASTORE"] ?? "sqlite"
        var hosts = ["host"]
        /// The engines run the managed plugin, and the daemon is not started beside them.
        var isManaged = false
        /// Settings of the plugins, `NAME=VALUE`.
        var settings: [String] = []
        /// The engines keep their networks of global scope in the lab's etcd.
        var clusterStore = false
        /// Containers and managed plugins outlive their engine.
        var liveRestore = false

        /// Further arguments of a host's engine.
        fileprivate func engineArguments(of host: String) -> [String] {
            let restore = liveRestore ? ["--live-restore"] : []
            guard clusterStore, let number = hosts.firstIndex(of: host) else { return restore }
            return restore + [
                "--cluster-store", "etcd://\(Lab.outside):2379",
                "--cluster-advertise", "172.30.0.\(11 + number):2376",
            ]
        }
    }

    /// The neighbour on the LAN, which has no route to any pool.
    static let outside = "172.30.0.1"
    /// The host's own address on the LAN.
    static let hostAddress = "172.30.0.11"
    static let hostAddress6 = "fd00:30::11"

    /// The lab of the running suite.
    @TaskLocal static var current: Lab?

    let directory: String
    let options: Options
    /// The host that commands go to.
    var host = "host"

    /// The same lab, with commands going to another host.
    func on(_ host: String) -> Lab { Lab(directory: directory, options: options, host: host) }

    // MARK: Commands

    /// Runs a shell command as the host and returns what it printed.
    @discardableResult
    func run(_ command: String, timeout: Int = 60) async throws -> String {
        let result = await attempt(command, timeout: timeout)
        guard result.succeeded else { throw CommandFailure(command: command, result: result) }
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Runs a shell command as the host, whatever comes of it.
    func attempt(_ command: String, timeout: Int = 60) async -> CommandOutput {
        await toolbox(["in", host, "bash", "-c", command], timeout: timeout)
    }

    /// Runs a shell command in the network of the neighbour.
    @discardableResult
    func runOutside(_ command: String) async throws -> String {
        let result = await toolbox(["net", "outside", "bash", "-c", command])
        guard result.succeeded else { throw CommandFailure(command: command, result: result) }
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// A name server of the neighbour, at the usual port.
    func startNameServer(_ reply: @escaping @Sendable (String) -> NameServer.Reply) throws -> NameServer {
        let pid = try String(contentsOfFile: "\(directory)/outside/pid", encoding: .utf8)
        let path = "/proc/\(pid.trimmingCharacters(in: .whitespacesAndNewlines))/ns/net"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemCallFailure("open \(path)") }
        return try NetworkNamespace(descriptor: descriptor).run {
            try NameServer(at: 0xac1e_0001, port: 53, reply)  // Lab.outside
        }
    }

    /// Decodes what `calico-libnetwork … -o json` prints.
    func calico<Value: Decodable>(_ command: String, as type: Value.Type) async throws -> Value {
        let text = try await run("calico-libnetwork \(command) -o json")
        return try JSONDecoder().decode(type, from: Data(text.utf8))
    }

    func hostReaches(_ address: String) async -> Bool {
        await attempt("ping -n -c 1 -W 2 \(address)").succeeded
    }

    // MARK: Daemons

    func startPlugin(_ variables: String...) async throws { try await startPlugin(variables) }
    func startPlugin(_ variables: [String]) async throws {
        try await perform(["plugin_start", host] + options.settings + variables)
    }
    func stopPlugin() async throws { try await perform(["plugin_stop", host]) }
    func killPlugin() async throws { try await perform(["plugin_kill", host]) }
    func startEngine() async throws { try await perform(["engine_start", host] + options.engineArguments(of: host)) }
    func stopEngine() async throws { try await perform(["engine_stop", host]) }
    func killEngine() async throws { try await perform(["engine_kill", host]) }
    func startEtcd() async throws { try await perform(["etcd_start"]) }
    func killEtcd() async throws { try await perform(["etcd_kill"]) }

    /// Sends a signal to the lab's etcd: STOP freezes it, CONT wakes it.
    func signalEtcd(_ signal: String) async throws {
        let pid = try String(contentsOfFile: "\(directory)/outside/etcd.pid", encoding: .utf8)
        let result = await toolbox([
            "in", "outside", "kill", "-\(signal)", pid.trimmingCharacters(in: .whitespacesAndNewlines),
        ])
        guard result.succeeded else { throw CommandFailure(command: "kill -\(signal) etcd", result: result) }
    }

    /// The exit status of the plugin that was stopped last.
    func pluginStatus() throws -> String {
        try String(contentsOfFile: "\(directory)/\(host)/plugin.status", encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    // MARK: Beginning and end

    static func up(_ options: Options) async throws -> Lab {
        try requirePrerequisites()
        let lab = Lab(directory: "/tmp/calico-lab.\(getpid()).\(UInt32.random(in: 0...UInt32.max))", options: options)
        do {
            try await lab.perform(["up"] + options.hosts)
            for host in options.hosts {
                if !options.isManaged { try await lab.on(host).startPlugin() }
                try await lab.on(host).startEngine()
                try await lab.perform(["image", host])
            }
            if options.isManaged { try await lab.installManagedPlugins() }
        } catch {
            try? await lab.down(logsNamed: "failed-start")
            throw error
        }
        return lab
    }

    /// Removes everything, and keeps the daemons' logs beside the test products.
    func down(logsNamed name: String) async throws {
        let logs = URL(filePath: productDirectory).appending(path: "system-tests")
        try FileManager.default.createDirectory(at: logs, withIntermediateDirectories: true)
        for host in options.hosts {
            for daemon in ["plugin", "engine"] {
                let copy = logs.appending(path: "\(name).\(host).\(daemon).log")
                try? FileManager.default.removeItem(at: copy)
                try? FileManager.default.copyItem(at: URL(filePath: "\(directory)/\(host)/\(daemon).log"), to: copy)
            }
        }
        try await perform(["down"])
    }

    /// Puts a line into the plugin's log, so that a reader finds the test that failed.
    func mark(_ text: String) {
        guard let log = FileHandle(forWritingAtPath: "\(directory)/\(host)/plugin.log") else { return }
        log.seekToEndOfFile()
        log.write(Data("=== \(text)\n".utf8))
    }

    func perform(_ command: [String]) async throws {
        let result = await toolbox(command, timeout: 120)
        guard result.succeeded else {
            throw CommandFailure(command: "scripts/lab.sh " + command.joined(separator: " "), result: result)
        }
    }

    private func toolbox(_ command: [String], timeout: Int = 60) async -> CommandOutput {
        let environment = [
            "LAB_DIR": directory, "LAB_OWNER": "\(getpid())", "LAB_IPTABLES": options.iptables,
            "LAB_DEFAULT_ROUTE": options.defaultRoute ? "yes" : "no", "LAB_DATASTORE": options.datastore,
            "CALICO_LIBNETWORK_BINARY": daemonPath,
        ]
        return await execute(
            ["/bin/bash", repositoryPath + "scripts/lab.sh"] + command, environment: environment, timeout: timeout)
    }
}

/// Says what is missing. System tests fail without it; none of them is skipped.
struct MissingPrerequisite: Error, CustomStringConvertible {
    let description: String
}

func requirePrerequisites() throws {
    guard getuid() == 0 else {
        throw MissingPrerequisite(description: "system tests need root, because they make network namespaces")
    }
    let programs = ["dockerd", "docker", "ip", "nft", "iptables", "busybox", "ping", "arping", "nsenter"]
    let missing = programs.filter { name in
        !["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin", "/usr/local/sbin"]
            .contains { access("\($0)/\(name)", X_OK) == 0 }
    }
    guard missing.isEmpty else {
        throw MissingPrerequisite(
            description:
                "system tests need \(missing.joined(separator: ", ")); scripts/prerequisites test installs them")
    }
    guard access(daemonPath, X_OK) == 0 else {
        throw MissingPrerequisite(
            description: "system tests drive the built daemon, and there is none at \(daemonPath); "
                + "`swift build` makes it, CALICO_LIBNETWORK_BINARY names another one")
    }
}

let repositoryPath = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path(percentEncoded: false)

/// The folder of the test products, where SwiftPM also puts the daemon.
let productDirectory = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent().path(percentEncoded: false)

let daemonPath =
    ProcessInfo.processInfo.environment["CALICO_LIBNETWORK_BINARY"] ?? productDirectory + "calico-libnetwork"
