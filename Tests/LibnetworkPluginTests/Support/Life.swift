// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import LibnetworkPlugin
import Testing

/// Ids as Docker makes them.
func dockerID(_ number: Int) -> String {
    let digits = String(number, radix: 16)
    // The first 11 digits name the interface: they must differ.
    return String(repeating: "0", count: 10 - digits.count) + digits + String(repeating: "d", count: 54)
}

func macAddress(_ number: Int) -> String {
    let hex = { (byte: Int) in (byte < 16 ? "0" : "") + String(byte, radix: 16) }
    return "02:42:00:00:\(hex(number >> 8 & 0xff)):\(hex(number & 0xff))"
}

/// One container's endpoint on one network: the calls an engine makes for it, each as its own step.
struct Life: Sendable {
    let network: String
    let endpoint: String
    let mac: String
    var pools = ["CalicoPoolIPv4"]
    var options = "{}"
    /// The container's; endpoints of one container share it.
    var sandbox: String
    /// Engines from 29 on name it when they ask for an address.
    var container: String?

    init(_ number: Int, network: String = dockerID(0xabc), mac: String? = nil, pools: [String] = ["CalicoPoolIPv4"]) {
        self.network = network
        endpoint = dockerID(number)
        sandbox = String(endpoint.prefix(12))
        self.mac = mac ?? macAddress(number)
        self.pools = pools
    }

    private var ids: String { #""NetworkID":"\#(network)","EndpointID":"\#(endpoint)""# }

    func requestAddress(_ pool: String, _ plugin: Plugin, address: String = "") async throws -> Reply {
        let name = container.map { #","com.docker.network.endpoint.name":"\#($0)""# } ?? ""
        return try await plugin.call(
            "IpamDriver.RequestAddress",
            #"{"PoolID":"\#(pool)","Address":"\#(address)","Options":{"com.docker.network.endpoint.macaddress":"\#(mac)"\#(name)}}"#
        )
    }

    /// All addresses, IPv4 first.
    func requestAddresses(_ plugin: Plugin) async throws -> [String] {
        var addresses: [String] = []
        for pool in pools {
            let reply = try await requestAddress(pool, plugin)
            addresses.append(try #require(reply.address, "\(reply)"))
        }
        return addresses
    }

    func createEndpoint(_ addresses: [String], _ plugin: Plugin) async throws -> Reply {
        let v4 = addresses.first { !$0.contains(":") }.map { $0 + "/32" } ?? ""
        let v6 = addresses.first { $0.contains(":") }.map { $0 + "/128" } ?? ""
        return try await plugin.call(
            "NetworkDriver.CreateEndpoint",
            #"{\#(ids),"Interface":{"Address":"\#(v4)","AddressIPv6":"\#(v6)","MacAddress":"\#(mac)"},"Options":\#(options)}"#
        )
    }

    func join(_ plugin: Plugin) async throws -> Reply {
        try await plugin.call(
            "NetworkDriver.Join", #"{\#(ids),"SandboxKey":"/var/run/docker/netns/\#(sandbox)","Options":{}}"#)
    }

    /// - Parameter leavesIPv6: what engines from 29 on say where another endpoint is the container's IPv6 gateway.
    func program(_ plugin: Plugin, ports: String = "[]", leavesIPv6: Bool = false) async throws -> Reply {
        let flag = leavesIPv6 ? #","com.docker.network.driver.private.no_proxy_6to4":true"# : ""
        return try await plugin.call(
            "NetworkDriver.ProgramExternalConnectivity",
            #"{\#(ids),"Options":{"com.docker.network.portmap":\#(ports)\#(flag)}}"#)
    }

    func revoke(_ plugin: Plugin) async throws -> Reply {
        try await plugin.call("NetworkDriver.RevokeExternalConnectivity", "{\(ids)}")
    }

    func leave(_ plugin: Plugin) async throws -> Reply { try await plugin.call("NetworkDriver.Leave", "{\(ids)}") }

    func deleteEndpoint(_ plugin: Plugin) async throws -> Reply {
        try await plugin.call("NetworkDriver.DeleteEndpoint", "{\(ids)}")
    }

    func release(_ addresses: [String], _ plugin: Plugin) async throws {
        for (pool, address) in zip(pools, addresses) {
            let reply = try await plugin.call(
                "IpamDriver.ReleaseAddress", #"{"PoolID":"\#(pool)","Address":"\#(address)"}"#)
            #expect(reply.status == 200, "\(reply)")
        }
    }

    /// Up to a running container; its addresses.
    @discardableResult
    func start(_ plugin: Plugin) async throws -> [String] {
        let addresses = try await requestAddresses(plugin)
        for reply in [try await createEndpoint(addresses, plugin), try await join(plugin)] {
            try #require(reply.status == 200, "\(reply)")
        }
        return addresses
    }

    func stop(_ addresses: [String], _ plugin: Plugin) async throws {
        try await end(plugin)
        try await release(addresses, plugin)
    }

    /// The addresses stay.
    func end(_ plugin: Plugin) async throws {
        for reply in [try await revoke(plugin), try await leave(plugin), try await deleteEndpoint(plugin)] {
            #expect(reply.status == 200, "\(reply)")
        }
    }
}

extension Plugin {
    /// Makes a network as an engine does; its pool ids.
    @discardableResult
    func createNetwork(
        _ id: String = dockerID(0xabc), subnet: String = "", v6: Bool = false, isInternal: Bool = false,
        generic: String = "{}", name: String? = nil
    ) async throws -> [String] {
        if let name { engine.learn(id, .init(name: name)) }
        var pools: [String] = []
        var data: [String: [String]] = ["IPv4Data": [], "IPv6Data": []]
        for isV6 in v6 ? [false, true] : [false] {
            let reply = try await call(
                "IpamDriver.RequestPool",
                #"{"AddressSpace":"CalicoAddressSpace","Pool":"\#(isV6 ? "" : subnet)","SubPool":"","Options":{},"V6":\#(isV6)}"#
            )
            pools.append(try #require(reply["PoolID"]?.string, "\(reply)"))
            let pool = try #require(reply["Pool"]?.string)
            data[isV6 ? "IPv6Data" : "IPv4Data"]?.append(
                #"{"AddressSpace":"CalicoAddressSpace","Gateway":"0.0.0.0/0","Pool":"\#(pool)"}"#)
        }
        let lists = data.map { #""\#($0.key)":[\#($0.value.joined(separator: ","))]"# }.joined(separator: ",")
        let reply = try await call(
            "NetworkDriver.CreateNetwork",
            #"{"NetworkID":"\#(id)","Options":{"com.docker.network.enable_ipv6":\#(v6),"com.docker.network.generic":\#(generic)"#
                + (isInternal ? #","com.docker.network.internal":true"# : "") + "},\(lists)}")
        try #require(reply.status == 200, "\(reply)")
        return pools
    }

    @discardableResult
    func deleteNetwork(_ id: String = dockerID(0xabc)) async throws -> Reply {
        engine.learn(id, nil)
        return try await call("NetworkDriver.DeleteNetwork", #"{"NetworkID":"\#(id)"}"#)
    }
}
