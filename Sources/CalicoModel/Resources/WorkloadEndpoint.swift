// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

public typealias WorkloadEndpoint = Resource<WorkloadEndpointSpec>

/// One interface of one workload: its node, addresses, host-side link, profiles.
public struct WorkloadEndpointSpec: ResourceSpec {
    public static let kind = "WorkloadEndpoint"
    public static let plural = "workloadendpoints"
    public static let isNamespaced = true

    public var orchestrator: String
    public var workload: String
    public var node: String
    public var endpoint: String
    /// Each a /32 or /128.
    public var ipNetworks: [CIDR]
    public var profiles: [String]
    /// Host end of the veth pair, at most 15 bytes.
    public var interfaceName: String
    /// The container's address on the link, as text: Go accepts forms we never write.
    public var mac: String?
    /// Named ports, and ports published on the host.
    public var ports: [EndpointPort] = []
    /// Networks besides its own addresses that it may send from (Calico v3.23), as text: Go accepts forms we never
    /// write. A Felix whose configuration does not say `workloadSourceSpoofing: Any` ignores an endpoint that has some.
    public var allowSpoofedSourcePrefixes: [String] = []
    public var unknown: [String: JSONValue] = [:]

    public init(
        orchestrator: String, workload: String, node: String, endpoint: String, ipNetworks: [CIDR],
        profiles: [String], interfaceName: String, mac: MACAddress?
    ) {
        self.orchestrator = orchestrator
        self.workload = workload
        self.node = node
        self.endpoint = endpoint
        self.ipNetworks = ipNetworks
        self.profiles = profiles
        self.interfaceName = interfaceName
        self.mac = mac?.description
    }

    public var addresses: [IPAddress] { ipNetworks.map(\.address) }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case orchestrator, workload, node, endpoint, ipNetworks, profiles, interfaceName, mac, ports
        case allowSpoofedSourcePrefixes
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        orchestrator = try container.value(.orchestrator, default: "")
        workload = try container.value(.workload, default: "")
        node = try container.value(.node, default: "")
        endpoint = try container.value(.endpoint, default: "")
        ipNetworks = try container.value(.ipNetworks, default: [])
        profiles = try container.value(.profiles, default: [])
        interfaceName = try container.value(.interfaceName, default: "")
        mac = try container.decodeIfPresent(String.self, forKey: .mac)
        ports = try container.value(.ports, default: [])
        allowSpoofedSourcePrefixes = try container.value(.allowSpoofedSourcePrefixes, default: [])
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeUnlessEmpty(orchestrator, forKey: .orchestrator)
        try container.encodeUnlessEmpty(workload, forKey: .workload)
        try container.encodeUnlessEmpty(node, forKey: .node)
        try container.encodeUnlessEmpty(endpoint, forKey: .endpoint)
        try container.encodeUnlessEmpty(ipNetworks, forKey: .ipNetworks)
        try container.encodeUnlessEmpty(profiles, forKey: .profiles)
        try container.encodeUnlessEmpty(interfaceName, forKey: .interfaceName)
        try container.encodeIfPresent(mac, forKey: .mac)
        try container.encodeUnlessEmpty(ports, forKey: .ports)
        try container.encodeUnlessEmpty(allowSpoofedSourcePrefixes, forKey: .allowSpoofedSourcePrefixes)
        try encoder.encodeUnknown(unknown)
    }
}

/// A port of an endpoint. With a name, rules can refer to it; with a host port, the host passes that port on to it
/// (Calico v3.21).
public struct EndpointPort: Codable, Hashable, Sendable {
    public var name: String?
    public var `protocol`: ProtocolMatch
    public var port: UInt16
    /// `nil` where it is not published.
    public var hostPort: UInt16?
    /// `nil` or empty means every address of the host.
    public var hostIP: String?
    public var unknown: [String: JSONValue] = [:]

    public init(
        name: String? = nil, protocol: ProtocolMatch, port: UInt16, hostPort: UInt16? = nil, hostIP: String? = nil
    ) {
        self.name = name
        self.protocol = `protocol`
        self.port = port
        self.hostPort = hostPort
        self.hostIP = hostIP
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case name, `protocol`, port, hostPort, hostIP }

    /// Go writes every member of every port: an empty text or a 0 is none.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        name = try container.text(.name)
        `protocol` = try container.decode(ProtocolMatch.self, forKey: .protocol)
        port = try container.decode(UInt16.self, forKey: .port)
        hostPort = try container.decodeIfPresent(UInt16.self, forKey: .hostPort).flatMap { $0 == 0 ? nil : $0 }
        hostIP = try container.text(.hostIP)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(name, forKey: .name)
        try container.encode(`protocol`, forKey: .protocol)
        try container.encode(port, forKey: .port)
        try container.encodeIfPresent(hostPort, forKey: .hostPort)
        try container.encodeIfPresent(hostIP, forKey: .hostIP)
        try encoder.encodeUnknown(unknown)
    }
}

/// The name of a workload endpoint: four identifiers joined by `-`, with `-` inside them doubled.
///
/// Felix reads node and endpoint back from it, so the escaping is part of the wire contract.
public struct WorkloadEndpointName: Hashable, Sendable {
    public let text: String

    /// - Throws: when an identifier is empty or begins or ends with `-`.
    public init(_ spec: WorkloadEndpointSpec) throws(ValidationError) {
        // libnetwork's own rule: the orchestrator stands twice, spec.workload is not used.
        let isLibnetwork = spec.orchestrator == "libnetwork"
        let parts = [
            ("spec.node", spec.node), ("spec.orchestrator", spec.orchestrator),
            isLibnetwork ? ("spec.orchestrator", spec.orchestrator) : ("spec.workload", spec.workload),
            ("spec.endpoint", spec.endpoint),
        ]
        var escaped: [String] = []
        for (field, value) in parts { escaped.append(try Self.escape(value, field: field)) }
        text = escaped.joined(separator: "-")
    }

    /// The bytes that a node's name may have, dashes doubled, for the names of Docker's endpoints: what `libnetwork`,
    /// twice, and an id of 64 digits leave of a resource's name.
    public static let nodeLimit = Validation.resourceNameLimit - "-libnetwork-libnetwork-".utf8.count - 64

    /// The beginning of the names of all endpoints of `node`. Other nodes' names may begin so too: check `spec.node`.
    public static func prefix(node: String) throws(ValidationError) -> String {
        try escape(node, field: "spec.node") + "-"
    }

    /// The identifiers in a name, unescaped; `nil` unless there are four.
    public static func parts(of name: String) -> [String]? {
        var parts = [""]
        var rest = Substring(name)
        while let character = rest.popFirst() {
            if character == "-", !parts[parts.count - 1].isEmpty {
                if rest.first == "-" {
                    rest.removeFirst()
                    parts[parts.count - 1].append("-")
                } else {
                    parts.append("")
                }
            } else {
                parts[parts.count - 1].append(character)
            }
        }
        return parts.count == 4 ? parts : nil
    }

    private static func escape(_ value: String, field: String) throws(ValidationError) -> String {
        let reason: String? =
            value.isEmpty
            ? "field should be assigned"
            : value.hasPrefix("-")
                ? "\"\(value)\" must not begin with a '-'"
                : value.hasSuffix("-") ? "\"\(value)\" must not end with a '-'" : nil
        if let reason { throw ValidationError(kind: WorkloadEndpointSpec.kind, name: "", field: field, reason: reason) }
        return value.split(separator: "-", omittingEmptySubsequences: false).joined(separator: "--")
    }
}
