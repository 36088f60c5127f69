// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Testing

@testable import LibnetworkPlugin

/// What engine 29 adds, from messages made after its source (moby `daemon/libnetwork`, 29.0 to 29.7): no such engine
/// can be had here.
@Suite struct `An engine of version 29` {
    private func web(_ number: Int, pools: [String] = ["CalicoPoolIPv4"]) -> Life {
        var life = Life(number, pools: pools)
        life.container = "web"
        return life
    }

    @Test func `leaves twice after a refused Join, with a network that has no gateway`() async throws {
        let plugin = try await Plugin.fresh()
        let created = try await plugin.call(
            "NetworkDriver.CreateNetwork",
            #"{"NetworkID":"\#(dockerID(0xabc))","Options":{"com.docker.network.enable_ipv4":true,"#
                + #""com.docker.network.enable_ipv6":false,"com.docker.network.generic":{}},"#
                + #""IPv4Data":[{"AddressSpace":"CalicoAddressSpace","Pool":"0.0.0.0/0"}],"IPv6Data":[]}"#)
        #expect(created.status == 200, "\(created)")
        let life = web(1)
        let addresses = try await life.requestAddresses(plugin)
        #expect(try await life.createEndpoint(addresses, plugin).status == 200)
        plugin.dataplane.refuseLinks()
        #expect(try await life.join(plugin).status == 500)
        for reply in [try await life.leave(plugin), try await life.leave(plugin)] { #expect(reply.text == "{}") }
        #expect(try await life.deleteEndpoint(plugin).status == 200)
        try await life.release(addresses, plugin)
        try await plugin.deleteNetwork()
        try await plugin.expectNothingLeft()
    }

    @Test func `gets the same addresses for the same container's name, without a commit more`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([dockerID(0xabc): .init(name: "web")]))
        let dual = ["CalicoPoolIPv4", "CalicoPoolIPv6"]
        let others = (10...12).map { Life($0, pools: dual) }
        try await others[0].start(plugin)
        let first = web(1, pools: dual)
        let addresses = try await first.start(plugin)
        try await others[1].start(plugin)
        try await first.stop(addresses, plugin)
        // The queue's next addresses are others; the name decides.
        #expect(try await others[2].start(plugin) != addresses)
        let before = plugin.faults.commits
        let second = web(2, pools: dual)
        #expect(try await second.start(plugin) == addresses)
        #expect(plugin.faults.commits - before == 3)
    }

    @Test func `gets them after the plugin was started anew while the container was down`() async throws {
        let plugin = try await Plugin.fresh()
        let first = web(1)
        let addresses = try await first.start(plugin)
        try await first.stop(addresses, plugin)
        let next = try await plugin.restarted()
        try await Life(10).start(next)
        #expect(try await web(2).start(next) == addresses)
    }

    @Test func `asks for the ports of an internal network too, and gets none published`() async throws {
        let log = RecordedLog()
        let plugin = try await Plugin.fresh(logger: log.logger)
        try await plugin.createNetwork(isInternal: true)
        let life = web(1)
        try await life.start(plugin)
        let port = try HostPort.free()
        let ports = #"[{"Proto":6,"Port":80,"HostPort":\#(port)}]"#
        #expect(try await life.program(plugin, ports: ports).text == "{}")
        #expect(HostPort.isFree(port))
        #expect(try plugin.endpoint(life.endpoint)?.spec.ports == [])
        let line = "ports of an internal network are not published endpoint=\(life.endpoint.abbreviated)"
        #expect(log.lines.contains { $0.hasPrefix(line) }, "\(log.lines)")
        #expect(try await life.revoke(plugin).text == "{}")
    }

    @Test func `gets another where somebody has it`() async throws {
        let plugin = try await Plugin.fresh()
        let first = web(1)
        let addresses = try await first.start(plugin)
        try await first.stop(addresses, plugin)
        #expect(try await Life(10).requestAddress("p4", plugin, address: addresses[0]).status == 200)
        #expect(try await web(2).start(plugin) != addresses)
    }
}

/// What engine 29 asks of the two networks, in its order (moby 29 `Endpoint.updateExternalConnectivity`, `sbLeave`). It
/// sends all ports to both.
@Suite struct `A container with gateways for IPv4 and IPv6 on different networks` {
    /// An IPv4 network, which `--gw-priority` puts first.
    private let four = Life(1, network: dockerID(0xb1))
    /// One of both families.
    private let both: Life
    private let six: Life

    init() {
        var both = Life(2, network: dockerID(0xed), pools: ["CalicoPoolIPv4", "CalicoPoolIPv6"])
        var six = Life(3, network: dockerID(0x6), pools: ["CalicoPoolIPv6"])
        both.sandbox = four.sandbox
        six.sandbox = four.sandbox
        self.both = both
        self.six = six
    }

    private func binding(_ first: UInt16, _ last: UInt16? = nil, ip: String = "") -> String {
        #"[{"Proto":6,"Port":80,"HostIP":"\#(ip)","HostPort":\#(first),"HostPortEnd":\#(last ?? first)}]"#
    }

    private func ports(_ life: Life, _ plugin: Plugin) throws -> [EndpointPort] {
        try plugin.endpoint(life.endpoint)?.spec.ports ?? []
    }

    private func published(_ port: UInt16, on hostIP: String? = nil) -> [EndpointPort] {
        [EndpointPort(protocol: .tcp, port: 80, hostPort: port, hostIP: hostIP)]
    }

