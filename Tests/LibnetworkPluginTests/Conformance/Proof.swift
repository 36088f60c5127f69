// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation

/// A test that proves a line of the checklist beside its ``ConformanceCase``, or in its place: with real sockets, a real
/// kernel, real engines, a real etcd.
struct Proof: Hashable, CustomStringConvertible {
    let target: String
    let suite: String
    let title: String

    init(_ target: String, _ suite: String, _ title: String) {
        self.target = target
        self.suite = suite
        self.title = title
    }

    var description: String { "\(target): \(suite): \(title)" }
}

extension Proof {
    /// By the checklist's numbers. Lines that are not here have a case, and that says it all.
    static let elsewhere: [Int: [Proof]] = [
        3: [socket("3: one connection serves request after request, an empty Host included")],
        4: [socket("4: two connections with 25 requests each get their own answers")],
        5: [socket("5: a connection that was idle for a minute still serves")],
        14: [socket("14: a chunked body is read whole")],
        15: [
            socket("15: a connection stays usable after a request that took too long"),
            system("OnEtcd", "with etcd away a request fails in time and says why; with etcd back it works"),
        ],
        16: [system("OnEtcd", "containers talk while etcd is away, also after the plugin has restarted")],
        37: [system("Addresses", "--ip gives a free address")],
        38: [
            system("Addresses", "--ip refuses an address that is taken, and says who holds it"),
            system("ManyHosts", "--ip that is taken on one is refused on the other, which says who holds it"),
        ],
        42: [system("Predecessor", "network create refuses what it refused")],
        44: [plugin("What engines really sent", "each command succeeds and leaves just what runs")],
        47: [
            system("Addresses", "ten containers started at once get ten addresses that answer"),
            system("OnEtcd", "32 clients share transactions"),
        ],
        48: [system("Addresses", "an address is free again after its container is gone")],
        53: [plugin("What nobody asks us to give back", "another node's addresses and other orchestrators' stay")],
        56: [plugin("What engines really sent", "each command succeeds and leaves just what runs")],
        71: [
            system("GlobalScope", "a network made on one host has containers on both, each with its options"),
            plugin(
                "A network of global scope",
                "its options hold on a host that never heard of it, though the engine there keeps silent"),
        ],
        75: [
            plugin("A step that fails", "a first endpoint that could not be written leaves neither profile nor record")
        ],
        77: [
            system("Predecessor", "docker, the store, the host and the container tell the same of a container"),
            kernel("connects containers of one network, keeps out others, and drops spoofed sources"),
        ],
        79: [system("Predecessor", "the same holds with IPv6")],
        82: [
            plugin("A step that fails", "a Join that the kernel refuses leaves no trace of itself"),
            kernel("a refused link leaves nothing behind"),
        ],
        83: [system("Connectivity", "an internal network connects its members and nobody else")],
        84: [system("Connectivity", "a container on two networks reaches the members of both, and they reach it")],
        85: [kernel("leaves nothing of an endpoint behind")],
        88: [
            system(
                "Connectivity",
                "a published port is open from outside and on the host, also after a restart of the plugin"),
            kernel(
                "is open to everybody, over TCP and UDP and in both families, and only by way of the host",
                in: "A published port"),
        ],
        89: [plugin("Published ports", "a port is free again after each way to end")],
        92: [
            plugin("A container's life", "a plugin that is killed between any two steps goes on"),
            system("PluginProcess", "a container's life goes on where it is killed between two calls"),
            system("PluginProcess", "a kill loses no packet of running containers, and a new process takes over"),
        ],
        93: [
            plugin("A container's life", "a plugin that is killed between any two steps goes on"),
            system("PluginProcess", "a container's life goes on where it is killed between two calls"),
            system("PluginProcess", "containers that stop while it is down are forgotten after it is back"),
        ],
        95: [plugin("A container's life", "after an engine's crash only addresses are released, and nothing stays")],
        96: [system("Engine", "after a killed engine its containers come back and their old endpoints go")],
        97: [plugin("The engine's API", "an engine that keeps silent is not waited for")],
        98: [
            socket("98: a stale socket file is replaced, and the socket is removed at the end"),
            system("PluginProcess", "SIGTERM ends it with status 0 and takes the sockets along"),
            system("OnEtcd", "SIGTERM waits for the answers to requests under way, also to those before it is ready"),
        ],
    ]

    private static func socket(_ title: String) -> Proof { plugin("A plugin socket", title) }
    private static func plugin(_ suite: String, _ title: String) -> Proof {
        Proof("LibnetworkPluginTests", suite, title)
    }
    private static func system(_ suite: String, _ title: String) -> Proof { Proof("SystemTests", suite, title) }
    private static func kernel(_ title: String, in suite: String = "The Linux dataplane") -> Proof {
        Proof("DataplaneTests", suite, title)
    }
}

/// The sources of the tests, where a proof has to be.
struct TestSources {
    private struct File {
        let target: String
        let text: String
    }

    private let files: [File]

    init() throws {
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let names = try FileManager.default.subpathsOfDirectory(atPath: tests.path(percentEncoded: false))
        files = try names.filter { $0.hasSuffix(".swift") }.map { name in
            File(
                target: String(name.prefix { $0 != "/" }),
                text: try String(contentsOf: tests.appending(path: name), encoding: .utf8))
        }
    }

    func contains(_ proof: Proof) -> Bool {
        files.contains { file in
            guard file.target == proof.target,
                let suite = file.text.firstRange(of: "struct `\(proof.suite)` {")
                    ?? file.text.firstRange(of: "struct \(proof.suite) {"),
                let test = file.text[suite.upperBound...].firstRange(of: "func `\(proof.title)`("),
                let attribute = file.text[..<test.lowerBound].range(of: "@Test", options: .backwards)
            else { return false }
            return !file.text[attribute.lowerBound..<test.lowerBound].contains(".disabled")
        }
    }

    /// Titles such as `3, 5: …` of this target, with their numbers.
    var numberedTitles: [(numbers: [Int], title: String)] {
        files.filter { $0.target == "LibnetworkPluginTests" }.flatMap { file in
            file.text.matches(of: /func `(([0-9]+(?:, [0-9]+)*): [^`]+)`/).map { match in
                (match.2.split(separator: ", ").compactMap { Int($0) }, String(match.1))
            }
        }
    }
}
