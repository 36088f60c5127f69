// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Foundation
import Testing

@Suite struct `A resource on the wire` {
    @Test func `keeps unknown members of envelope, metadata and spec`() throws {
        let json = """
            {"kind":"IPPool","apiVersion":"projectcalico.org/v3","status":{"conditions":[]},
             "metadata":{"name":"pool1","uid":"u","creationTimestamp":"2026-08-22T13:33:20Z","generation":3,
               "annotations":{"a":"b"},"resourceVersion":"7","selfLink":"/x"},
             "spec":{"cidr":"10.65.0.0/16","vxlanMode":"CrossSubnet","ipipMode":"Never","natOutgoing":true,
               "blockSize":27,"nodeSelector":"all()","allowedUses":["Workload"],"disableBGPExport":true}}
            """
        let pool = try decoded(IPPool.self, json)
        var expected = try #require(try decoded(JSONValue.self, json).object)
        var metadata = try #require(expected["metadata"]?.object)
        metadata["resourceVersion"] = nil
        metadata["selfLink"] = nil
        expected["metadata"] = .object(metadata)
        #expect(try encoded(pool) == .object(expected))
        #expect(pool.spec.blockPrefixLength == 27 && pool.spec.natOutgoing && pool.spec.isAutomatic)
    }

    @Test func `of a node keeps unknown members inside bgp, and leaves an empty bgp out`() throws {
        let json = """
            {"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"n","creationTimestamp":null},
             "spec":{"bgp":{"ipv4Address":"10.0.0.5/24","asNumber":64512},"vxlanTunnelMACAddr":"66:00:00:00:00:01"},
             "status":{}}
            """
        var node = try decoded(Node.self, json)
        #expect(try encoded(node) == decoded(JSONValue.self, json))
        node.spec.bgp = NodeSpec.BGP()
        #expect(try encoded(node)["spec"] == ["vxlanTunnelMACAddr": "66:00:00:00:00:01"])
    }

    @Test func `of a workload endpoint keeps unknown members and accepts bare addresses`() throws {
        let json = """
            {"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3",
             "metadata":{"name":"n-libnetwork-libnetwork-e","namespace":"libnetwork","creationTimestamp":null},
             "spec":{"orchestrator":"libnetwork","workload":"libnetwork","node":"n","endpoint":"e",
               "ipNetworks":["10.65.0.2","fd00::2/128"],"interfaceName":"cali1","qosControls":{"dscp":"AF11"}}}
            """
        let endpoint = try decoded(WorkloadEndpoint.self, json)
        #expect(endpoint.spec.addresses == [address("10.65.0.2"), address("fd00::2")])
        #expect(try encoded(endpoint)["spec"]?["qosControls"] == ["dscp": "AF11"])
        #expect(try encoded(endpoint)["spec"]?["ipNetworks"] == ["10.65.0.2/32", "fd00::2/128"])
        try endpoint.validate()
    }

    @Test func `of Felix's configuration tells two settings and keeps the others`() throws {
        let text =
            #"{"kind":"FelixConfiguration","apiVersion":"projectcalico.org/v3","metadata":{"name":"default","creationTimestamp":null},"#
            + #""spec":{"workloadSourceSpoofing":"Any","interfacePrefix":"cali,tap","bpfEnabled":false}}"#
        let configuration = try JSONDecoder().decode(FelixConfiguration.self, from: Data(text.utf8))
        #expect(configuration.spec.workloadSourceSpoofing == "Any")
        #expect(configuration.spec.interfacePrefix == "cali,tap")
        #expect(configuration.key.path.hasSuffix("/felixconfigurations/default"))
        let written = try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(configuration))
        #expect(try written == JSONDecoder().decode(JSONValue.self, from: Data(text.utf8)))
    }

    @Test func `gets a uid and a whole-second time when it is new, and keeps those it has`() {
        let metadata = ResourceMetadata(name: "a").asCreated(now: Date(timeIntervalSince1970: 1_787_405_600.9))
        #expect(metadata.creationTimestamp == "2026-08-22T13:33:20Z")
        #expect(metadata.uid?.count == 36 && metadata.uid == metadata.uid?.lowercased())
        #expect(metadata.asCreated() == metadata)
    }

    @Test(arguments: [
        "2026-08-22T13:33:20Z", "2026-08-22T13:33:20.5Z", "2026-08-22T13:33:20.123456789Z",
        "2026-08-22T15:33:20+02:00",
    ])
    func `reads a time in each of Go's forms`(text: String) {
        #expect(Timestamp.date(text) == Date(timeIntervalSince1970: 1_787_405_600))
    }

    @Test func `nonsense is no time`() { #expect(Timestamp.date("soon") == nil && Timestamp.date(".") == nil) }
}

