// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing
import CalicoModel
import FoundationEssentials
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// What the engine knows of its networks and containers. Nothing depends on it answering.
public protocol NetworkDirectory: Sendable {
    /// - Returns: `nil` where the engine says there is no such network.
    /// - Throws: where the engine gives no answer.
    func lookUp(_ id: String) async throws -> EngineNetwork?
    /// All networks, without their endpoints.
    /// - Throws: where the engine gives no answer.
    func networks() async throws -> [EngineNetwork]
    /// - Returns: `nil` where the engine says there is no such container.
    /// - Throws: where the engine gives no answer.
    func container(named name: String) async throws -> EngineContainer?
}

extension NetworkDirectory {
    /// The network, if the engine answers and knows it.
    func network(_ id: String) async -> EngineNetwork? { try? await lookUp(id) }
}

/// A network as `GET /networks/ID` tells it.
public struct EngineNetwork: Sendable {
    public var name: String
    public var isInternal: Bool
    /// Kept in the engines' cluster store, not in this engine alone.
    public var isGlobal: Bool
    /// Kept by a Swarm, and not one of the engines' own overlays.
    public var isOfSwarm = false
    public var options: [String: String]
    public var subnets: [String]
    /// Its `--aux-address` options. Engines do not tell those of a network without a `--subnet`.
    public var auxiliaryAddresses: Set<IPAddress> = []
    /// Ids of its endpoints, those of starting containers included.
    public var endpoints: Set<String>
    /// Its `--ipam-opt` options.
    public var ipamOptions: [String: String]
    /// Whose these are, by the endpoint's id.
    public var containers: [String: Container]

    /// A container as its network names it.
    public struct Container: Hashable, Sendable {
        public let name: String
        /// `nil` while it starts: the engine lists it under its endpoint then.
        public let id: String?

        public init(name: String, id: String? = nil) {
            self.name = name
            self.id = id
        }
    }

    public init(
        name: String, isInternal: Bool = false, isGlobal: Bool = false, options: [String: String] = [:],
        subnets: [String] = [], endpoints: Set<String> = [], containers: [String: Container] = [:],
        ipamOptions: [String: String] = [:]
    ) {
        self.name = name
        self.isInternal = isInternal
        self.isGlobal = isGlobal
        self.options = options
        self.subnets = subnets
        self.endpoints = endpoints.union(containers.keys)
        self.containers = containers
        self.ipamOptions = ipamOptions
    }
}

/// The engine's HTTP API, as far as we may call it: only what takes no container lock, for an engine waits for our
/// answer while it holds that (docker/engine `daemon/network.go`, all versions from 20.10 to 29).
public struct EngineAPI: NetworkDirectory {
    /// Where the engine listens.
    public enum Address: Sendable, Hashable, CustomStringConvertible {
        case unix(path: String)
        case tcp(host: String, port: Int)

        /// Understands `unix:///path` and `tcp://host:port`, as DOCKER_HOST has them.
        public init?(_ text: String) {
            if text.hasPrefix("unix://") {
                self = .unix(path: String(text.dropFirst(7)))
            } else if text.hasPrefix("tcp://") {
                let parts = text.dropFirst(6).split(separator: ":")
                guard parts.count == 2, let port = Int(parts[1]) else { return nil }
                self = .tcp(host: String(parts[0]), port: port)
            } else {
                return nil
            }
        }

        public var description: String {
            switch self {
            case .unix(let path): "unix://\(path)"
            case .tcp(let host, let port): "tcp://\(host):\(port)"
            }
        }
    }

    private let address: Address
    private let limit: Duration
    /// Network inspection of a host with thousands of containers stays well below.
    private static let maximumReply = 16 << 20

    /// - Parameter limit: how long an answer may take.
    public init(_ address: Address, limit: Duration = .seconds(2)) {
        self.address = address
        self.limit = limit
    }

    public func lookUp(_ id: String) async throws -> EngineNetwork? {
        guard id.utf8.allSatisfy(\.isIDByte) else { return nil }
        let (status, body) = try await get("/networks/\(id)")
        switch status {
        case 200: return try JSONDecoder().decode(Inspection.self, from: body).network
        case 404: return nil
        default: throw PluginError("the engine answered \(status) to GET /networks/\(id.abbreviated)")
        }
    }

