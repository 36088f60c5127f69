// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import Testing

@testable import LibnetworkPlugin

/// A Swarm's network has one id on all nodes, and each node makes and removes it for itself.
@Suite struct `A network that spans nodes` {
    private let id = "qazi7mnpl7br0mqmsf7jvlnu5"

    @Test func `each node has a next hop of its own on it`() async throws {
        let first = try await Plugin.fresh()
        try await first.createNetwork(id)
        let second = try await first.neighbour("host-2")
        try await second.createNetwork(dockerID(0x1))
        try await second.createNetwork(id)
        #expect(second.record(id)?.nextHops == ["host-1": 1, "host-2": 2])
        let life = Life(1, network: id)
        let addresses = try await life.start(second)
        #expect(try await life.join(second)["Gateway"] == "169.254.1.2")
        try await life.stop(addresses, second)
    }

    @Test func `subnets that nodes have configured differently are all the network's`() async throws {
        let first = try await Plugin.fresh()
        try await first.createNetwork(id, subnet: "192.168.8.0/24")
        let second = try await first.neighbour("host-2")
        try await second.createNetwork(id, subnet: "192.168.9.0/24")
        #expect(second.record(id)?.subnets.map(\.description) == ["192.168.8.0/24", "192.168.9.0/24"])
        #expect(second.record(id)?.pools == ["p4"])
    }

    @Test func `it is gone when the last node has removed it, and its profile with it`() async throws {
        let first = try await Plugin.fresh(engine: RecordedEngine([id: .init(name: "web")]))
        try await first.createNetwork(id)
        let second = try await first.neighbour("host-2")
        try await second.createNetwork(id)
        let life = Life(1, network: id)
        try await life.stop(try await life.start(first), first)
        try await second.deleteNetwork(id)
        try await second.deleteNetwork(id)
        #expect(second.record(id)?.nextHops == ["host-1": 1])
        try await first.deleteNetwork(id)
        try await first.expectNothingLeft()
    }

    @Test func `a cluster store's network is gone for all when one node has removed it`() async throws {
        let first = try await Plugin.fresh()
        try await first.createNetwork(dockerID(0xabc))
        let second = try await first.neighbour("host-2")
        let life = Life(1)
        try await life.stop(try await life.start(second), second)
        #expect(second.record(dockerID(0xabc))?.nextHops.count == 2)
        try await second.deleteNetwork(dockerID(0xabc))
        try await second.expectNothingLeft()
    }

    @Test func `the first endpoint on a node that never made it enters the node`() async throws {
        let first = try await Plugin.fresh()
        try await first.createNetwork(id)
        let second = try await first.neighbour("host-2")
        try await Life(1, network: id).start(second)
        #expect(second.record(id)?.nextHops.keys.sorted() == ["host-1", "host-2"])
    }
}

/// What a managed plugin's engine sends to the one socket it has.
@Suite struct `One socket for both drivers` {
    @Test func `the network driver's socket answers for addresses too, and says nothing of it when it is activated`()
        async throws
    {
        let plugin = try await Plugin.fresh()
        #expect(try await plugin.call("Plugin.Activate", on: .network)["Implements"] == ["NetworkDriver"])
        #expect(try await plugin.call("IpamDriver.GetCapabilities", on: .network)["RequiresMACAddress"] == true)
        let reply = try await plugin.call(
            "IpamDriver.RequestAddress", #"{"PoolID":"CalicoPoolIPv4","Address":"","Options":null}"#, on: .network)
        #expect(reply.address != nil, "\(reply)")
    }
}

/// Networks of global scope: the manager takes each address ahead of its task.
@Suite struct `Addresses that a Swarm's manager takes` {
    private let life = Life(1)

