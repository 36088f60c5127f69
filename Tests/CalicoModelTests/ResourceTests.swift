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

    @Test func `of a workload endpoint has ports that Go writes with every member, set or not`() throws {
        let json = """
            [{"name":"web","protocol":"TCP","port":80,"hostPort":0,"hostIP":"","later":{"a":1}},
             {"name":"","protocol":"UDP","port":53,"hostPort":8053,"hostIP":"10.0.0.5"}]
            """
        let ports = try decoded([EndpointPort].self, json)
        var named = EndpointPort(name: "web", protocol: .tcp, port: 80)
        named.unknown = ["later": ["a": 1]]
        #expect(ports == [named, EndpointPort(protocol: .udp, port: 53, hostPort: 8053, hostIP: "10.0.0.5")])
        #expect(
            try encoded(ports) == [
                ["name": "web", "protocol": "TCP", "port": 80, "later": ["a": 1]],
                ["protocol": "UDP", "port": 53, "hostPort": 8053, "hostIP": "10.0.0.5"],
            ])
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
        /// Field and reason; `nil` where it is valid.
        let failure: String?
        let cidr: String
        var testDescription: String { "\(cidr) \(failure ?? "valid")" }

        init(
            _ failure: String?, _ cidr: String = "10.0.0.0/16",
            _ change: @escaping @Sendable (inout IPPoolSpec) -> Void = { _ in }
        ) {
            self.change = change
            self.failure = failure
            self.cidr = cidr
        }
    }

    private static let pools = [
        PoolCase(nil), PoolCase(nil, "fd00::/48"), PoolCase(nil, "10.0.0.0/26"),
        PoolCase("spec.cidr: 169.254.3.0/24 overlaps the link-local range 169.254.0.0/16", "169.254.3.0/24"),
        PoolCase("spec.cidr: 169.0.0.0/8 overlaps the link-local range 169.254.0.0/16", "169.0.0.0/8"),
        PoolCase("spec.cidr: fe80::/64 overlaps the link-local range fe80::/10", "fe80::/64"),
        PoolCase("spec.cidr: 10.0.0.0/27 is smaller than one block of /26; choose a larger block size", "10.0.0.0/27"),
        PoolCase(nil, "10.0.0.0/27") { $0.disabled = true },
        PoolCase(nil, "10.0.0.0/27") { $0.blockSize = 28 },
        PoolCase("spec.blockSize: 19 is not in 20...32") { $0.blockSize = 19 },
        PoolCase(nil) { $0.blockSize = 20 }, PoolCase(nil) { $0.blockSize = 32 },
        PoolCase("spec.blockSize: 33 is not in 20...32") { $0.blockSize = 33 },
        PoolCase("spec.blockSize: 115 is not in 116...128", "fd00::/48") { $0.blockSize = 115 },
        PoolCase(nil, "fd00::/48") { $0.blockSize = 116 }, PoolCase(nil, "fd00::/48") { $0.blockSize = 128 },
        PoolCase("spec.vxlanMode: a pool cannot use VXLAN and IPIP at once") {
            $0.vxlanMode = .always; $0.ipipMode = .crossSubnet
        },
        PoolCase("spec.ipipMode: IPIP is for IPv4 only", "fd00::/48") { $0.ipipMode = .always },
        PoolCase("spec.nodeSelector: selector \"has(\" at byte 4: ") { $0.nodeSelector = "has(" },
        PoolCase(nil) { $0.nodeSelector = "has(rack)" },
        PoolCase("spec.nodeSelector: global() selects no nodes or namespaces") { $0.nodeSelector = "global()" },
        PoolCase("spec.nodeSelector: global() selects no nodes or namespaces") {
            $0.nodeSelector = "a == 'b' || !(global() && has(c))"
        },
        PoolCase(nil) { $0.nodeSelector = "a == 'global()'" },
        PoolCase("spec.namespaceSelector: selector \"&&\" at byte 0: ") { $0.namespaceSelector = "&&" },
        PoolCase("spec.namespaceSelector: global() selects no nodes or namespaces") {
            $0.namespaceSelector = "global()"
        },
        PoolCase("spec.allowedUses: \"Dancing\" is not Workload, Tunnel or LoadBalancer") {
            $0.allowedUses = ["Dancing"]
        },
        PoolCase("spec.allowedUses: LoadBalancer excludes every other use") {
            $0.allowedUses = ["LoadBalancer", "Workload"]
        },
        PoolCase("spec.allowedUses: a pool for LoadBalancer has no encapsulation") {
            $0.allowedUses = ["LoadBalancer"]; $0.vxlanMode = .always
        },
        PoolCase("spec.allowedUses: a pool for LoadBalancer cannot have disableBGPExport") {
            $0.allowedUses = ["LoadBalancer"]; $0.unknown["disableBGPExport"] = .bool(true)
        },
        PoolCase(nil) {
            $0.allowedUses = ["LoadBalancer"]; $0.unknown["disableBGPExport"] = .bool(false)
        },
        PoolCase("spec.nodeSelector: a pool for LoadBalancer selects all()") {
            $0.allowedUses = ["LoadBalancer"]; $0.nodeSelector = "has(a)"
        },
        PoolCase("spec.namespaceSelector: a pool with the use Tunnel cannot select namespaces") {
            $0.allowedUses = ["Tunnel"]; $0.namespaceSelector = "has(a)"
        },
    ]

    @Test(arguments: pools) func `refuses a pool that Calico refuses, naming field and reason`(_ example: PoolCase) {
        var pool = IPPool(metadata: ResourceMetadata(name: "pool1"), spec: IPPoolSpec(cidr: CIDR(example.cidr)!))
        example.change(&pool.spec)
        expect(pool, fails: example.failure)
    }

    @Test(
        arguments: [
            ("10.0.0.0/16", .never, .never, 0), ("10.0.0.0/16", .crossSubnet, .never, 50),
            ("fd00::/48", .always, .never, 70), ("10.0.0.0/16", .never, .always, 20),
        ] as [(String, IPPoolSpec.Encapsulation, IPPoolSpec.Encapsulation, Int)])
    func `of a pool tells what its encapsulation adds to a packet`(
        cidr: String, vxlan: IPPoolSpec.Encapsulation, ipip: IPPoolSpec.Encapsulation, bytes: Int
    ) {
        var spec = IPPoolSpec(cidr: CIDR(cidr)!)
        (spec.vxlanMode, spec.ipipMode) = (vxlan, ipip)
        #expect(spec.encapsulationOverhead == bytes)
    }

    @Test(arguments: [
        ("pool1", true), ("a.b-c.d", true), ("0", true), ("", false), ("Pool", false), ("-a", false), ("a-", false),
        ("a..b", false), ("a_b", false), (String(repeating: "a", count: 253), true),
        (String(repeating: "A", count: 254), false), ("a/b", false), ("é", false),
    ])
    func `takes DNS names only`(name: String, isValid: Bool) {
        let pool = IPPool(metadata: ResourceMetadata(name: name), spec: IPPoolSpec(cidr: CIDR("10.0.0.0/16")!))
        expect(
            pool,
            fails: isValid
                ? nil : "metadata.name: \"\(name)\" must consist of lower-case letters, digits, '-' and '.'")
    }

    @Test func `refuses a name that is only too long for its length`() {
        let name = String(repeating: "a", count: 254)
        let pool = IPPool(metadata: ResourceMetadata(name: name), spec: IPPoolSpec(cidr: CIDR("10.0.0.0/16")!))
        expect(pool, fails: "metadata.name: \"\(name)\" has 254 bytes, of 253 allowed")
    }

    @Test(arguments: [
        ("pool1", "", true), ("example.org/a.b_c", "v-1", true), ("a", String(repeating: "v", count: 63), true),
        ("a", String(repeating: "v", count: 64), false), ("", "", false), ("/a", "", false), ("a/", "", false),
        ("a/b/c", "", false), ("-a", "", false), ("a", "v-", false), ("UPPER", "Ok", true), ("Up.er/a", "", false),
    ])
    func `takes Kubernetes labels only, in metadata and in a profile`(key: String, value: String, isValid: Bool) {
        let reason = isValid ? nil : "\"\(key)=\(value)\" is not a label"
        let profile = Profile(metadata: ResourceMetadata(name: "p"), spec: ProfileSpec(labelsToApply: [key: value]))
        expect(profile, fails: reason.map { "spec.labelsToApply: \($0)" })
        var metadata = ResourceMetadata(name: "p")
        metadata.labels = [key: value]
        expect(Profile(metadata: metadata, spec: ProfileSpec()), fails: reason.map { "metadata.labels: \($0)" })
    }

    @Test(arguments: [
        ("example.org/Mixed", 10, nil), ("a", (256 << 10) - 1, nil),
        ("a", 256 << 10, "they have 262145 bytes, of 262144 allowed"),
        ("a b", 1, "\"a b\" is not a key: it has 1 to 63 letters, digits, '-', '_' and '.', after a prefix and '/'"),
    ])
    func `takes annotations that Kubernetes takes`(key: String, length: Int, reason: String?) {
        var metadata = ResourceMetadata(name: "p")
        metadata.annotations = [key: String(repeating: "v", count: length)]
        expect(
            Profile(metadata: metadata, spec: ProfileSpec()), fails: reason.map { "metadata.annotations: \($0)" })
    }

    @Test func `refuses a profile for one of its rules`() {
        let rule = Rule(action: .allow, source: EntityRule(selector: "has("))
        let metadata = ResourceMetadata(name: "p")
        expect(
            Profile(metadata: metadata, spec: ProfileSpec(ingress: [Rule(action: .allow), rule])),
            fails: "spec.ingress[1].source.selector: selector \"has(\" at byte 4: ")
        expect(
            Profile(metadata: metadata, spec: ProfileSpec(egress: [rule])),
            fails: "spec.egress[0].source.selector: selector \"has(\" at byte 4: ")
    }

    @Test(
        arguments: [
            ("10.0.0.5/24", "fd00::5/64", nil), ("10.0.0.5", "fd00::5", nil),
            ("fd00::5", nil, "ipv4Address: \"fd00::5\" is not an ipv4 address, with or without a prefix length"),
            (
                "10.0.0.5/33", nil,
                "ipv4Address: \"10.0.0.5/33\" is not an ipv4 address, with or without a prefix length"
            ),
            (
                nil, "10.0.0.5/24",
                "ipv6Address: \"10.0.0.5/24\" is not an ipv6 address, with or without a prefix length"
            ),
        ] as [(String?, String?, String?)])
    func `takes a node's addresses, each of its family`(v4: String?, v6: String?, failure: String?) {
        let spec = NodeSpec(bgp: NodeSpec.BGP(ipv4Address: v4, ipv6Address: v6))
        expect(Node(metadata: ResourceMetadata(name: "n"), spec: spec), fails: failure.map { "spec.bgp.\($0)" })
    }

    @Test func `refuses an endpoint that Calico refuses, naming field and reason`() {
        let endpoint = sampleEndpoint()
        expect(endpoint, fails: nil)
        let tcp = { EndpointPort(name: $0, protocol: .name("TCP"), port: $1, hostPort: $2) }
        let changes: [(String?, (inout WorkloadEndpoint) -> Void)] = [
            ("metadata.namespace: namespace is not specified on namespaced resource", { $0.metadata.namespace = nil }),
            (
                "metadata.name: does not match the identifiers in its spec; expected a--b-",
                { $0.metadata.name = "other" }
            ),
            ("spec.interfaceName: \"\" is not 1 to 15 letters", { $0.spec.interfaceName = "" }),
            (
                "spec.interfaceName: \"cali0123456789ab\" is not 1 to 15 letters",
                { $0.spec.interfaceName = "cali0123456789ab" }
            ),
            ("spec.interfaceName: \"ca/li\" is not 1 to 15 letters", { $0.spec.interfaceName = "ca/li" }),
            (
                "spec.ipNetworks: each entry must be one address (/32 or /128)",
                { $0.spec.ipNetworks = [CIDR("10.0.0.0/31")!] }
            ),
            ("spec.mac: \"ee:ee\" is not a MAC address", { $0.spec.mac = "ee:ee" }),
            ("spec.mac: \"ee:ee:ee-ee:ee:ee\" is not a MAC address", { $0.spec.mac = "ee:ee:ee-ee:ee:ee" }),
            ("spec.mac: \"eee:ee:ee:ee:ee:e\" is not a MAC address", { $0.spec.mac = "eee:ee:ee:ee:ee:e" }),
            (nil, { $0.spec.mac = "" }), (nil, { $0.spec.mac = "02-00-5E-10-00-00-00-01" }),
            (nil, { $0.spec.mac = "0200.5e10.0000" }),
            (nil, { $0.spec.mac = Array(repeating: "0a", count: 20).joined(separator: ":") }),
            ("spec.profiles: \"Upper\" must consist of lower-case letters", { $0.spec.profiles = ["Upper"] }),
            ("spec.endpoint: field should be assigned", { $0.spec.endpoint = "" }),
            ("spec.pod: \"A\" must consist of lower-case letters", { $0.spec.unknown["pod"] = "A" }),
            ("spec.containerID: \"-a\" is not letters and digits", { $0.spec.unknown["containerID"] = "-a" }),
            (nil, { $0.spec.unknown["containerID"] = "aB-1" }), (nil, { $0.spec.unknown["containerID"] = "" }),
            (
                "spec.ipv4Gateway: \"fd00::1\" is not an ipv4 address", { $0.spec.unknown["ipv4Gateway"] = "fd00::1" }
            ),
            (
                "spec.ipv6Gateway: \"10.0.0.9\" is not an ipv6 address",
                { $0.spec.unknown["ipv6Gateway"] = "10.0.0.9" }
            ),
            (nil, { $0.spec.unknown["ipNATs"] = [["internalIP": "10.0.0.1", "externalIP": "1.2.3.4"]] }),
            (
                "spec.ipNATs[0].internalIP: 10.0.0.2 is none of the endpoint's addresses",
                { $0.spec.unknown["ipNATs"] = [["internalIP": "10.0.0.2", "externalIP": "1.2.3.4"]] }
            ),
            (
                "spec.ipNATs[0]: internalIP and externalIP must be addresses of one family",
                { $0.spec.unknown["ipNATs"] = [["internalIP": "10.0.0.1", "externalIP": "fd00::1"]] }
            ),
            (nil, { $0.spec.allowSpoofedSourcePrefixes = ["10.9.0.0/16", "fd00::/64"] }),
            (
                "spec.allowSpoofedSourcePrefixes: \"10.9.0.0/33\" is not a network",
                { $0.spec.allowSpoofedSourcePrefixes = ["10.9.0.0/16", "10.9.0.0/33"] }
            ),
            (nil, { $0.spec.ports = [tcp("web", 80, nil), tcp(nil, 80, 8080)] }),
            (
                "spec.ports[1]: needs a name or a host port",
                { $0.spec.ports = [tcp("web", 80, nil), tcp(nil, 80, nil)] }
            ),
            ("spec.ports[0].port: a port is 1...65535", { $0.spec.ports = [tcp("web", 0, nil)] }),
            (
                "spec.ports[0].protocol: must be TCP, UDP or SCTP",
                { $0.spec.ports = [EndpointPort(name: "ping", protocol: .name("ICMP"), port: 1)] }
            ),
        ]
        for (failure, change) in changes {
            var changed = endpoint
            change(&changed)
            expect(changed, fails: failure)
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

    /// - Parameter failure: the field and the beginning of the reason, or all of it.
    private func expect(
        _ resource: Resource<some ResourceSpec>, fails failure: String?,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do throws(ValidationError) {
            try resource.validate()
            #expect(failure == nil, sourceLocation: sourceLocation)
        } catch {
            let text = "\(error.field): \(error.reason)"
            guard let failure else {
                Issue.record("\(text)", sourceLocation: sourceLocation)
                return
            }
            #expect(text.hasPrefix(failure), sourceLocation: sourceLocation)
        }
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

    @Test(arguments: [0, 1]) func `of a Docker endpoint has room for a node's name of so many bytes`(more: Int) throws {
        let node = String(repeating: "a", count: WorkloadEndpointName.nodeLimit + more)
        #expect(node.count == 166 + more)
        let text = try name(node, String(repeating: "e", count: 64))
        #expect(text.count == 253 + more && Validation.isResourceName(text) == (more == 0))
    }

    @Test func `has a prefix per node`() throws { #expect(try WorkloadEndpointName.prefix(node: "a-b") == "a--b-") }

    @Test(arguments: ["", "a", "a-b-c", "a-b-c-d-e"]) func `has four parts`(text: String) {
        #expect(WorkloadEndpointName.parts(of: text) == nil)
    }
}