    /// Joins both, in either order, and asks for the ports.
    private func start(_ plugin: Plugin, _ bindings: String, startingWithBoth: Bool) async throws {
        var replies: [Reply] = []
        if startingWithBoth {
            try await both.start(plugin)
            replies.append(try await both.program(plugin, ports: bindings))
            try await four.start(plugin)
            // It is the gateway for IPv6 only now, which nothing says.
            replies.append(try await both.program(plugin, ports: bindings))
            replies.append(try await four.program(plugin, ports: bindings, leavesIPv6: true))
        } else {
            try await four.start(plugin)
            replies.append(try await four.program(plugin, ports: bindings))
            try await both.start(plugin)
            replies.append(try await both.program(plugin, ports: bindings))
        }
        for reply in replies { #expect(reply.text == "{}") }
    }

    @Test(arguments: [false, true])
    func `has its ports published by each in its family, whichever it joined first`(_ isBothFirst: Bool) async throws {
        let plugin = try await Plugin.fresh()
        let port = try HostPort.free()
        try await start(plugin, binding(port), startingWithBoth: isBothFirst)
        #expect(try ports(four, plugin) == published(port))
        #expect(try ports(both, plugin) == published(port, on: "::"))
    }

    @Test(arguments: [false, true])
    func `keeps them when it leaves the IPv4 network`(_ isBothFirst: Bool) async throws {
        let plugin = try await Plugin.fresh()
        let port = try HostPort.free()
        try await start(plugin, binding(port), startingWithBoth: isBothFirst)
        #expect(try await four.revoke(plugin).status == 200)
        #expect(try await four.leave(plugin).status == 200)
        #expect(HostPort.isFree(port))
        #expect(try await both.program(plugin, ports: binding(port)).text == "{}")
        #expect(try ports(both, plugin) == published(port))
        #expect(!HostPort.isFree(port))
        #expect(try await both.revoke(plugin).status == 200)
        #expect(HostPort.isFree(port))
    }

    @Test(arguments: [false, true])
    func `keeps those of IPv4 when it leaves the other network, though nobody asks again`(
        _ isBothFirst: Bool
    ) async throws {
        let plugin = try await Plugin.fresh()
        let port = try HostPort.free()
        try await start(plugin, binding(port), startingWithBoth: isBothFirst)
        #expect(try await both.revoke(plugin).status == 200)
        #expect(try await both.leave(plugin).status == 200)
        #expect(try ports(both, plugin) == [])
        #expect(try ports(four, plugin) == published(port))
        #expect(!HostPort.isFree(port))
    }

    @Test(arguments: [false, true])
    func `has the same port in both families where any of several will do`(_ isBothFirst: Bool) async throws {
        let plugin = try await Plugin.fresh()
        let first = try HostPort.freeRange(3)
        for bindings in [binding(0), binding(first, first + 2)] {
            try await start(plugin, bindings, startingWithBoth: isBothFirst)
            let port = try #require(try ports(four, plugin).first?.hostPort)
            #expect(try ports(both, plugin) == published(port, on: "::"))
            for life in [both, four] { #expect(try await life.deleteEndpoint(plugin).status == 200) }
        }
    }

    @Test func `has a port of one address of the host published once`() async throws {
        let plugin = try await Plugin.fresh()
        let port = try HostPort.free()
        try await start(plugin, binding(port, ip: "127.0.0.1"), startingWithBoth: false)
        #expect(try ports(four, plugin) == published(port, on: "127.0.0.1"))
        #expect(try ports(both, plugin) == [])
    }

    @Test func `leaves IPv6 to the network that is its gateway, also where the other has addresses of it`() async throws
    {
        let plugin = try await Plugin.fresh()
        let port = try HostPort.free()
        try await both.start(plugin)
        #expect(try await both.program(plugin, ports: binding(port)).text == "{}")
        try await six.start(plugin)
        #expect(try await both.program(plugin, ports: binding(port), leavesIPv6: true).text == "{}")
        #expect(try await six.program(plugin, ports: binding(port)).text == "{}")
        #expect(try ports(both, plugin) == published(port, on: "0.0.0.0"))
        #expect(try ports(six, plugin) == published(port))
    }

    @Test func `has its ports in its own way no more than another container's`() async throws {
        let plugin = try await Plugin.fresh()
        let port = try HostPort.free()
        try await four.start(plugin)
        #expect(try await four.program(plugin, ports: binding(port)).text == "{}")
        let other = Life(4, network: dockerID(0xed), pools: ["CalicoPoolIPv4", "CalicoPoolIPv6"])
        try await other.start(plugin)
        let refusal = try await other.program(plugin, ports: binding(port)).refusal
        #expect(refusal?.contains("cannot publish port \(port)/tcp") == true, "\(refusal ?? "")")
    }

    @Test func `has each family's ports taken again by a restarted plugin`() async throws {
        let plugin = try await Plugin.fresh()
        let port = try HostPort.free()
        try await start(plugin, binding(port), startingWithBoth: false)
        // What the kernel does when a process dies.
        for life in [four, both] { await plugin.network.ports.release(life.endpoint) }
        let next = try await plugin.restarted()
        #expect(!HostPort.isFree(port))
        #expect(try await both.program(next, ports: binding(port)).text == "{}")
        #expect(try ports(both, next) == published(port, on: "::"))
    }
}
