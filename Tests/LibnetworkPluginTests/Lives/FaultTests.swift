// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Testing

@testable import LibnetworkPlugin

@Suite struct `A step that fails` {
    @Test func `a Join that the kernel refuses leaves no trace of itself`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        let addresses = try await life.requestAddresses(plugin)
        #expect(try await life.createEndpoint(addresses, plugin).status == 200)
        let before = try await plugin.contents()
        plugin.dataplane.refuseLinks()
        #expect(try await life.join(plugin).refusal == "the kernel refused the link")
        #expect(plugin.dataplane.interfaces.isEmpty)
        #expect(try await plugin.contents() == before)
        // What engines up to 28 do then: no Leave.
        #expect(try await life.deleteEndpoint(plugin).status == 200)
        try await life.release(addresses, plugin)
        try await plugin.deleteNetwork(life.network)
        try await plugin.expectNothingLeft()
    }

    @Test func `an address whose commit fails is not held`() async throws {
        let plugin = try await Plugin.fresh()
        plugin.faults.fail(after: 0)
        let refused = try await Life(1).requestAddress("CalicoPoolIPv4", plugin)
        #expect(refused.refusal?.contains("the disk is on fire") == true)
        plugin.faults.fail(after: nil)
        try await plugin.expectNothingLeft()
        #expect(try await Life(1).requestAddress("CalicoPoolIPv4", plugin).status == 200)
    }

    @Test func `a first endpoint that could not be written leaves neither profile nor record`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([Sample.network: .init(name: "web")]))
        plugin.faults.fail(after: 0)
        #expect(try await plugin.call("NetworkDriver.CreateEndpoint", Sample.endpoint()).status == 500)
        plugin.faults.fail(after: nil)
        try await plugin.expectNothingLeft()
    }

    @Test func `a port that could not be recorded is free again`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        let port = try HostPort.free()
        plugin.faults.fail(after: 0)
        let reply = try await life.program(plugin, ports: #"[{"Proto":6,"Port":80,"HostPort":\#(port)}]"#)
        #expect(reply.status == 500)
        #expect(HostPort.isFree(port))
    }

    @Test func `teardown goes on where the datastore is away, and what stays is told`() async throws {
        let plugin = try await Plugin.fresh()
        let life = Life(1)
        try await life.start(plugin)
        plugin.faults.fail(after: 0)
        #expect(try await life.leave(plugin).status == 200)
        #expect(try await life.deleteEndpoint(plugin).status == 500)
        #expect(plugin.dataplane.interfaces.isEmpty)
    }

    @Test func `a locked datastore is left alone, with the reason`() async throws {
        let plugin = try await Plugin.fresh()
        let information = ClusterInformation(
            metadata: ResourceMetadata(name: "default").asCreated(),
            spec: ClusterInformationSpec(clusterGUID: "0", datastoreReady: false))
        _ = try await plugin.store.commit(Transaction(writes: [.put(information.key, information)]))
        await plugin.replica.refresh()
        for reply in [
            try await plugin.call("NetworkDriver.CreateNetwork", Sample.create()),
            try await plugin.call("NetworkDriver.CreateEndpoint", Sample.endpoint()),
            try await plugin.call("IpamDriver.RequestAddress", Sample.address("p4")),
        ] {
            #expect(reply.refusal?.contains("the datastore is locked") == true, "\(reply)")
        }
        try await plugin.expectNothingLeft()
    }

    @Test func `a datastore that is locked between plan and commit is left alone too`() async throws {
        let plugin = try await Plugin.fresh()
        let information = ClusterInformation(
            metadata: ResourceMetadata(name: "default").asCreated(),
            spec: ClusterInformationSpec(clusterGUID: "0", datastoreReady: false))
        _ = try await plugin.store.commit(Transaction(writes: [.put(information.key, information)]))
        let reply = try await plugin.call("NetworkDriver.CreateNetwork", Sample.create())
        #expect(reply.refusal?.contains("the datastore is locked") == true, "\(reply)")
        try await plugin.expectNothingLeft()
    }

    @Test(arguments: [Key.resource(ClusterInformationSpec.self, name: "default"), Key.network(Sample.network)])
    func `a value that cannot be read, and that a write relies on, is named with the reason`(_ key: Key) async throws {
        let plugin = try await Plugin.fresh()
        _ = try await plugin.store.commit(Transaction(writes: [.put(key, bytes: .init("not JSON".utf8))]))
        await plugin.replica.refresh()
        let reply = try await plugin.call("NetworkDriver.CreateNetwork", Sample.create())
        #expect(reply.refusal?.contains("\(key) cannot be read") == true, "\(reply)")
    }

    @Test func `a race is lost many times before it is given up`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork()
        let key = Key.network(dockerID(0xabc))
        var attempts = 0
        try await plugin.network.commit { state in
            attempts += 1
            guard attempts < 40 else { return nil }
            return Transaction(if: [.absent(key)], writes: [.delete(key)])
        }
        #expect(attempts == 40)
    }

    @Test func `an unreadable value is neither overwritten nor deleted`() async throws {
        let plugin = try await Plugin.fresh(engine: RecordedEngine([Sample.network: .init(name: "web")]))
        let key = Key.resource(ProfileSpec.self, name: "web")
        _ = try await plugin.store.commit(Transaction(writes: [.put(key, bytes: .init("not JSON".utf8))]))
        await plugin.replica.refresh()
        #expect(try await plugin.call("NetworkDriver.CreateEndpoint", Sample.endpoint()).status == 200)
        #expect(try await plugin.call("NetworkDriver.DeleteEndpoint", Sample.ids).status == 200)
        #expect(try await plugin.call("NetworkDriver.DeleteNetwork", Sample.networkID).status == 200)
        #expect(try await plugin.store.get(key) != nil)
    }

    @Test func `a network that cannot be written in time is refused, and goes again when it was written too late`()
        async throws
    {
        let plugin = try await Plugin.fresh(limit: .seconds(3))
        let before = plugin.faults.commits
        plugin.faults.hang()
        defer { plugin.faults.hang(false) }
        let reply = try await plugin.call("NetworkDriver.CreateNetwork", Sample.create())
        #expect(reply.refusal?.contains("took longer than") == true)
        #expect(plugin.faults.held == 1 && plugin.faults.commits == before, "it is still on its way")
        plugin.faults.hang(false)
        // One writes the record, one removes it.
        try await eventually { plugin.faults.commits == before + 2 }
        try await plugin.expectNothingLeft()
    }

    @Test(arguments: FaultyStore.Fate.allCases)
    func `a network whose commit got no answer is gone once the datastore answers`(_ fate: FaultyStore.Fate)
        async throws
    {
        let plugin = try await Plugin.fresh()
        let before = plugin.faults.commits
        plugin.faults.fallSilent(fate)
        let reply = try await plugin.call("NetworkDriver.CreateNetwork", Sample.create())
        #expect(reply.refusal?.contains("did not say") == true, "\(reply)")
        plugin.faults.fallSilent(nil)
        try await eventually { plugin.faults.commits == before + 2 }
        try await plugin.expectNothingLeft()
    }

    /// As a Swarm's engines do for each task.
    @Test(arguments: FaultyStore.Fate.allCases)
    func `a network whose commit got no answer stays where it is asked for again`(_ fate: FaultyStore.Fate)
        async throws
    {
        let plugin = try await Plugin.fresh()
        plugin.faults.fallSilent(fate)
        #expect(try await plugin.call("NetworkDriver.CreateNetwork", Sample.create()).status == 500)
        plugin.faults.fallSilent(nil)
        #expect(try await plugin.call("NetworkDriver.CreateNetwork", Sample.create()).status == 200)
        // Until then it would have been tried again to undo it.
        try await Task.sleep(for: .milliseconds(500))
        #expect(try await plugin.contents() == Contents(networks: [Sample.network]))
    }

    @Test func `a request whose successor has begun is the latest no more`() {
        let requests = LatestRequests()
        let (first, other) = (requests.begin("a"), requests.begin("b"))
        #expect(requests.isLatest(first, of: "a") && requests.isLatest(other, of: "b"))
        let second = requests.begin("a")
        requests.end(first, of: "a")
        #expect(!requests.isLatest(first, of: "a") && requests.isLatest(second, of: "a"))
        requests.end(second, of: "a")
        #expect(!requests.isLatest(first, of: "a") && !requests.isLatest(second, of: "a"))
    }
}
