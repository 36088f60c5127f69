// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Testing

@testable import LibnetworkPlugin

extension ConformanceCase {
    private static let foreign = #"{"AddressSpace":"LocalDefault","Gateway":"172.18.0.1/16","Pool":"172.18.0.0/16"}"#

    static let networks: [ConformanceCase] = [
        .init(
            54, "a plain network is recorded",
            .call("NetworkDriver.CreateNetwork", Sample.create(), .exactly("{}")),
            .leaves(Contents(networks: [Sample.network]))),
        .init(
            55, "enable_ipv4 of engine 28 is understood",
            .call(
                "NetworkDriver.CreateNetwork", Sample.create(options: #","com.docker.network.enable_ipv4":true"#),
                .exactly("{}"))),
        .init(
            56, "a gateway may be missing",
            .call(
                "NetworkDriver.CreateNetwork",
                Sample.create(v4: #"{"AddressSpace":"CalicoAddressSpace","Pool":"0.0.0.0/0"}"#), .exactly("{}"))),
        .init(
            57, "an internal network is recorded as one",
            decision: "Join answers a next hop all the same, see case 83; the checklist leaves it out.",
            .call(
                "NetworkDriver.CreateNetwork", Sample.create(options: #","com.docker.network.internal":true"#),
                .exactly("{}")),
            .holds { $0.record(Sample.network)?.isInternal == true }),
        .init(
            58, "unknown options are refused by name, in order",
            .call("NetworkDriver.CreateNetwork", Sample.create(generic: #"{"REJECT":""}"#), .refused("REJECT")),
            .call(
                "NetworkDriver.CreateNetwork", Sample.create(generic: #"{"b":"1","a":"2","org.projectcalico.x":"3"}"#),
                .refused("a, b, org.projectcalico.x")),
            .leaves(.nothing),
            .call(
                "NetworkDriver.CreateNetwork", Sample.create(generic: #"{"com.docker.network.bridge.name":"br7"}"#),
                .exactly("{}"))),
        .init(
            59, "another IPAM driver's subnet is refused",
            .call(
                "NetworkDriver.CreateNetwork", Sample.create(v4: foreign), .refused("Non-Calico IPAM driver is used")),
            .leaves(.nothing)),
        .init(
            60, "a repeated creation is success and changes nothing",
            .call("NetworkDriver.CreateNetwork", Sample.create(), .exactly("{}")),
            .check { plugin async throws in
                let before = plugin.faults.commits
                #expect(try await plugin.call("NetworkDriver.CreateNetwork", Sample.create()).status == 200)
                #expect(plugin.faults.commits == before)
            }),
        .init(
            61, "a Swarm network's id is accepted",
            .call("NetworkDriver.CreateNetwork", Sample.create("qazi7mnpl7brx0k2c9w1vyt4u"), .exactly("{}"))),
        .init(
            62, "a network may have IPv6 only",
            .call("NetworkDriver.CreateNetwork", Sample.create(v4: "", v6: Sample.subnet6), .exactly("{}")),
            .holds { $0.record(Sample.network)?.subnets == [CIDR("::/0")].compactMap(\.self) }),
        .init(
            63, "an id that is none is refused",
            .call("NetworkDriver.CreateNetwork", Sample.create(""), .refused("not a network id")),
            .call("NetworkDriver.CreateNetwork", Sample.create("../../x"), .refused("not a network id"))),
        .init(
            64, "deletion is success, however often, known or not",
            .call("NetworkDriver.CreateNetwork", Sample.create(), .exactly("{}")),
            .call("NetworkDriver.DeleteNetwork", Sample.networkID, .exactly("{}")),
            .call("NetworkDriver.DeleteNetwork", Sample.networkID, .exactly("{}")),
            .call("NetworkDriver.DeleteNetwork", #"{"NetworkID":"never"}"#, .exactly("{}")),
            .leaves(.nothing)),
    ]

    static let endpoints: [ConformanceCase] = [
        .init(
            65, "an endpoint without a MAC is told one, and nothing else",
            .call("NetworkDriver.CreateNetwork", Sample.create(), .answered),
            .call(
                "NetworkDriver.CreateEndpoint", Sample.endpoint(),
                .meets { reply in
                    reply["Interface"]?.object?.keys.sorted() == ["MacAddress"]
                        && reply["Interface"]?["MacAddress"]?.string.flatMap { MACAddress($0) }?.isUsable == true
                }),
            .check { plugin async throws in
                let endpoint = try #require(try plugin.endpoint(Sample.endpoint))
                #expect(endpoint.spec.ipNetworks.map(\.description) == ["192.168.5.5/32"])
                #expect(endpoint.spec.interfaceName == "calib2b2b2b2b2b")
                #expect(endpoint.metadata.labels["projectcalico.org/orchestrator"] == "libnetwork")
            }),
        .init(
            66, "a given MAC is kept and not echoed",
            .call(
                "NetworkDriver.CreateEndpoint", Sample.endpoint(mac: "02:42:AC:11:22:33"),
                .exactly(#"{"Interface":{}}"#)),
            .holds { try $0.endpoint(Sample.endpoint)?.spec.mac == "02:42:ac:11:22:33" }),
        .init(
            67, "both families' addresses are written, IPv4 first",
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint(v6: "fd00:1::5/128"), .answered),
            .holds {
                try $0.endpoint(Sample.endpoint)?.spec.ipNetworks.map(\.description) == [
                    "192.168.5.5/32", "fd00:1::5/128",
                ]
            }),
        .init(
            68, "an endpoint without an address is refused",
            .call(
                "NetworkDriver.CreateEndpoint", Sample.endpoint(v4: ""), .refused("No address assigned for endpoint")),
            .call(
                "NetworkDriver.CreateEndpoint",
                #"{"NetworkID":"\#(Sample.network)","EndpointID":"\#(Sample.endpoint)","Interface":null}"#,
                .refused("No address assigned for endpoint")),
            .leaves(.nothing)),
        .init(
            69, "nonsense is no address of an endpoint",
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint(v4: "x"), .refused("\"x\""))),
        .init(
            70, "an id that is none is refused",
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint("abc"), .refused("not an endpoint id")),
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint("a/../../../b"), .refused("not an endpoint id")),
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint("abcdef"), .answered)),
        .init(
            71, "an endpoint on a network that nobody told us of works",
            .check {
                $0.engine.learn(Sample.network, .init(name: "web", options: ["org.projectcalico.label.tier": "front"]))
            },
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint(), .answered),
            .check { plugin async throws in
                #expect(try plugin.endpoint(Sample.endpoint)?.spec.profiles == ["web"])
                #expect(try plugin.endpoint(Sample.endpoint)?.metadata.labels["tier"] == "front")
                #expect(plugin.record(Sample.network)?.name == "web")
            },
            .call("NetworkDriver.Join", Sample.join, .answered)),
        .init(
            72, "a repeated endpoint is success with the same MAC",
            .check { plugin async throws in
                let first = try await plugin.call("NetworkDriver.CreateEndpoint", Sample.endpoint())
                let before = plugin.faults.commits
                let second = try await plugin.call("NetworkDriver.CreateEndpoint", Sample.endpoint())
                #expect(first.status == 200 && first.json == second.json)
                #expect(plugin.faults.commits == before)
            }),
        .init(
            73, "a MAC in base64 and a port map among the options do no harm",
            .call(
                "NetworkDriver.CreateEndpoint",
                Sample.endpoint(
                    options:
                        #"{"com.docker.network.endpoint.macaddress":"AkKsEQAC","com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":8080}]}"#
                ),
                .answered)),
        .init(
            74, "driver options of others are accepted, unknown ones of ours refused",
            .call(
                "NetworkDriver.CreateEndpoint",
                Sample.endpoint(options: #"{"foo":"bar","org.projectcalico.label.role":"db"}"#), .answered),
            .holds { try $0.endpoint(Sample.endpoint)?.metadata.labels["role"] == "db" },
            .call(
                "NetworkDriver.CreateEndpoint", Sample.endpoint(options: #"{"org.projectcalico.nope":"1"}"#),
                .refused("org.projectcalico.nope"))),
        .init(
            75, "an endpoint that could not be written leaves nothing",
            .call("NetworkDriver.CreateNetwork", Sample.create(), .answered),
            .check { $0.faults.fail(after: 0) },
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint(), .refused("the disk is on fire")),
            .check { plugin async throws in
                plugin.faults.fail(after: nil)
                #expect(try await plugin.contents() == Contents(networks: [Sample.network]))
            }),
        .init(
            76, "deletion of an endpoint is success, however often, known or not",
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint(), .answered),
            .call("NetworkDriver.DeleteEndpoint", Sample.ids, .exactly("{}")),
            .holds { try $0.endpoint(Sample.endpoint) == nil },
            .call("NetworkDriver.DeleteEndpoint", Sample.ids, .exactly("{}")),
            .call("NetworkDriver.DeleteEndpoint", #"{"NetworkID":"x","EndpointID":"\#(Sample.other)"}"#, .exactly("{}"))
        ),
    ]
}
