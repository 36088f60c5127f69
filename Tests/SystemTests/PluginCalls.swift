// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import TestSupport
import Testing

/// An answer of the plugin to a call that Docker could have made.
struct PluginReply: Sendable, CustomStringConvertible {
    let status: Int
    let text: String

    /// Of an answer to RequestAddress.
    var address: String? {
        guard let start = text.range(of: #""Address":""#), let end = text[start.upperBound...].firstIndex(of: "/")
        else { return nil }
        return String(text[start.upperBound..<end])
    }
    var description: String { "\(status) \(text)" }
}

/// Calls to the plugin of a lab's host without an engine between.
struct PluginCalls: Sendable {
    let lab: Lab

    /// A MAC for each number.
    static func mac(_ number: Int) -> String {
        "02:42:00:00:" + [number >> 8 & 0xff, number & 0xff].map { String(format: "%02x", $0) }.joined(separator: ":")
    }

    private func socket(_ driver: String) throws -> String {
        let pid = try String(contentsOfFile: "\(lab.directory)/\(lab.host)/pid", encoding: .utf8)
        return "/proc/\(pid.trimmingCharacters(in: .whitespacesAndNewlines))/root/run/docker/plugins/\(driver).sock"
    }

    private func connect(for method: String) throws -> UnixSocket {
        try UnixSocket.connect(socket(method.hasPrefix("Ipam") ? "calico-ipam" : "calico"))
    }

    func call(_ method: String, _ body: String) async throws -> PluginReply {
        try await onThread {
            let connection = try connect(for: method)
            try connection.post(method, body)
            let reply = try connection.readHTTPReply()
            return PluginReply(status: reply.status, text: reply.text)
        }
    }

    /// A call that has to be answered with status 200.
    @discardableResult
    func succeed(_ method: String, _ body: String) async throws -> PluginReply {
        let reply = try await call(method, body)
        try #require(reply.status == 200, "\(method): \(reply)")
        return reply
    }

    /// The bodies of the calls for one container on one network.
    struct Life {
        let network: String
        let endpoint: String

        /// - Parameters: bytes that make an id by repetition.
        init(network: UInt8, endpoint: UInt8) {
            (self.network, self.endpoint) = (Self.id(network), Self.id(endpoint))
        }

        private static func id(_ byte: UInt8) -> String { String(repeating: String(byte, radix: 16), count: 32) }

        var interface: String { "cali" + endpoint.prefix(11) }
        var peerName: String { "temp" + endpoint.prefix(11) }
        var ids: String { #"{"NetworkID":"\#(network)","EndpointID":"\#(endpoint)"}"# }
        var creation: String {
            #"{"NetworkID":"\#(network)","Options":{},"IPv4Data":[{"AddressSpace":"CalicoAddressSpace","#
                + #""Gateway":"0.0.0.0/0","Pool":"0.0.0.0/0"}],"IPv6Data":[]}"#
        }
        var join: String {
            #"{"NetworkID":"\#(network)","EndpointID":"\#(endpoint)","SandboxKey":"/run/docker/netns/b2","Options":{}}"#
        }

        func endpoint(_ address: String) -> String {
            #"{"NetworkID":"\#(network)","EndpointID":"\#(endpoint)","Interface":{"Address":"\#(address)/32","#
                + #""AddressIPv6":"","MacAddress":""},"Options":{}}"#
        }
    }

    /// Asks and hangs up without waiting.
    func askAndHangUp(_ method: String, _ body: String) async throws {
        try await onThread { try connect(for: method).post(method, body) }
    }

    static func addressRequest(_ number: Int) -> String {
        #"{"PoolID":"CalicoPoolIPv4","Address":"","Options":{"com.docker.network.endpoint.macaddress":"\#(mac(number))"}}"#
    }

    func requestAddress(_ number: Int) async throws -> PluginReply {
        try await call("IpamDriver.RequestAddress", Self.addressRequest(number))
    }

    func releaseAddress(_ address: String) async throws -> PluginReply {
        try await call("IpamDriver.ReleaseAddress", #"{"PoolID":"CalicoPoolIPv4","Address":"\#(address)"}"#)
    }

    // MARK: Endpoints without a container

    /// The two ids of an endpoint, as members of a request.
    static func ids(_ number: Int, on network: String) -> String {
        let endpoint = String(format: "%08x", number) + String(repeating: "e", count: 56)
        return #""NetworkID":"\#(network)","EndpointID":"\#(endpoint)""#
    }

    func createEndpoint(_ number: Int, on network: String, address: String) async throws -> PluginReply {
        let interface = #"{"Address":"\#(address)/32","MacAddress":"\#(Self.mac(number))"}"#
        return try await call(
            "NetworkDriver.CreateEndpoint",
            "{\(Self.ids(number, on: network)),\"Interface\":\(interface),\"Options\":{}}")
    }
}

/// Calls that etcd has served so far, by its own count.
struct EtcdCalls: Equatable, CustomStringConvertible {
    let transactions: Int
    let ranges: Int

    static func - (a: EtcdCalls, b: EtcdCalls) -> EtcdCalls {
        EtcdCalls(transactions: a.transactions - b.transactions, ranges: a.ranges - b.ranges)
    }

    var description: String { "\(transactions) transactions, \(ranges) reads" }
}

extension Lab {
    func etcdCalls() async throws -> EtcdCalls {
        let text = try await runOutside("busybox wget -q -O - http://\(Lab.outside):2379/metrics")
        func count(_ method: String) -> Int {
            let line = text.split(separator: "\n").first {
                $0.hasPrefix("grpc_server_started_total{") && $0.contains("grpc_method=\"\(method)\"")
                    && $0.contains("etcdserverpb.KV")
            }
            return line.flatMap { $0.split(separator: " ").last }.flatMap { Double($0) }.map { Int($0) } ?? 0
        }
        return EtcdCalls(transactions: count("Txn"), ranges: count("Range"))
    }

    /// Returns once etcd answers by itself.
    func awaitEtcd() async throws {
        try await runOutside(
            "until busybox wget -q -O - http://\(Lab.outside):2379/health | grep -q true; do sleep 0.05; done")
    }

    /// etcdctl beside the lab's etcd.
    @discardableResult
    func etcdctl(_ command: String) async throws -> String {
        try await runOutside("ETCDCTL_API=3 etcdctl --endpoints http://\(Lab.outside):2379 \(command)")
    }
}
