// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// The program under test, running.
struct Daemon {
    /// What a start took.
    struct Start {
        /// Until both sockets accept connections.
        let accepting: Duration
        /// Until a request that needs the state is answered.
        let ready: Duration
    }

    static let network = "/run/docker/plugins/calico.sock"
    static let ipam = "/run/docker/plugins/calico-ipam.sock"

    let start: Start
    private let process: ChildProcess

    /// - Parameters:
    ///   - store: where it keeps its state.
    ///   - engine: whether it may ask the engine. One that does not know the networks of these benchmarks would have
    ///     them removed.
    init(_ program: String, store: StateStore, engine: Bool = false) throws {
        let began = ContinuousClock.now
        let log = store.path + ".log"
        process = try ChildProcess(
            [program, "serve"],
            variables: store.variables + (engine ? [] : ["DOCKER_HOST=unix:///run/no-engine.sock"]), output: log)
        var client: PluginClient?
        for path in [Daemon.network, Daemon.ipam] {
            client = try Daemon.connect(path, process, log)
        }
        let accepting = began.duration(to: .now)
        try client?.call(Call.requestPool.rawValue, EngineCalls.pool)
        start = Start(accepting: accepting, ready: began.duration(to: .now))
    }

    private static func connect(_ path: String, _ process: ChildProcess, _ log: String) throws -> PluginClient {
        let deadline = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < deadline, !process.hasEnded {
            if let client = try? PluginClient(socket: path) { return client }
            usleep(200)
        }
        throw BenchmarkError("the daemon does not listen on \(path); its log ends so: \(tail(of: log))")
    }

    /// Resident memory, in bytes.
    var resident: Int {
        get throws {
            let lines = try contents(of: "/proc/\(process.id)/status").split(separator: "\n")
            let words = lines.first { $0.hasPrefix("VmRSS:") }?.split(whereSeparator: { " \t".contains($0) }) ?? []
            guard words.count > 1, let kilobytes = Int(words[1]) else { throw BenchmarkError("the daemon has ended") }
            return kilobytes * 1024
        }
    }

    /// SIGTERM, then waits for the end.
    func stop() throws {
        kill(process.id, SIGTERM)
        let status = process.wait()
        guard status == 0 else { throw BenchmarkError("the daemon ended with status \(status)") }
    }
}