@Suite struct `Validating a resource` {
    struct PoolCase: Sendable, CustomTestStringConvertible {
        let change: @Sendable (inout IPPoolSpec) -> Void
        let field: String?
        let cidr: String
        var testDescription: String { "\(cidr) \(field ?? "valid")" }

        init(
            _ field: String?, _ cidr: String = "10.0.0.0/16",
            _ change: @escaping @Sendable (inout IPPoolSpec) -> Void = { _ in }
        ) {
            self.change = change
            self.field = field
            self.cidr = cidr
        }
    }

    private static let pools = [
        PoolCase(nil), PoolCase(nil, "fd00::/48"), PoolCase(nil, "10.0.0.0/26"),
        PoolCase("spec.cidr", "169.254.3.0/24"), PoolCase("spec.cidr", "169.0.0.0/8"),
        PoolCase("spec.cidr", "fe80::/64"),
        PoolCase("spec.cidr", "10.0.0.0/27"), PoolCase(nil, "10.0.0.0/27") { $0.disabled = true },
        PoolCase(nil, "10.0.0.0/27") { $0.blockSize = 28 },
        PoolCase("spec.blockSize") { $0.blockSize = 19 }, PoolCase(nil) { $0.blockSize = 20 },
        PoolCase(nil) { $0.blockSize = 32 }, PoolCase("spec.blockSize") { $0.blockSize = 33 },
        PoolCase("spec.blockSize", "fd00::/48") { $0.blockSize = 115 },
        PoolCase(nil, "fd00::/48") { $0.blockSize = 116 }, PoolCase(nil, "fd00::/48") { $0.blockSize = 128 },
        PoolCase("spec.vxlanMode") {
            $0.vxlanMode = .always; $0.ipipMode = .crossSubnet
        },
        PoolCase("spec.ipipMode", "fd00::/48") { $0.ipipMode = .always },
        PoolCase("spec.nodeSelector") { $0.nodeSelector = "has(" }, PoolCase(nil) { $0.nodeSelector = "has(rack)" },
        PoolCase("spec.namespaceSelector") { $0.namespaceSelector = "&&" },
        PoolCase("spec.allowedUses") { $0.allowedUses = ["Dancing"] },
        PoolCase("spec.allowedUses") { $0.allowedUses = ["LoadBalancer", "Workload"] },
        PoolCase("spec.allowedUses") {
            $0.allowedUses = ["LoadBalancer"]; $0.vxlanMode = .always
        },
        PoolCase("spec.nodeSelector") {
            $0.allowedUses = ["LoadBalancer"]; $0.nodeSelector = "has(a)"
        },
        PoolCase("spec.namespaceSelector") {
            $0.allowedUses = ["Tunnel"]; $0.namespaceSelector = "has(a)"
        },
    ]

    @Test(arguments: pools) func `refuses a pool that Calico refuses, naming the field`(_ example: PoolCase) {
        var pool = IPPool(metadata: ResourceMetadata(name: "pool1"), spec: IPPoolSpec(cidr: CIDR(example.cidr)!))
        example.change(&pool.spec)
        #expect(failedField(of: pool) == example.field)
    }

    @Test(arguments: [
        ("pool1", true), ("a.b-c.d", true), ("0", true), ("", false), ("Pool", false), ("-a", false), ("a-", false),
        ("a..b", false), ("a_b", false), (String(repeating: "a", count: 253), true),
        (String(repeating: "a", count: 254), false), ("a/b", false), ("é", false),
    ])
    func `takes DNS names only`(name: String, isValid: Bool) {
        let pool = IPPool(metadata: ResourceMetadata(name: name), spec: IPPoolSpec(cidr: CIDR("10.0.0.0/16")!))
        #expect((failedField(of: pool) == nil) == isValid)
    }

