// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Logging

// Messages of `IpamDriver.*` (moby `daemon/libnetwork/ipams/remote/api/api.go`).

struct IPAMCapabilities: Encodable {
    /// The engine then chooses the MAC before it asks for an address, and tells it: an allocation can be traced.
    var RequiresMACAddress = true
    /// State is durable here; the engine need not repeat requests when it starts.
    var RequiresRequestReplay = false
}

struct AddressSpaces: Encodable {
    // The same for both: engines from 27 on then skip a check that would loop forever on overlapping routes.
    var LocalDefaultAddressSpace = IPAMDriver.addressSpace
    var GlobalDefaultAddressSpace = IPAMDriver.addressSpace
}

struct RequestPoolRequest: Decodable, LoggedRequest {
    let pool: String
    let subPool: String
    let options: [String: String]
    let isV6: Bool

    init(from decoder: any Decoder) throws {
        let members = try WireMembers(decoder)
        pool = try members.text("Pool")
        subPool = try members.text("SubPool")
        options = try members.value("Options", default: [:])
        isV6 = try members.value("V6", default: false)
    }

    var logged: Logger.Metadata { ["pool": "\(pool.isEmpty ? (isV6 ? "any IPv6" : "any IPv4") : pool)"] }
}

struct RequestPoolReply: Encodable {
    let PoolID: String
    let Pool: String
    let Data: [String: String]
}

struct ReleasePoolRequest: Decodable, LoggedRequest {
    let poolID: String

    init(from decoder: any Decoder) throws { poolID = try WireMembers(decoder).text("PoolID") }

    var logged: Logger.Metadata { ["pool": "\(poolID)"] }
}

struct RequestAddressRequest: Decodable, LoggedRequest {
    let poolID: String
    let address: String
    let options: [String: String]

    init(from decoder: any Decoder) throws {
        let members = try WireMembers(decoder)
        poolID = try members.text("PoolID")
        address = try members.text("Address")
        options = try members.value("Options", default: [:])
    }

    var isForGateway: Bool { options["RequestAddressType"] == "com.docker.network.gateway" }
    var mac: MACAddress? { options["com.docker.network.endpoint.macaddress"].flatMap { MACAddress($0) } }
    /// A Swarm's manager takes addresses for its tasks, wherever these will run.
    var isForSwarmManager: Bool { mac == nil && options["com.docker.network.ipam.serial"] == "true" }
    /// Engines from 29.0 on tell the container's name.
    var container: String? { options["com.docker.network.endpoint.name"] }

    var logged: Logger.Metadata {
        var metadata: Logger.Metadata = ["pool": "\(poolID)"]
        if !address.isEmpty { metadata["address"] = "\(address)" }
        if let mac { metadata["mac"] = "\(mac)" }
        if let container { metadata["container"] = "\(container)" }
        return metadata
    }
}

struct RequestAddressReply: Encodable, LoggedReply, JSONWriter.Writable {
    /// CIDR; its prefix length becomes the interface's.
    let Address: String
    let Data: [String: String] = [:]

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.name("Address")
            writer.string(Address)
            writer.name("Data")
            writer.object { _ in }
        }
    }

    var logged: Logger.Metadata { ["address": "\(Address)"] }
}

struct ReleaseAddressRequest: Decodable, LoggedRequest {
    let poolID: String
    let address: String

    init(from decoder: any Decoder) throws {
        let members = try WireMembers(decoder)
        poolID = try members.text("PoolID")
        address = try members.text("Address")
    }

    var logged: Logger.Metadata { ["pool": "\(poolID)", "address": "\(address)"] }
}

/// The answer of every call that returns nothing.
struct EmptyReply: Codable, JSONWriter.Writable {
    func write(to writer: inout JSONWriter) { writer.object { _ in } }
}
