// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
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

    /// - Parameter json: member for member, with `UID` and `TIME` for what differs each time.
    private func expect(
        _ json: String, at key: Key, in plugin: Plugin, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let value = try #require(try await plugin.store.get(key)?.value)
        let expected = try StoredResource(value).filling(json)
        let (stored, wanted) = (
            try JSONDecoder().decode(JSONValue.self, from: value),
            try JSONDecoder().decode(JSONValue.self, from: expected)
        )
        #expect(stored == wanted, sourceLocation: sourceLocation)
    }

    @Test func `it and its profile are, member for member, what those clients write`() async throws {
        let plugin = try await Plugin.fresh()
        try await plugin.createNetwork(name: "web")
        let life = Life(1, mac: "02:42:ac:11:22:33")
        let address = try #require(try await life.start(plugin).first)
        let port = try HostPort.free()
        let mapping = #"[{"Proto":6,"Port":80,"HostIP":"127.0.0.1","HostPort":\#(port)}]"#
        #expect(try await life.program(plugin, ports: mapping).status == 200)
        try await expect(
            #"""
            {"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3",
             "metadata":{"name":"host--1-libnetwork-libnetwork-\#(life.endpoint)","namespace":"libnetwork",
               "uid":"UID","creationTimestamp":"TIME",
               "labels":{"projectcalico.org/namespace":"libnetwork","projectcalico.org/orchestrator":"libnetwork"},
               "annotations":{"libnetwork.projectcalico.org/network":"\#(life.network)",
                 "libnetwork.projectcalico.org/network-name":"web",
                 "org.projectcalico.ports":"127.0.0.1:\#(port)->80/tcp"}},
             "spec":{"orchestrator":"libnetwork","workload":"libnetwork","node":"host-1","endpoint":"\#(life.endpoint)",
               "ipNetworks":["\#(address)/32"],"profiles":["web"],"interfaceName":"cali0000000001d",
               "mac":"02:42:ac:11:22:33",
               "ports":[{"protocol":"TCP","port":80,"hostPort":\#(port),"hostIP":"127.0.0.1"}]}}
            """#, at: plugin.network.identity(life.endpoint).key(), in: plugin)
        try await expect(
            #"""
            {"kind":"Profile","apiVersion":"projectcalico.org/v3",
             "metadata":{"name":"web","uid":"UID","creationTimestamp":"TIME",
               "annotations":{"libnetwork.projectcalico.org/created-by":"calico-libnetwork"}},
             "spec":{"ingress":[{"action":"Allow","source":{"selector":"has(web)"},"destination":{}}],
               "egress":[{"action":"Allow","source":{},"destination":{}}],"labelsToApply":{"web":""}}}
            """#, at: Key.resource(ProfileSpec.self, name: "web"), in: plugin)
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
