// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Testing

@testable import LibnetworkPlugin

/// A container whose end nobody told us of stands in its own way when it is started again.
@Suite struct `A container that is gone without a word` {
    private let network = dockerID(0xabc)

    /// A plugin with one endpoint, made an hour ago, that has an address and a port.
    private func plugin(endpoints: Set<String> = []) async throws -> (Plugin, String, UInt16) {
        let plugin = try await Plugin.fresh(
            engine: RecordedEngine([network: .init(name: "web", endpoints: endpoints)]))
        let address = try await Life(1, pools: ["p4"]).start(plugin)[0]
        let port = try HostPort.free()
        #expect(try await Life(1).program(plugin, ports: ports(port)).status == 200)
        try await plugin.age(dockerID(1))
        return (plugin, address, port)
    }

    private func ports(_ port: UInt16) -> String { #"[{"Proto":6,"Port":80,"HostPort":\#(port)}]"# }

    @Test func `gives its address and its port to its next life`() async throws {
        let (plugin, address, port) = try await plugin()
        let next = Life(2, pools: ["p4"])
        #expect(try await next.requestAddress("p4", plugin, address: address).address == address)
        #expect(try plugin.endpoint(dockerID(1)) == nil)
        #expect(try await next.createEndpoint([address], plugin).status == 200)
        #expect(try await next.join(plugin).status == 200)
        #expect(try await next.program(plugin, ports: ports(port)).status == 200)
        #expect(plugin.dataplane.interfaces == [EndpointIdentity.interfaceName(dockerID(2))])
        try await next.stop([address], plugin)
        try await plugin.deleteNetwork()
        try await plugin.expectNothingLeft()
    }

    @Test func `gives its port to somebody with another address`() async throws {
        let (plugin, address, port) = try await plugin()
        let next = Life(2, pools: ["p4"])
        try await next.start(plugin)
        #expect(try await next.program(plugin, ports: ports(port)).status == 200)
        #expect(try plugin.endpoint(dockerID(1)) == nil)
        #expect(try await plugin.contents().addresses.contains(address), "that is the sweep's to find")
    }

    @Test(arguments: ["the engine knows it", "its interface is alive", "it is young", "the engine is silent"])
    func `is not believed gone where`(_ sign: String) async throws {
        let isKnown = sign == "the engine knows it"
        let (plugin, address, port) = try await plugin(endpoints: isKnown ? [dockerID(1)] : [])
        switch sign {
        case "its interface is alive": plugin.dataplane.keepAlive(EndpointIdentity.interfaceName(dockerID(1)))
        case "it is young": try await plugin.age(dockerID(1), by: 5)
        case "the engine is silent": plugin.engine.fallSilent()
        default: break
        }
        let next = Life(2, pools: ["p4"])
        let refusal = try await next.requestAddress("p4", plugin, address: address).refusal
        #expect(
            refusal?.contains("already assigned to endpoint \(dockerID(1).abbreviated)") == true, "\(refusal ?? "")")
        try await next.start(plugin)
        #expect(try await next.program(plugin, ports: ports(port)).status == 500)
        #expect(try plugin.endpoint(dockerID(1)) != nil)
    }

    @Test func `leaves no port taken where the engine gave back its address only`() async throws {
        let plugin = try await Plugin.fresh()
        let first = Life(1)
        let addresses = try await first.start(plugin)
        let port = try HostPort.free()
        #expect(try await first.program(plugin, ports: ports(port)).status == 200)
        // An engine that was killed says no more than this at its next start.
        try await first.release(addresses, plugin)
        #expect(HostPort.isFree(port))
        #expect(plugin.dataplane.interfaces.isEmpty)
        let next = Life(2)
        try await next.start(plugin)
        #expect(try await next.program(plugin, ports: ports(port)).status == 200)
    }

    @Test func `leaves no port taken where it went while its ports were still being published`() async throws {
        let (plugin, _, port) = try await plugin()
        let next = Life(2, pools: ["p4"])
        try await next.start(plugin)
        let asked = plugin.engine.questions.count
        plugin.engine.hang()
        async let reply = next.program(plugin, ports: ports(port))
        try await eventually { plugin.engine.questions.count > asked }
        #expect(try await next.deleteEndpoint(plugin).status == 200)
        plugin.engine.hang(false)
        #expect(try await reply.refusal?.contains("is not known") == true)
        #expect(HostPort.isFree(port))
    }

    @Test func `leaves no port taken where somebody else removed its endpoint`() async throws {
        let (plugin, _, port) = try await plugin(endpoints: [dockerID(1)])
        let key = try #require(try plugin.endpoint(dockerID(1))).key
        _ = try await plugin.store.commit(Transaction(writes: [.delete(key)]))
        await plugin.replica.refresh()
        await plugin.reconciler().sweep()
        #expect(HostPort.isFree(port))
    }
}

extension Plugin {
    /// As if the endpoint had been made `seconds` ago.
    func age(_ id: String, by seconds: TimeInterval = 3600) async throws {
        var endpoint = try #require(try endpoint(id))
        endpoint.metadata.creationTimestamp = Timestamp.text(Date.now.addingTimeInterval(-seconds))
        _ = try await store.commit(Transaction(writes: [.put(endpoint.key, endpoint)]))
        await replica.refresh()
    }
}
