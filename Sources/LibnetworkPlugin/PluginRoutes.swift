// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import FoundationEssentials
import Logging

/// A request that can say what it is about.
protocol LoggedRequest {
    var logged: Logger.Metadata { get }
}

/// A reply that adds to what is said of its request.
protocol LoggedReply {
    var logged: Logger.Metadata { get }
}

/// The table of messages: the index of the plugin.
public struct PluginRoutes: Sendable {
    /// What one call did.
    struct Answer: Sendable {
        let body: Data
        let facts: Logger.Metadata
    }

    /// A request that failed, with what is known of it.
    struct Failure: Error {
        let cause: any Error
        let facts: Logger.Metadata
    }

    /// One method's work, from body to body.
    struct Handler: Sendable {
        /// False for the few that must answer even while the datastore is away.
        let needsState: Bool
        let run: @Sendable (Data) async throws -> Answer
    }

    let handlers: [String: Handler]

    public static func networkDriver(_ driver: NetworkDriver) -> PluginRoutes {
        PluginRoutes(handlers: [
            "/Plugin.Activate": .constant(["Implements": ["NetworkDriver"]]),
            "/NetworkDriver.GetCapabilities": .constant(driver.capabilities()),
            "/NetworkDriver.GwAllocCheck": .constant(GatewayCheckReply()),
            "/NetworkDriver.AllocateNetwork": .call { (request: AllocateNetworkRequest) in
                AllocateNetworkReply(Options: request.options)
            },
            "/NetworkDriver.FreeNetwork": .call { (_: NetworkRequest) in EmptyReply() },
            "/NetworkDriver.CreateNetwork": .call { (request: CreateNetworkRequest) in
                let reply = try await driver.createNetwork(request)
                driver.background.run(request.networkID) { await driver.learnName(of: request.networkID) }
                return reply
            },
            "/NetworkDriver.DeleteNetwork": .call(driver.deleteNetwork),
            "/NetworkDriver.CreateEndpoint": .call(driver.createEndpoint),
            "/NetworkDriver.DeleteEndpoint": .call(driver.deleteEndpoint),
            "/NetworkDriver.EndpointOperInfo": .call { (_: EndpointRequest) in EndpointInfoReply() },
            "/NetworkDriver.Join": .call(driver.join),
            "/NetworkDriver.Leave": .call(driver.leave),
            "/NetworkDriver.ProgramExternalConnectivity": .call(driver.programExternalConnectivity),
            "/NetworkDriver.RevokeExternalConnectivity": .call(driver.revokeExternalConnectivity),
            "/NetworkDriver.DiscoverNew": .constant(EmptyReply()),
            "/NetworkDriver.DiscoverDelete": .constant(EmptyReply()),
        ])
    }

    /// These messages and another driver's on one socket, as a managed plugin has to have them. What `Plugin.Activate`
    /// answers stays: engines that ask take the socket for this driver alone, and those of a managed plugin do not ask.
    public func serving(_ other: PluginRoutes) -> PluginRoutes {
        PluginRoutes(handlers: handlers.merging(other.handlers) { own, _ in own })
    }

    public static func ipamDriver(_ driver: IPAMDriver) -> PluginRoutes {
        PluginRoutes(handlers: [
            "/Plugin.Activate": .constant(["Implements": ["IpamDriver"]]),
            "/IpamDriver.GetCapabilities": .constant(IPAMCapabilities()),
            "/IpamDriver.GetDefaultAddressSpaces": .constant(AddressSpaces()),
            "/IpamDriver.RequestPool": .call(driver.requestPool),
            "/IpamDriver.ReleasePool": .call { (_: ReleasePoolRequest) in EmptyReply() },
            "/IpamDriver.RequestAddress": .call(driver.requestAddress),
            "/IpamDriver.ReleaseAddress": .call(driver.releaseAddress),
        ])
    }
}

extension PluginRoutes.Handler {
    /// The same answer whatever is asked, and whatever the datastore does.
    static func constant(_ reply: some Encodable & Sendable) -> Self {
        let body = encode(reply)
        return Self(needsState: false) { _ in .init(body: body, facts: [:]) }
    }

    static func call<Request: Decodable & LoggedRequest & SendableMetatype, Reply: Encodable & SendableMetatype>(
        _ work: @escaping @Sendable (Request) async throws -> Reply
    ) -> Self {
        Self(needsState: true) { body in
            let request: Request = try decode(body)
            do {
                let reply = try await work(request)
                let more = (reply as? any LoggedReply)?.logged ?? [:]
                return .init(body: encode(reply), facts: request.logged.merging(more) { _, new in new })
            } catch {
                throw PluginRoutes.Failure(cause: error, facts: request.logged)
            }
        }
    }

    /// An empty body is no request: engines repeat one whose connection broke without its body, and its ids must not be
    /// taken for "".
    private static func decode<Request: Decodable>(_ body: Data) throws -> Request {
        guard body.contains(where: { !$0.isJSONSpace }) else {
            throw PluginError(
                "the request came without its arguments; the engine repeats a broken request so. Run the command again")
        }
        do { return try JSONDecoder().decode(Request.self, from: body) } catch {
            throw PluginError("the request cannot be understood: \(WireProblem(error).text)")
        }
    }

    private static func encode(_ reply: some Encodable) -> Data { StoreJSON.encode(reply) }
}

/// A decoding error in one line.
private struct WireProblem {
    let text: String

    init(_ error: any Error) {
        switch error {
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
            DecodingError.keyNotFound(_, let context), DecodingError.dataCorrupted(let context):
            let path = context.codingPath.map(\.stringValue).joined(separator: ".")
            text = (path.isEmpty ? "" : "\(path): ") + context.debugDescription
        default: text = "\(error)"
        }
    }
}

extension UInt8 {
    fileprivate var isJSONSpace: Bool { self == 0x20 || (0x09...0x0d).contains(self) }
}