    public func networks() async throws -> [EngineNetwork] {
        let (status, body) = try await get("/networks")
        guard status == 200 else { throw PluginError("the engine answered \(status) to GET /networks") }
        return try JSONDecoder().decode([Inspection].self, from: body).map(\.network)
    }

    /// - Throws: where no whole answer comes in time.
    func get(_ path: String) async throws -> (status: Int, body: Data) {
        try await withDeadline(limit) { try await exchange(path) }
    }

    private func exchange(_ path: String) async throws -> (status: Int, body: Data) {
        let reply = MultiThreadedEventLoopGroup.singleton.next().makePromise(of: (status: Int, body: Data).self)
        let bootstrap = ClientBootstrap(group: reply.futureResult.eventLoop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                try channel.pipeline.syncOperations.addHandler(
                    ReplyCollector(reply: reply, limit: Self.maximumReply))
            }
        }
        do {
            let channel = try await connect(bootstrap)
            var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
            head.headers = ["Host": "docker", "Connection": "close"]
            // In one flush: an engine may answer, and close, as soon as it has the head.
            channel.write(HTTPClientRequestPart.head(head), promise: nil)
            try await channel.writeAndFlush(HTTPClientRequestPart.end(nil))
            return try await withTaskCancellationHandler {
                try await reply.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            reply.fail(error)
            throw error
        }
    }

    private func connect(_ bootstrap: ClientBootstrap) async throws -> any Channel {
        do {
            switch address {
            case .unix(let path): return try await bootstrap.connect(unixDomainSocketPath: path).get()
            case .tcp(let host, let port): return try await bootstrap.connect(host: host, port: port).get()
            }
        } catch {
            throw PluginError("no engine answers at \(address): \(Self.reason(error))")
        }
    }

    /// NIO's own texts are for programmers.
    private static func reason(_ error: any Error) -> String {
        if let error = error as? IOError { return String(cString: strerror(error.errnoCode)) }
        guard let error = error as? NIOConnectionError else { return "\(error)" }
        return error.connectionErrors.first.map { reason($0.error) } ?? "there is no host \(error.host)"
    }
}

/// Gathers one reply.
private final class ReplyCollector: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let reply: EventLoopPromise<(status: Int, body: Data)>
    private let limit: Int
    private var status = 0
    private var body = Data()

    init(reply: EventLoopPromise<(status: Int, body: Data)>, limit: Int) {
        self.reply = reply
        self.limit = limit
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): status = Int(head.status.code)
        case .body(let part):
            body.append(contentsOf: part.readableBytesView)
            if body.count > limit {
                reply.fail(PluginError("the engine's answer exceeds \(limit >> 20) MiB"))
                context.close(promise: nil)
            }
        case .end:
            reply.succeed((status, body))
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        reply.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        reply.fail(PluginError("the engine closed the connection without an answer"))
    }
}

/// The part of the engine's answer that we read.
private struct Inspection: Decodable {
    struct Addresses: Decodable {
        struct Config: Decodable {
            let Subnet: String?
            let AuxiliaryAddresses: [String: String]?
        }
        let Config: [Config]?
        let Options: [String: String]?
    }
    struct Container: Decodable {
        let Name: String?
        let EndpointID: String?
    }

    let Name: String
    let Driver: String?
    let Internal: Bool?
    let Scope: String?
    let Options: [String: String]?
    let IPAM: Addresses?
    let Containers: [String: Container]?

    var network: EngineNetwork {
        var network = EngineNetwork(
            name: Name, isInternal: Internal ?? false, isGlobal: Scope == "global", options: Options ?? [:],
            subnets: IPAM?.Config?.compactMap(\.Subnet) ?? [], ipamOptions: IPAM?.Options ?? [:])
        network.isOfSwarm = Scope == "swarm" && Driver != "overlay"
        network.auxiliaryAddresses = Set(
            (IPAM?.Config ?? []).flatMap { $0.AuxiliaryAddresses ?? [:] }.compactMap { IPAddress($0.value) })
        for (key, container) in Containers ?? [:] {
            // A starting container's endpoint stands under `ep-` and its id.
            let isStarting = key.hasPrefix("ep-")
            guard let endpoint = isStarting ? String(key.dropFirst(3)) : container.EndpointID else { continue }
            network.endpoints.insert(endpoint)
            guard let name = container.Name, !name.isEmpty else { continue }
            network.containers[endpoint] = .init(name: name, id: isStarting ? nil : key)
        }
        return network
    }
}
