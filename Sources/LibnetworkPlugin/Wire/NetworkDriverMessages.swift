// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Logging

// Messages of `NetworkDriver.*` (moby `daemon/libnetwork/drivers/remote/api/api.go`).

struct NetworkCapabilities: Encodable {
    let Scope: String
    /// Swarm then gossips names of node-local networks to all nodes.
    var ConnectivityScope = "global"
    /// Engines from 28 on then ask whether a gateway address is needed at all.
    var GwAllocChecker = true
}

struct GatewayCheckReply: Encodable {
    var SkipIPv4 = true
    var SkipIPv6 = true
}

/// One subnet of a network, as its IPAM driver gave it.
struct IPAMData: Decodable {
    let addressSpace: String
    let pool: String
    let gateway: String

    init(from decoder: any Decoder) throws {
        let members = try WireMembers(decoder)
        addressSpace = try members.text("AddressSpace")
        pool = try members.text("Pool")
        gateway = try members.text("Gateway")
    }
}

struct CreateNetworkRequest: Decodable, LoggedRequest {
    let networkID: String
    let options: [String: JSONValue]
    let ipv4: [IPAMData]
    let ipv6: [IPAMData]

    init(from decoder: any Decoder) throws {
        let members = try WireMembers(decoder)
        networkID = try members.text("NetworkID")
        options = try members.value("Options", default: [:])
        ipv4 = try members.value("IPv4Data", default: [])
        ipv6 = try members.value("IPv6Data", default: [])
    }

    /// The `-o` options; values that are not text are written as JSON would.
    var generic: [String: JSONValue] { options["com.docker.network.generic"]?.object ?? [:] }
    var isInternal: Bool { options["com.docker.network.internal"]?.bool ?? false }

    var logged: Logger.Metadata {
        ["network": "\(networkID.abbreviated)", "subnets": "\((ipv4 + ipv6).map(\.pool).joined(separator: ","))"]
    }
}

struct AllocateNetworkRequest: Decodable, LoggedRequest {
    let networkID: String
    let options: [String: JSONValue]

    init(from decoder: any Decoder) throws {
        let members = try WireMembers(decoder)
        networkID = try members.text("NetworkID")
        options = try members.value("Options", default: [:])
    }

    var logged: Logger.Metadata { ["network": "\(networkID.abbreviated)"] }
}

struct AllocateNetworkReply: Encodable {
    let Options: [String: JSONValue]
}

struct NetworkRequest: Decodable, LoggedRequest {
    let networkID: String

    init(from decoder: any Decoder) throws { networkID = try WireMembers(decoder).text("NetworkID") }

    var logged: Logger.Metadata { ["network": "\(networkID.abbreviated)"] }
}

struct EndpointRequest: Decodable, LoggedRequest {
    let networkID: String
    let endpointID: String
    /// A path whose last part names the container's sandbox; only Join has it. The path itself may not exist yet.
    let sandboxKey: String
    let options: [String: JSONValue]

    init(from decoder: any Decoder) throws {
        let members = try WireMembers(decoder)
        networkID = try members.text("NetworkID")
        endpointID = try members.text("EndpointID")
        sandboxKey = try members.text("SandboxKey")
        options = try members.value("Options", default: [:])
    }

    /// The sandbox's id, where it is one.
    var sandbox: String? {
        let id = sandboxKey.split(separator: "/").last.map(String.init) ?? ""
        return (1...64).contains(id.utf8.count) && id.utf8.allSatisfy(\.isIDByte) ? id : nil
    }

    var logged: Logger.Metadata {
        ["network": "\(networkID.abbreviated)", "endpoint": "\(endpointID.abbreviated)"]
    }
}

struct CreateEndpointRequest: Decodable, LoggedRequest {
    struct Interface: Decodable {
        let address: String
        let addressIPv6: String
        let macAddress: String

        init(from decoder: any Decoder) throws {
            let members = try WireMembers(decoder)
            address = try members.text("Address")
            addressIPv6 = try members.text("AddressIPv6")
            macAddress = try members.text("MacAddress")
        }
    }

    let networkID: String
    let endpointID: String
    let interface: Interface?
    let options: [String: JSONValue]

    init(from decoder: any Decoder) throws {
        let members = try WireMembers(decoder)
        networkID = try members.text("NetworkID")
        endpointID = try members.text("EndpointID")
        interface = try members.value("Interface", default: nil)
        options = try members.value("Options", default: [:])
    }

    /// The addresses as given, IPv4 first.
    var addresses: [String] { [interface?.address, interface?.addressIPv6].compactMap(\.self).filter { !$0.isEmpty } }

    var logged: Logger.Metadata {
        [
            "network": "\(networkID.abbreviated)", "endpoint": "\(endpointID.abbreviated)",
            "address": "\(addresses.joined(separator: ","))",
        ]
    }
}

struct CreateEndpointReply: Encodable {
    /// Only what the engine left open may be set; it refuses even an equal value for the rest.
    struct Interface: Encodable {
        var MacAddress: String?
    }

    let Interface: Interface
}

struct EndpointInfoReply: Encodable {
    let Value: [String: String] = [:]
}

struct JoinReply: Encodable {
    struct InterfaceName: Encodable {
        let SrcName: String
        let DstPrefix: String
    }

    struct StaticRoute: Encodable {
        enum Kind: Int, Encodable {
            /// On the interface itself.
            case connected = 1
        }

        /// Never empty: engine 28 crashes its handler on an empty one.
        let Destination: String
        let RouteType: Kind
        let NextHop: String
    }

    let InterfaceName: InterfaceName
    var Gateway: String?
    var GatewayIPv6: String?
    var StaticRoutes: [StaticRoute] = []
    /// Keeps engines from adding a second way out through `docker_gwbridge`.
    let DisableGatewayService = true
}

extension String {
    /// An id as Docker's users know it: the first 12 characters.
    var abbreviated: String { String(prefix(12)) }
}
