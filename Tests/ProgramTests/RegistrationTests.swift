// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import LinuxNetwork
import Logging
import TestSupport
import Testing

@testable import calico_libnetwork

/// What calico/node makes where it runs, and this program where it does not.
@Suite struct `The entries of a node and of the datastore` {
    private let store: SQLiteStore
    private let nodeKey = Key.resource(NodeSpec.self, name: "host-1")
    private let informationKey = Key.resource(ClusterInformationSpec.self, name: "default")
    private let tierKey = Key.resource(TierSpec.self, name: "default")
    private let poolKey = Key.resource(IPPoolSpec.self, name: "default-ipv4-ippool")

    init() throws { store = try SQLiteStore(path: ":memory:") }

    private func replica() async throws -> Replica<ClusterState> {
        let replica = Replica<ClusterState>(
            of: store, under: ClusterState.ranges, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await replica.load()
        return replica
    }

    private func settings(_ environment: [String: String] = [:]) throws -> NodeAddresses {
        var reader = SettingReader(environment: environment)
        return try NodeAddresses(&reader)
    }

    private func put(_ key: Key, _ text: String) async throws {
        _ = try await store.commit(Transaction(writes: [.put(key, bytes: Data(text.utf8))]))
    }

    private func object(_ key: Key) async throws -> JSONValue {
        try JSONDecoder().decode(JSONValue.self, from: #require(try await store.get(key)?.value))
    }

    private func isUpdatable(_ key: Key) async throws -> Bool {
        try StoredResource(#require(try await store.get(key)?.value)).isUpdatable
    }

    // MARK: ClusterInformation

    @Test func `a datastore without an entry gets one, and keeps it`() async throws {
        try await settings().ensureClusterInformation(in: replica())
        let made = try await object(informationKey)
        #expect(made["metadata"]?["name"]?.string == "default")
        #expect(try await isUpdatable(informationKey))
        let guid = try #require(made["spec"]?["clusterGUID"]?.string)
        #expect(guid.wholeMatch(of: /[0-9a-f]{32}/) != nil, "\(guid)")
        #expect(made["spec"]?["datastoreReady"]?.bool == true)
        let revision = try await store.get(informationKey)?.revision
        try await settings().ensureClusterInformation(in: replica())
        #expect(try await store.get(informationKey)?.revision == revision)
    }

    @Test func `a complete entry stays, byte for byte`() async throws {
        let text = #"{"metadata":{"name":"default"},"spec":{"datastoreReady":true,"clusterGUID":"x"},"more":1}"#
        try await put(informationKey, text)
        try await settings().ensureClusterInformation(in: replica())
        #expect(try await store.get(informationKey)?.value == Data(text.utf8))
    }

    @Test(arguments: [
        #""calicoVersion":"v3.30""#, #""calicoVersion":"v3.30","clusterGUID":"","datastoreReady":null"#,
        #""calicoVersion":"v3.30","clusterGUID":"","datastoreReady":true"#,
    ])
    func `an entry gets what it lacks, once, and nothing else changes`(spec: String) async throws {
        try await put(informationKey, #"{"metadata":{"name":"default","uid":"u"},"spec":{\#(spec)},"more":1}"#)
        try await settings().ensureClusterInformation(in: replica())
        let filled = try await object(informationKey)
        #expect(filled["spec"]?["clusterGUID"]?.string?.count == 32)
        #expect(filled["spec"]?["datastoreReady"]?.bool == true)
        #expect(filled["spec"]?["calicoVersion"]?.string == "v3.30")
        #expect(filled["metadata"]?["uid"]?.string == "u" && filled["more"] == .integer(1))
        let revision = try await store.get(informationKey)?.revision
        try await settings().ensureClusterInformation(in: replica())
        #expect(try await store.get(informationKey)?.revision == revision)
    }

    @Test(arguments: ["", #","clusterGUID":"x""#]) func `an entry that is locked stays as it is`(guid: String)
        async throws
    {
        let text = #"{"metadata":{"name":"default"},"spec":{"datastoreReady":false\#(guid)}}"#
        try await put(informationKey, text)
        await #expect { try await settings().ensureClusterInformation(in: replica()) } throws: {
            "\($0)".hasPrefix("the datastore is locked")
        }
        #expect(try await store.get(informationKey)?.value == Data(text.utf8))
    }

    @Test func `an entry that another made meanwhile keeps what it says`() async throws {
        let replica = try await replica()
        try await put(informationKey, #"{"metadata":{"name":"default"},"spec":{"calicoVersion":"v3.30"}}"#)
        try await settings().ensureClusterInformation(in: replica)
        #expect(try await object(informationKey)["spec"]?["calicoVersion"]?.string == "v3.30")
    }

    // MARK: Tier

    @Test func `a datastore without the default tier gets it, as Calico's clients make it, and keeps it`() async throws
    {
        try await settings().ensureDefaultTier(in: replica())
        let made = try await object(tierKey)
        #expect(made["kind"]?.string == "Tier" && made["metadata"]?["name"]?.string == "default")
        #expect(made["spec"] == ["order": 1_000_000, "defaultAction": "Deny"])
        #expect(try await isUpdatable(tierKey))
        let revision = try await store.get(tierKey)?.revision
        try await settings().ensureDefaultTier(in: replica())
        #expect(try await store.get(tierKey)?.revision == revision)
    }

    /// One that was there, that cannot be read, or that another makes meanwhile.
    @Test(arguments: [
        (#"{"metadata":{"name":"default"},"spec":{"order":7}}"#, true), ("{}", true),
        (#"{"metadata":{"name":"default"},"spec":{"order":7}}"#, false),
    ])
    func `a default tier belongs to whoever made it`(text: String, isKnown: Bool) async throws {
        if isKnown { try await put(tierKey, text) }
        let replica = try await replica()
        if !isKnown { try await put(tierKey, text) }
        try await settings().ensureDefaultTier(in: replica)
        #expect(try await store.get(tierKey)?.value == Data(text.utf8))
    }

    // MARK: Node

    /// A host with one interface, which has the default routes.
    private func host() async throws -> HostAddresses {
        try await inNewNetworkNamespace {
            let (v4, v6) = (AddressWithPrefix("10.3.0.5/24")!, AddressWithPrefix("fd00:3::5/64")!)
            let socket = try RouteSocket()
            // The loopback device, without the addresses that it had before.
            for own in try socket.addresses() {
                try socket.perform(.deleteAddress(AddressWithPrefix("\(own.address)/\(own.prefixLength)")!, index: 1))
            }
            try socket.perform([
                .addAddress(v4, index: 1), .addAddress(v6, index: 1, nodad: true),
                .replaceRoute(Route(destination: CIDR("0.0.0.0/0")!, outputIndex: 1, protocolNumber: 3)),
                .replaceRoute(Route(destination: CIDR("::/0")!, outputIndex: 1, protocolNumber: 3)),
            ])
            return try HostAddresses()
        }
    }

    @Test(arguments: [
        ([:], "10.3.0.5/24", nil), (["IP": "none"], nil, nil), (["IP6": "autodetect"], "10.3.0.5/24", "fd00:3::5/64"),
        (["IP": "192.0.2.7/24", "IP6": "fd00:9::7"], "192.0.2.7/24", "fd00:9::7"),
        // With the interface's prefix length, unless another is given.
        (["IP": "10.3.0.5", "IP6": "fd00:3::5"], "10.3.0.5/24", "fd00:3::5/64"),
        (["IP": "10.3.0.5/16", "IP6": "fd00:3::5/48"], "10.3.0.5/16", "fd00:3::5/48"),
    ])
    func `a node that is not there is made, with its addresses`(
        _ environment: [String: String], v4: String?, v6: String?
    ) async throws {
        try await settings(environment).ensureNode("host-1", in: replica(), host())
        let made = try await object(nodeKey)
        #expect(made["kind"]?.string == "Node")
        #expect(made["metadata"]?["name"]?.string == "host-1")
        #expect(try await isUpdatable(nodeKey))
        #expect(made["spec"]?["bgp"]?["ipv4Address"]?.string == v4)
        #expect(made["spec"]?["bgp"]?["ipv6Address"]?.string == v6)
        // Calico's validator refuses an empty one.
        #expect((made["spec"]?["bgp"] == nil) == (v4 == nil && v6 == nil))
    }

    @Test(
        arguments: [
            (#""bgp":{"ipv4Address":"192.0.2.1/24"}"#, [:]), (#""bgp":{"ipv6Address":"fd00:9::1/64"}"#, [:]),
            ("", ["IP": "none"]),
        ] as [(String, [String: String])])
    func `a node that is there belongs to whoever made it`(spec: String, environment: [String: String]) async throws {
        let text = #"{"metadata":{"name":"host-1"},"spec":{\#(spec)}}"#
        try await put(nodeKey, text)
        try await settings(environment).ensureNode("host-1", in: replica(), host())
        #expect(try await store.get(nodeKey)?.value == Data(text.utf8))
    }

    /// It was made while the host had no default route.
    @Test(arguments: ["", #""bgp":{"asNumber":64512}"#, #""bgp":{"asNumber":64512,"ipv4Address":""}"#])
    func `a node without an address gets one, once, and keeps all else`(bgp: String) async throws {
        let more = bgp.isEmpty ? "" : "," + bgp
        try await put(nodeKey, #"{"metadata":{"name":"host-1","uid":"u"},"spec":{"later":1\#(more)},"status":{}}"#)
        let host = try await host()
        try await settings(["IP6": "autodetect"]).ensureNode("host-1", in: replica(), host)
        let completed = try await object(nodeKey)
        #expect(completed["spec"]?["bgp"]?["ipv4Address"]?.string == "10.3.0.5/24")
        #expect(completed["spec"]?["bgp"]?["ipv6Address"]?.string == "fd00:3::5/64")
        let number: JSONValue? = bgp.isEmpty ? nil : 64512
        #expect(completed["spec"]?["bgp"]?["asNumber"] == number)
        #expect(completed["spec"]?["later"] == .integer(1) && completed["status"] == .object([:]))
        #expect(completed["metadata"]?["uid"]?.string == "u")
        let revision = try await store.get(nodeKey)?.revision
        try await settings(["IP": "10.3.0.5/16"]).ensureNode("host-1", in: replica(), host)
        #expect(try await store.get(nodeKey)?.revision == revision)
    }

    @Test func `a node that another makes meanwhile is left to it`() async throws {
        let replica = try await replica()
        try await put(nodeKey, "{}")
        try await settings().ensureNode("host-1", in: replica, host())
        #expect(try await store.get(nodeKey)?.value == Data("{}".utf8))
    }

    // MARK: Losses

    /// Registers the host as a daemon does, deletes `keys` under it, and waits until its node is there again.
    private func expectNodeAfterLoss(of keys: [Key]) async throws {
        let replica = try await replica()
        let environment = ["CALICO_IPV4POOL_CIDR": "10.5.0.0/16", "CALICO_IPV6POOL_CIDR": "none"]
        let configuration = try Configuration(environment: environment, readFile: { _ in nil }, hostName: "host-1")
        let registration = Registration(
            configuration, in: replica, CommandStore.silent, pauseAfterLoss: .milliseconds(50))
        #expect(await registration.create())
        let news = replica.news(under: .allResources)
        let tasks: [Task<Void, Never>] = [
            Task { await replica.follow() },
            Task { for await changes in news { registration.notice(changes) } },
            Task { await registration.keep(isComplete: true) },
        ]
        defer { for task in tasks { task.cancel() } }
        for key in [nodeKey, informationKey, poolKey] { #expect(try await store.get(key) != nil, "\(key) is made") }
        _ = try await store.commit(Transaction(writes: keys.map { .delete($0) }))
        try await expectSoon(nodeKey)
    }

    private func expectSoon(_ key: Key) async throws {
        for _ in 0..<500 {
            if try await store.get(key) != nil { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("\(key) is not made again")
    }

    @Test func `a node that is deleted is made again, and pools that somebody deleted are not`() async throws {
        try await expectNodeAfterLoss(of: [nodeKey, poolKey])
        // They would come a moment after the node.
        try await Task.sleep(for: .milliseconds(200))
        #expect(try await store.get(poolKey) == nil)
    }

    @Test func `a datastore that is emptied gets its entry and the first pools again`() async throws {
        try await expectNodeAfterLoss(of: [informationKey, nodeKey, poolKey])
        try await expectSoon(poolKey)
        #expect(try await isUpdatable(informationKey))
    }
}
