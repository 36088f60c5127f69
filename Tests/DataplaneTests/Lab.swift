// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Foundation
import LinuxNetwork
import Logging
import Testing

/// A host in a network namespace of its own, with containers in further ones. Each namespace is held by a `sleep`.
final class Lab: Sendable {
    let host: Place
    let namespace: NetworkNamespace

    /// A network namespace and the process that keeps it.
    struct Place: Sendable {
        let process: Int32

        /// Runs a program there; its standard output.
        @discardableResult
        func run(_ command: String, expect status: Int32? = 0) throws -> String {
            let (code, output) = try Lab.execute(["nsenter", "-t", "\(process)", "-n", "sh", "-c", command])
            if let status, code != status { throw CommandFailure(command: command, status: code, output: output) }
            return output
        }

        /// Starts a program there that goes on.
        /// - Returns: its process.
        func start(_ words: [String]) throws -> Int32 {
            try Lab.spawn(["nsenter", "-t", "\(process)", "-n"] + words)
        }

        func succeeds(_ command: String) throws -> Bool {
            try Lab.execute(["nsenter", "-t", "\(process)", "-n", "sh", "-c", command]).0 == 0
        }

        func reaches(_ address: String, from source: String? = nil) throws -> Bool {
            try succeeds("ping -c 1 -W 0.4 \(source.map { "-I \($0)" } ?? "") \(address)")
        }
    }

    struct CommandFailure: Error { let command: String, status: Int32, output: String }

    init() throws {
        host = try Lab.place()
        let descriptor = open("/proc/\(host.process)/ns/net", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw CommandFailure(command: "open", status: errno, output: "") }
        namespace = NetworkNamespace(descriptor: descriptor)
        try host.run("ip link set lo up")
    }

    /// - Parameter circumstances: what is told of Felix, if one is to be heeded; it is looked for often then.
    func dataplane(
        _ options: RulesetOptions = .init(), choice: DataplaneChoice = .builtin,
        circumstances: FelixCircumstances = .init()
    ) -> LinuxDataplane {
        var logger = Logger(label: "lab") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .warning
        var timing = FelixTiming()
        timing.interval = .milliseconds(100)
        timing.absence = .milliseconds(500)
        return LinuxDataplane(
            node: Cluster.node, options: options, choice: choice, circumstances: { circumstances }, timing: timing,
            logger: logger, namespace: namespace)
    }

    /// What Docker does with the link that Join names.
    func container(_ endpoint: WorkloadEndpoint) throws -> Place {
        let container = try Lab.place()
        let peer = EndpointLink.peerName(of: endpoint.spec.interfaceName)
        try host.run("ip link set \(peer) netns \(container.process)")
        var commands = ["ip link set lo up", "ip link set \(peer) name eth0", "ip link set eth0 up"]
        for address in endpoint.spec.addresses {
            commands.append("ip addr add \(CIDR(host: address)) dev eth0 \(address.family == .v6 ? "nodad" : "")")
        }
        commands += ["ip route add 169.254.1.1 dev eth0 scope link", "ip route add default via 169.254.1.1"]
        if endpoint.spec.addresses.contains(where: { $0.family == .v6 }) {
            commands.append("ip -6 route add default via fe80::1 dev eth0")
        }
        try container.run(commands.joined(separator: " && "))
        return container
    }

    func end(_ places: Place...) {
        for place in places + [host] {
            kill(place.process, SIGKILL)
            var status: Int32 = 0
            waitpid(place.process, &status, 0)
        }
    }

    static func place() throws -> Place {
        let process = try spawn(["unshare", "-n", "sleep", "600"])
        // unshare has happened once the namespace differs from ours.
        let ours = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
        for _ in 0..<500 {
            let theirs = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/ns/net")
            if let theirs, theirs != ours { return Place(process: process) }
            usleep(2000)
        }
        throw CommandFailure(command: "unshare -n (are you root?)", status: 1, output: "")
    }

    private static func spawn(_ words: [String], output: Int32? = nil) throws -> Int32 {
        var arguments = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        if let output {
            posix_spawn_file_actions_adddup2(&actions, output, 1)
            posix_spawn_file_actions_adddup2(&actions, output, 2)
        } else {
            posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
            posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        }
        // The threads that tests run on may block signals. A child would inherit that, and `timeout` could not end it.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var process: pid_t = 0
        let result = posix_spawnp(&process, words[0], &actions, &attributes, &arguments, environ)
        guard result == 0 else {
            throw CommandFailure(command: words.joined(separator: " "), status: result, output: "")
        }
        return process
    }

    private static func execute(_ words: [String]) throws -> (Int32, String) {
        let path = "/tmp/calico-lab-\(UUID().uuidString)"
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_EXCL, 0o600)
        unlink(path)
        defer { close(file) }
        let process = try spawn(words, output: file)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        lseek(file, 0, SEEK_SET)
        let output = try FileHandle(fileDescriptor: file).readToEnd() ?? Data()
        return (status >> 8 & 0xff, String(decoding: output, as: UTF8.self))
    }
}