    @Test(arguments: [
        ("pool1", "", true), ("example.org/a.b_c", "v-1", true), ("a", String(repeating: "v", count: 63), true),
        ("a", String(repeating: "v", count: 64), false), ("", "", false), ("/a", "", false), ("a/", "", false),
        ("a/b/c", "", false), ("-a", "", false), ("a", "v-", false), ("UPPER", "Ok", true), ("Up.er/a", "", false),
    ])
    func `takes Kubernetes labels only, in metadata and in a profile`(key: String, value: String, isValid: Bool) {
        let profile = Profile(metadata: ResourceMetadata(name: "p"), spec: ProfileSpec(labelsToApply: [key: value]))
        #expect((failedField(of: profile) == nil) == isValid)
        var metadata = ResourceMetadata(name: "p")
        metadata.labels = [key: value]
        #expect((failedField(of: Profile(metadata: metadata, spec: ProfileSpec())) == nil) == isValid)
    }

    @Test func `refuses an endpoint that Calico refuses, naming the field`() {
        let endpoint = sampleEndpoint()
        #expect(failedField(of: endpoint) == nil)
        let changes: [(String, (inout WorkloadEndpoint) -> Void)] = [
            ("metadata.namespace", { $0.metadata.namespace = nil }), ("metadata.name", { $0.metadata.name = "other" }),
            ("spec.interfaceName", { $0.spec.interfaceName = "" }),
            ("spec.interfaceName", { $0.spec.interfaceName = "cali0123456789ab" }),
            ("spec.interfaceName", { $0.spec.interfaceName = "ca/li" }),
            ("spec.ipNetworks", { $0.spec.ipNetworks = [CIDR("10.0.0.0/31")!] }),
            ("spec.mac", { $0.spec.mac = "ee:ee" }), ("spec.profiles", { $0.spec.profiles = ["Upper"] }),
            ("spec.endpoint", { $0.spec.endpoint = "" }),
        ]
        for (field, change) in changes {
            var changed = endpoint
            change(&changed)
            #expect(failedField(of: changed) == field)
        }
    }

    private func sampleEndpoint() -> WorkloadEndpoint {
        let spec = WorkloadEndpointSpec(
            orchestrator: "libnetwork", workload: "libnetwork", node: "a-b", endpoint: "e1",
            ipNetworks: [CIDR("10.0.0.1/32")!], profiles: ["p"], interfaceName: "cali0123456789a",
            mac: MACAddress("ee:ee:ee:ee:ee:ee"))
        return WorkloadEndpoint(
            metadata: ResourceMetadata(name: "a--b-libnetwork-libnetwork-e1", namespace: "libnetwork"), spec: spec)
    }

    private func failedField(of resource: Resource<some ResourceSpec>) -> String? {
        do throws(ValidationError) {
            try resource.validate()
            return nil
        } catch { return error.field }
    }
}

@Suite struct `A workload endpoint's name` {
    private func name(_ node: String, _ endpoint: String, orchestrator: String = "libnetwork") throws -> String {
        try WorkloadEndpointName(
            WorkloadEndpointSpec(
                orchestrator: orchestrator, workload: "w-1", node: node, endpoint: endpoint, ipNetworks: [],
                profiles: [], interfaceName: "cali1", mac: nil)
        ).text
    }

    @Test(arguments: [
        ("a-b", "e1", "a--b-libnetwork-libnetwork-e1"),
        ("docker-host-1", "ab12", "docker--host--1-libnetwork-libnetwork-ab12"),
        ("a--b", "e", "a----b-libnetwork-libnetwork-e"),
    ])
    func `doubles dashes and comes apart again`(node: String, endpoint: String, expected: String) throws {
        let text = try name(node, endpoint)
        #expect(text == expected)
        #expect(WorkloadEndpointName.parts(of: text) == [node, "libnetwork", "libnetwork", endpoint])
    }

    @Test func `uses the workload for other orchestrators`() throws {
        #expect(try name("n", "e", orchestrator: "nomad") == "n-nomad-w--1-e")
    }

    @Test(arguments: [("a-", "e"), ("-a", "e"), ("", "e"), ("a", ""), ("a", "e-")])
    func `cannot be made of identifiers that are empty or end in a dash`(node: String, endpoint: String) {
        #expect(throws: ValidationError.self) { try name(node, endpoint) }
    }

    @Test func `has a prefix per node`() throws { #expect(try WorkloadEndpointName.prefix(node: "a-b") == "a--b-") }

    @Test(arguments: ["", "a", "a-b-c", "a-b-c-d-e"]) func `has four parts`(text: String) {
        #expect(WorkloadEndpointName.parts(of: text) == nil)
    }
}
