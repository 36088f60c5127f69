// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import TestSupport
import Testing

@testable import LibnetworkPlugin

@Suite struct `What Calico's Go clients find of an endpoint` {
    private let webNetwork = RecordedEngine([Sample.network: .init(name: "web")])

    private func stored(_ key: Key, in plugin: Plugin) async throws -> StoredResource {
        try StoredResource(#require(try await plugin.store.get(key)?.value))
    }

    @Test func `it and its profile can be updated, and it has the labels that those clients force`() async throws {
        let plugin = try await Plugin.fresh(engine: webNetwork)
        #expect(try await plugin.call("NetworkDriver.CreateEndpoint", Sample.endpoint()).status == 200)
        let endpoint = try await stored(plugin.network.identity(Sample.endpoint).key(), in: plugin)
        #expect(endpoint.isUpdatable, "\(endpoint)")
        #expect(endpoint.kind == "WorkloadEndpoint")
        #expect(endpoint.metadata.namespace == "libnetwork")
        #expect(
            endpoint.metadata.labels == [
                "projectcalico.org/namespace": "libnetwork", "projectcalico.org/orchestrator": "libnetwork",
            ])
        let profile = try await stored(Key.resource(ProfileSpec.self, name: "web"), in: plugin)
        #expect(profile.isUpdatable, "\(profile)")
        #expect(profile.kind == "Profile")
    }

    @Test func `one that is created again, with another MAC, keeps its uid`() async throws {
        let plugin = try await Plugin.fresh(engine: webNetwork)
        let key = try plugin.network.identity(Sample.endpoint).key()
        #expect(try await plugin.call("NetworkDriver.CreateEndpoint", Sample.endpoint()).status == 200)
        let first = try await stored(key, in: plugin)
        let again = Sample.endpoint(mac: "02:42:ac:11:22:33")
        #expect(try await plugin.call("NetworkDriver.CreateEndpoint", again).status == 200)
        #expect(try plugin.endpoint(Sample.endpoint)?.spec.mac == "02:42:ac:11:22:33")
        let second = try await stored(key, in: plugin)
        #expect(second.isUpdatable && second.metadata == first.metadata)
    }
}
