// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
import Foundation
import IPAM
import Logging
import TestSupport
import Testing

@testable import LibnetworkPlugin

/// The whole plugin in this process: both drivers behind their front, a real store, real IPAM, and a kernel and an
/// engine that only keep what they are told.
final class Plugin: Sendable {
    static let node = "host-1"

    let store: any KeyValueStore
    let replica: Replica<ClusterState>
    let dataplane: RecordingDataplane
    let engine: RecordedEngine
    let allocator: AddressAllocator
    let network: NetworkDriver
    let ipam: IPAMDriver
    let gate = Gate()
    private let networkResponder: PluginResponder
    private let ipamResponder: PluginResponder

    /// On `store`, which an earlier plugin may have filled: what a restarted process finds.
    init(
        on store: any KeyValueStore, node: String = Plugin.node, dataplane: RecordingDataplane = RecordingDataplane(),
        engine: RecordedEngine = RecordedEngine(), settings: NetworkDriver.Settings = .init(),
        limit: Duration = .seconds(60), logger: Logger = .silent
    ) async throws {
        self.store = store
        self.dataplane = dataplane
        self.engine = engine
        replica = Replica(of: store, under: ClusterState.ranges, logger: logger)
        try await replica.load()
        allocator = AddressAllocator(replica: replica, node: node, logger: logger)
        network = NetworkDriver(
            replica: replica, dataplane: dataplane, engine: engine, node: node, settings: settings, logger: logger)
        ipam = IPAMDriver(allocator: allocator, network: network, logger: logger)
        let executor = EventLoopTaskExecutor()
        let responder = { [gate] in
            PluginResponder(routes: $0, gate: gate, limit: limit, on: executor, logger: logger)
        }
        networkResponder = responder(.networkDriver(network).serving(.ipamDriver(ipam)))
        ipamResponder = responder(.ipamDriver(ipam))
        await network.restorePorts()
        await gate.open()
    }

    /// A fresh store in memory with the pools p4, 192.168.0.0/16, and p6, fd00:1::/64, or those given.
    static func fresh(
        pools: [String: String] = ["p4": "192.168.0.0/16", "p6": "fd00:1::/64"],
        engine: RecordedEngine = RecordedEngine(), settings: NetworkDriver.Settings = .init(),
        limit: Duration = .seconds(60), logger: Logger = .silent
    ) async throws -> Plugin {
        let store = FaultyStore(on: try SQLiteStore(path: ":memory:"))
        for (name, cidr) in pools { try await store.put(pool: name, cidr) }
        return try await Plugin(on: store, engine: engine, settings: settings, limit: limit, logger: logger)
    }

    /// What a process finds that starts after this one was killed: the store and the kernel, nothing else.
    func restarted() async throws -> Plugin {
        try await Plugin(on: store, dataplane: dataplane, engine: engine)
    }

    /// The plugin of another host with the same datastore, as it finds that now.
    func neighbour(_ node: String) async throws -> Plugin { try await Plugin(on: store, node: node) }

    var faults: FaultyStore {
        guard let store = store as? FaultyStore else { preconditionFailure("this plugin's store has no faults") }
        return store
    }

    // MARK: Calls

    @discardableResult
    func call(_ method: String, _ body: String = "", on socket: Socket? = nil) async throws -> Reply {
        try await send(method, body, on: socket ?? .of(method))
    }

    func send(_ path: String, _ body: String, _ verb: String = "POST", on socket: Socket) async throws -> Reply {
        let responder = socket == .network ? networkResponder : ipamResponder
        return Reply(await responder.respond(to: PluginRequest(verb: verb, path: "/" + path, body: Data(body.utf8))))
    }
}

/// Which of the two sockets a request goes to.
enum Socket: Sendable {
    case network, ipam

    static func of(_ method: String) -> Socket { method.hasPrefix("IpamDriver") ? .ipam : .network }
}

/// What the plugin answered.
struct Reply: Sendable, CustomStringConvertible {
    let status: Int
    let text: String

    init(status: Int, text: String) { (self.status, self.text) = (status, text) }
    init(_ reply: PluginReply) { self.init(status: reply.status, text: String(decoding: reply.body, as: UTF8.self)) }

    var json: JSONValue { (try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))) ?? .null }
    var description: String { "\(status) \(text)" }
    subscript(name: String) -> JSONValue? { json[name] }
    /// The refusal as the engine shows it.
    var refusal: String? { status == 200 ? nil : json["Err"]?.string }
    /// The address of an answer to RequestAddress.
    var address: String? { json["Address"]?.string?.split(separator: "/").first.map(String.init) }
}

extension Logger {
    static var silent: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }
}

extension UnixSocket {
    func readReply() throws -> Reply {
        let reply = try readHTTPReply()
        return Reply(status: reply.status, text: reply.text)
    }
}