    private func reserve(_ plugin: Plugin, _ address: String = "") async throws -> Reply {
        try await plugin.call(
            "IpamDriver.RequestAddress",
            #"{"PoolID":"CalicoPoolIPv4","Address":"\#(address)","Options":{"com.docker.network.ipam.serial":"true"}}"#)
    }

    @Test func `the task gets what was taken for it, on whichever node it runs`() async throws {
        let manager = try await Plugin.fresh()
        let address = try #require(try await reserve(manager).address)
        let worker = try await manager.neighbour("host-2")
        let reply = try await life.requestAddress("CalicoPoolIPv4", worker, address: address)
        #expect(reply.address == address, "\(reply)")
        #expect(worker.holder(of: address)?.node == "host-2")
        let other = try await Life(2).requestAddress("CalicoPoolIPv4", worker, address: address)
        #expect(other.refusal?.contains("already assigned") == true, "\(other)")
    }

    @Test func `it is free after the task, and what the manager gives back then is nobody's`() async throws {
        let manager = try await Plugin.fresh()
        let address = try #require(try await reserve(manager).address)
        let worker = try await manager.neighbour("host-2")
        _ = try await life.requestAddress("CalicoPoolIPv4", worker, address: address)
        try await life.release([address], worker)
        #expect(worker.holder(of: address) == nil)
        try await life.release([address], manager)
        try await life.release([address], worker)
        try await worker.expectNothingLeft()
    }

    @Test func `a manager's early return does not take it from a task on another node`() async throws {
        let manager = try await Plugin.fresh()
        let address = try #require(try await reserve(manager).address)
        let worker = try await manager.neighbour("host-2")
        _ = try await life.requestAddress("CalicoPoolIPv4", worker, address: address)
        try await life.release([address], manager)
        #expect(try await manager.neighbour("host-3").holder(of: address)?.node == "host-2")
    }

    @Test func `one that no task came for is freed by the manager`() async throws {
        let manager = try await Plugin.fresh()
        let address = try #require(try await reserve(manager).address)
        try await life.release([address], manager)
        try await manager.expectNothingLeft()
    }

    @Test func `a manager that takes over gets all of them again, those in use and those not`() async throws {
        let manager = try await Plugin.fresh()
        let waiting = try #require(try await reserve(manager).address)
        let used = try #require(try await reserve(manager).address)
        let worker = try await manager.neighbour("host-2")
        _ = try await life.requestAddress("CalicoPoolIPv4", worker, address: used)
        let successor = try await manager.neighbour("host-3")
        for address in [waiting, used] {
            let reply = try await reserve(successor, address)
            #expect(reply.address == address, "\(reply)")
        }
        #expect(successor.holder(of: waiting)?.node == "host-3")
        #expect(successor.holder(of: used)?.node == "host-2")
    }

    @Test func `what it has forgotten is free when the Swarm has no network any more, and not before`() async throws {
        let id = "qazi7mnpl7br0mqmsf7jvlnu5"
        let manager = try await Plugin.fresh(engine: RecordedEngine([id: .init(name: "web")]))
        try await manager.createNetwork(id)
        let address = try #require(try await reserve(manager).address)
        let later = Date.now.addingTimeInterval(Orphan.grace + 600)
        let reconciler = manager.reconciler()
        for _ in 0..<2 { await reconciler.sweep(at: later) }
        #expect(manager.holder(of: address) != nil)
        try await manager.deleteNetwork(id)
        for _ in 0..<2 { await reconciler.sweep() }
        #expect(manager.holder(of: address) != nil)
        for _ in 0..<2 { await reconciler.sweep(at: later) }
        try await manager.expectNothingLeft()
    }

    @Test func `it stays while the manager's engine has a network of the Swarm, though no node runs a task of it`()
        async throws
    {
        var web = EngineNetwork(name: "web")
        web.isOfSwarm = true
        let manager = try await Plugin.fresh(engine: RecordedEngine(["qazi7mnpl7br0mqmsf7jvlnu5": web]))
        let address = try #require(try await reserve(manager).address)
        let reconciler = manager.reconciler()
        let later = Date.now.addingTimeInterval(Orphan.grace + 600)
        for _ in 0..<2 { await reconciler.sweep(at: later) }
        #expect(manager.holder(of: address) != nil)
        manager.engine.fallSilent()
        for _ in 0..<2 { await reconciler.sweep(at: later) }
        #expect(manager.holder(of: address) != nil)
    }

    @Test func `neither --ip's holder nor a reserved --aux-address gives way to a manager`() async throws {
        let plugin = try await Plugin.fresh()
        _ = try await life.requestAddress("CalicoPoolIPv4", plugin, address: "192.168.7.7")
        let auxiliary = #"{"PoolID":"CalicoPoolIPv4","Address":"192.168.7.8","Options":null}"#
        _ = try await plugin.call("IpamDriver.RequestAddress", auxiliary)
        for address in ["192.168.7.7", "192.168.7.8"] {
            #expect(try await reserve(plugin, address).refusal?.contains("already assigned") == true)
        }
    }
}

extension Plugin {
    fileprivate func holder(of address: String) -> AllocationAttributes? {
        replica.read { $0.owner(of: .init(address)!) }
    }
}
