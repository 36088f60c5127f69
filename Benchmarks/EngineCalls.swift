// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// The calls that can be measured, in the order of a container's life.
enum Call: String, CaseIterable {
    case getCapabilities = "NetworkDriver.GetCapabilities"
    case requestPool = "IpamDriver.RequestPool"
    case requestAddress = "IpamDriver.RequestAddress"
    case createEndpoint = "NetworkDriver.CreateEndpoint"
    case join = "NetworkDriver.Join"
    case leave = "NetworkDriver.Leave"
    case deleteEndpoint = "NetworkDriver.DeleteEndpoint"
    case releaseAddress = "IpamDriver.ReleaseAddress"

    /// Without the interface.
    var name: String { String(rawValue.split(separator: ".")[1]) }
}

/// What an engine asks of the plugin, with a connection to each socket. One thread each.
final class EngineCalls {
    typealias Record = (Call, Duration) -> Void

    /// The default pool, which a lab's host has no clash with.
    static let pool = #"{"AddressSpace":"CalicoLocal","Pool":"192.168.0.0/16","SubPool":"","Options":{},"V6":false}"#
    private static let networkID = "be" + String(repeating: "0", count: 62)

    private let network: PluginClient
    private let ipam: PluginClient
    private let poolID: String
    private let client: Int
    private var lives = 0

    /// - Parameter client: which one, so that all MACs and endpoints are different.
    init(client: Int) throws {
        self.client = client
        network = try PluginClient(socket: Daemon.network)
        ipam = try PluginClient(socket: Daemon.ipam)
        poolID = try ipam.call(Call.requestPool.rawValue, Self.pool).text("PoolID")
    }

    func createNetwork() throws {
        try network.call(
            "NetworkDriver.CreateNetwork",
            #"{"NetworkID":"\#(Self.networkID)","Options":{"com.docker.network.enable_ipv6":false,"#
                + #""com.docker.network.generic":{}},"IPv4Data":[{"AddressSpace":"CalicoLocal","#
                + #""Gateway":"0.0.0.0/0","Pool":"192.168.0.0/16"}],"IPv6Data":[]}"#)
    }

    /// What creating a network begins with.
    func prepare(_ record: Record) throws {
        try time(.getCapabilities, network, "", record)
        try time(.requestPool, ipam, Self.pool, record)
    }

    /// - Returns: the address, with its prefix length.
    func requestAddress(_ record: Record = { _, _ in }) throws -> String {
        lives += 1
        return try time(
            .requestAddress, ipam,
            #"{"PoolID":"\#(poolID)","Address":"","Options":{"com.docker.network.endpoint.macaddress":"\#(mac)"}}"#,
            record
        ).text("Address")
    }

    func release(_ address: String, _ record: Record = { _, _ in }) throws {
        let bare = address.prefix { $0 != "/" }
        try time(.releaseAddress, ipam, #"{"PoolID":"\#(poolID)","Address":"\#(bare)"}"#, record)
    }

    /// One container from its first call to its last.
    func live(_ record: Record) throws {
        let address = try requestAddress(record)
        let ids = #""NetworkID":"\#(Self.networkID)","EndpointID":"\#(endpointID)""#
        let options = #""Options":{"com.docker.network.endpoint.exposedports":[],"com.docker.network.portmap":[]}"#
        let interface = #""Interface":{"Address":"\#(address)","AddressIPv6":"","MacAddress":"\#(mac)"}"#
        try time(.createEndpoint, network, "{\(ids),\(interface),\(options)}", record)
        try time(.join, network, #"{\#(ids),"SandboxKey":"/var/run/docker/netns/\#(number)",\#(options)}"#, record)
        try time(.leave, network, "{\(ids)}", record)
        try time(.deleteEndpoint, network, "{\(ids)}", record)
        try release(address, record)
    }

    /// Eleven digits: as many of an endpoint's id as its interface's name holds.
    private var number: String {
        let digits = String(client << 28 | lives, radix: 16)
        return String(repeating: "0", count: 11 - digits.count) + digits
    }
    private var endpointID: String { number + String(repeating: "e", count: 53) }
    private var mac: String {
        let digits = Array("02" + number.suffix(10))
        return stride(from: 0, to: 12, by: 2).map { String(digits[$0..<$0 + 2]) }.joined(separator: ":")
    }

    @discardableResult
    private func time(_ call: Call, _ client: PluginClient, _ body: String, _ record: Record) throws
        -> PluginClient.Reply
    {
        let start = ContinuousClock.now
        let reply = try client.call(call.rawValue, body)
        record(call, start.duration(to: .now))
        return reply
    }
}
