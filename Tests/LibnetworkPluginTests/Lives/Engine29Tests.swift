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
