// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import IPAM
import Testing

@testable import LibnetworkPlugin

extension ConformanceCase {
    private static let any4 =
        #"{"PoolID":"CalicoPoolIPv4","Pool":"0.0.0.0/0","Data":{"com.docker.network.gateway":"0.0.0.0/0"}}"#
    private static let any6 = #"{"PoolID":"CalicoPoolIPv6","Pool":"::/0","Data":{"com.docker.network.gateway":"::/0"}}"#
    private static let p4 =
        #"{"PoolID":"p4","Pool":"192.168.0.0/16","Data":{"com.docker.network.gateway":"0.0.0.0/0"}}"#

    static let requestPool: [ConformanceCase] = [
        .init(20, "no subnet means any IPv4 pool", .call("IpamDriver.RequestPool", Sample.anyPool4, .exactly(any4))),
        .init(
            21, "no subnet and V6 means any IPv6 pool",
            .call("IpamDriver.RequestPool", Sample.pool("", v6: true), .exactly(any6))),
        .init(
            22, "a pool's CIDR means that pool",
            .call("IpamDriver.RequestPool", Sample.pool("192.168.0.0/16"), .exactly(p4))),
        .init(
            23, "host bits are dropped", .call("IpamDriver.RequestPool", Sample.pool("192.168.7.9/16"), .exactly(p4))),
        .init(
            24, "a subnet outside all pools is refused",
            .call(
                "IpamDriver.RequestPool", Sample.pool("10.9.0.0/24"),
                .refused("The requested subnet must match the CIDR of a configured Calico IP Pool"))),
        .init(
            25, "0.0.0.0/0 means any pool", .call("IpamDriver.RequestPool", Sample.pool("0.0.0.0/0"), .exactly(any4))),
        .init(
            26, "an IPv6 pool's CIDR means that pool",
            .call(
                "IpamDriver.RequestPool", Sample.pool("fd00:1::/64", v6: true),
                .including(#"{"PoolID":"p6","Pool":"fd00:1::/64"}"#))),
        .init(
            27, "a subnet of the other family is refused",
            .call("IpamDriver.RequestPool", Sample.pool("192.168.0.0/16", v6: true), .refused("not an IPv6 subnet")),
            .call("IpamDriver.RequestPool", Sample.pool("0.0.0.0/0", v6: true), .refused("not an IPv6 subnet"))),
        .init(28, "nonsense is no CIDR", .call("IpamDriver.RequestPool", Sample.pool("abc"), .refused("Invalid CIDR"))),
        .init(
            29, "an ip-range narrows automatic assignment",
            decision: "The checklist allows a refusal; Docker documents the option, so it works.",
            .call(
                "IpamDriver.RequestPool", Sample.pool("192.168.0.0/16", sub: "192.168.1.0/24"),
                .including(##"{"PoolID":"p4#192.168.1.0/24","Pool":"192.168.0.0/16"}"##)),
            .call("IpamDriver.RequestAddress", Sample.address("p4#192.168.1.0/24"), .meets(isIn("192.168.1.0/24"))),
            .call("IpamDriver.RequestAddress", Sample.address("p4#192.168.1.0/24", "192.168.9.9"), .answered),
            .call(
                "IpamDriver.RequestPool", Sample.pool("192.168.0.0/16", sub: "10.0.0.0/24"), .refused("does not lie in")
            ),
            .call("IpamDriver.RequestPool", Sample.pool("", sub: "192.168.1.0/24"), .refused("needs a --subnet"))),
        .init(
            30, "Swarm's options are accepted, others refused by name",
            .call(
                "IpamDriver.RequestPool",
                Sample.pool(
                    "",
                    options:
                        #"{"com.docker.network.ipam.serial":"true","RequestAddressType":"com.docker.network.gateway"}"#),
                .answered),
            .call("IpamDriver.RequestPool", Sample.pool("", options: #"{"x":"y","a":"b"}"#), .refused("a, x"))),
        .init(
            31, "a pool may be asked for twice",
            .call("IpamDriver.RequestPool", Sample.pool("192.168.0.0/16"), .exactly(p4)),
            .call("IpamDriver.RequestPool", Sample.pool("192.168.0.0/16"), .exactly(p4))),
        .init(
            32, "an engine that asks in a loop is stopped",
            .check { plugin async throws in
                var refusals: [String] = []
                // Only 64 in one second are a loop, and tests beside this one may leave it fewer for a while.
                for _ in 0..<5_000 where refusals.isEmpty {
                    if let refusal = try await plugin.call("IpamDriver.RequestPool", Sample.anyPool4).refusal {
                        refusals.append(refusal)
                    }
                }
                #expect(refusals.first?.contains("over and over") == true)
            }),
        .init(
            33, "any pool can be released, and nothing changes",
            .call("IpamDriver.ReleasePool", #"{"PoolID":"p4"}"#, .exactly("{}")),
            .call("IpamDriver.ReleasePool", #"{"PoolID":"nobody"}"#, .exactly("{}")),
            .call("IpamDriver.ReleasePool", #"{"PoolID":""}"#, .exactly("{}")),
            .call("IpamDriver.RequestPool", Sample.pool("192.168.0.0/16"), .exactly(p4))),
    ]

    static let addresses: [ConformanceCase] = [
        .init(
            34, "any pool gives an IPv4 address",
            .call("IpamDriver.RequestAddress", Sample.address("CalicoPoolIPv4"), .meets(isIn("192.168.0.0/16")))),
        .init(
            35, "a pool gives one of its own",
            .call("IpamDriver.RequestAddress", Sample.address("p4"), .meets(isIn("192.168.0.0/16")))),
        .init(
            36, "any pool gives an IPv6 address",
            .call("IpamDriver.RequestAddress", Sample.address("CalicoPoolIPv6"), .meets(isIn("fd00:1::/64")))),
        .init(
            37, "a free address is given as asked",
            .call(
                "IpamDriver.RequestAddress", Sample.address("CalicoPoolIPv4", "192.168.5.5"),
                .exactly(#"{"Address":"192.168.5.5/32","Data":{}}"#))),
        .init(
            38, "a taken address is refused",
            .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .answered),
            .call(
                "IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"),
                .refused("192.168.5.5 is already assigned"))),
        .init(
            39, "an address outside all pools is refused",
            .call(
                "IpamDriver.RequestAddress", Sample.address("CalicoPoolIPv4", "10.1.2.3"),
                .refused("not in a configured and enabled IP pool")),
            .call(
                "IpamDriver.RequestAddress", Sample.address("p4", "10.1.2.3"), .refused("not in this network's subnet"))
        ),
        .init(
            40, "nonsense is no address",
            .call("IpamDriver.RequestAddress", Sample.address("p4", "not-an-ip"), .refused("not an IP address"))),
        .init(
            41, "an address of the other family is refused",
            .call("IpamDriver.RequestAddress", Sample.address("p4", "fd00:1::5"), .refused("family"))),
        .init(
            42, "a gateway address is refused",
            .call(
                "IpamDriver.RequestAddress", Sample.address("p4", "192.168.0.1", options: gateway),
                .refused("Calico IPAM does not support specifying a gateway.")),
            .leaves(.nothing)),
        .init(
            43, "the gateway that is none is confirmed and allocates nothing",
            .call(
                "IpamDriver.RequestAddress", Sample.address("CalicoPoolIPv4", "0.0.0.0", options: gateway),
                .including(#"{"Address":"0.0.0.0/0"}"#)),
            .call(
                "IpamDriver.RequestAddress", Sample.address("CalicoPoolIPv4", "", options: gateway),
                .including(#"{"Address":"0.0.0.0/0"}"#)),
            .call(
                "IpamDriver.RequestAddress", Sample.address("CalicoPoolIPv6", "::", options: gateway),
                .including(#"{"Address":"::/0"}"#)),
            .call(
                "IpamDriver.RequestAddress", Sample.address("CalicoPoolIPv4", "0.0.0.0"),
                .including(#"{"Address":"0.0.0.0/0"}"#)),
            .leaves(.nothing)),
        .init(
            44, "a container's name is kept with its address and its endpoint",
            .call(
                "IpamDriver.RequestAddress",
                Sample.address("p4", "192.168.5.5", options: #"{"com.docker.network.endpoint.name":"web"}"#), .answered),
            .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .refused("container web")),
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint(), .answered),
            .holds { try $0.endpoint(Sample.endpoint)?.containerName == "web" }),
        .init(
            45, "an unknown pool is refused",
            .call("IpamDriver.RequestAddress", Sample.address("nobody"), .refused("nobody")),
            .call("IpamDriver.RequestAddress", Sample.address(""), .refused("there is no pool"))),
        .init(
            46, "a full pool is refused, and nothing half-done stays", pools: ["tiny": "10.0.0.0/30"],
            .check { plugin async throws in try await fillTinyPool(plugin) }),
        .init(
            47, "100 requests at once get 100 addresses",
            .holds { plugin in try await Set(plugin.manyAddresses(100)).count == 100 }),
    ]

    static let releases: [ConformanceCase] = [
        .init(
            48, "a released address is free",
            .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .answered),
            .call("IpamDriver.ReleaseAddress", Sample.release("192.168.5.5"), .exactly("{}")),
            .leaves(.nothing),
            .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .answered)),
        .init(
            49, "a second release is success",
            .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .answered),
            .call("IpamDriver.ReleaseAddress", Sample.release("192.168.5.5"), .exactly("{}")),
            .call("IpamDriver.ReleaseAddress", Sample.release("192.168.5.5"), .exactly("{}"))),
        .init(
            50, "the gateway that is none can be released",
            .call("IpamDriver.ReleaseAddress", Sample.release("0.0.0.0"), .exactly("{}")),
            .call("IpamDriver.ReleaseAddress", Sample.release("::", pool: "CalicoPoolIPv6"), .exactly("{}"))),
        .init(
            51, "releasing no address frees nothing",
            .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .answered),
            .call("IpamDriver.ReleaseAddress", Sample.release(""), .exactly("{}")),
            .holds { try await $0.contents().addresses == ["192.168.5.5"] }),
        .init(
            52, "a CIDR is taken for its address",
            .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .answered),
            .call("IpamDriver.ReleaseAddress", Sample.release("192.168.5.5/32"), .exactly("{}")),
            .leaves(.nothing)),
        .init(
            53, "another orchestrator's address stays",
            .check { plugin async throws in
                _ = try await plugin.allocator.assign(
                    .init(
                        family: .v4, address: IPAddress("192.168.5.5"),
                        owner: .init(handleID: "k8s-pod-network.0123", secondary: ["node": Plugin.node, "pod": "web"])))
            },
            .call("IpamDriver.ReleaseAddress", Sample.release("192.168.5.5"), .exactly("{}")),
            .holds { try await $0.contents().addresses == ["192.168.5.5"] },
            .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .refused("pod web"))),
    ]

    private static let gateway = #"{"RequestAddressType":"com.docker.network.gateway"}"#

    private static func isIn(_ cidr: String) -> @Sendable (Reply) throws -> Bool {
        { reply in
            let pool = try #require(CIDR(cidr))
            let text = try #require(reply["Address"]?.string)
            let given = try #require(CIDR(text))
            return given.isSingleAddress && pool.contains(given.address) && reply["Data"]?.object == [:]
        }
    }

    private static func fillTinyPool(_ plugin: Plugin) async throws {
        let key = Key.resource(IPPoolSpec.self, name: "tiny")
        var pool = IPPool(
            metadata: ResourceMetadata(name: "tiny").asCreated(),
            spec: IPPoolSpec(cidr: try #require(CIDR("10.0.0.0/30"))))
        pool.spec.blockSize = 30
        _ = try await plugin.store.commit(Transaction(writes: [.put(key, pool)]))
        await plugin.replica.refresh()
        #expect(try await Set(plugin.manyAddresses(4)).count == 4)
        let full = try await plugin.contents()
        let reply = try await plugin.call("IpamDriver.RequestAddress", Sample.address("tiny"))
        #expect(reply.refusal?.contains("no free address") == true, "\(reply)")
        #expect(try await plugin.contents() == full)
    }
}

extension Plugin {
    /// Addresses from any IPv4 pool, asked for at once.
    func manyAddresses(_ count: Int) async throws -> [String] {
        try await withThrowingTaskGroup(of: String.self) { group in
            for number in 0..<count {
                group.addTask {
                    let reply = try await Life(number).requestAddress("CalicoPoolIPv4", self)
                    return try #require(reply.address, "\(reply)")
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }
}

/// Waits for what happens soon, without a fixed delay.
func eventually(
    within limit: Duration = .seconds(10), sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now.advanced(by: limit)
    while ContinuousClock.now < end {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record("did not happen within \(limit)", sourceLocation: sourceLocation)
}
