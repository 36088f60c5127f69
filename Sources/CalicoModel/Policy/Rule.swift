// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

/// One rule of a profile or policy: what traffic it is about, and what becomes of it.
///
/// All criteria given must hold; of a list inside one criterion, one entry.
public struct Rule: Hashable, Sendable {
    public enum Action: String, Codable, Sendable, CaseIterable {
        case allow = "Allow"
        case deny = "Deny"
        /// Writes a kernel log line and goes on with the next rule.
        case log = "Log"
        /// Leaves the rest of the tier out.
        case pass = "Pass"
    }

    public var action: Action
    /// 4 or 6; `nil` means both.
    public var ipVersion: Int?
    public var `protocol`: ProtocolMatch?
    public var notProtocol: ProtocolMatch?
    public var icmp: ICMPMatch?
    public var notICMP: ICMPMatch?
    public var source: EntityRule
    public var destination: EntityRule
    /// HTTP methods and paths; only a proxy can check them, so here such a rule never matches.
    public var http: JSONValue?
    public var unknown: [String: JSONValue] = [:]

    public init(
        action: Action, ipVersion: Int? = nil, protocol: ProtocolMatch? = nil, notProtocol: ProtocolMatch? = nil,
        icmp: ICMPMatch? = nil, notICMP: ICMPMatch? = nil, source: EntityRule = .init(),
        destination: EntityRule = .init()
    ) {
        self.action = action
        self.ipVersion = ipVersion
        self.protocol = `protocol`
        self.notProtocol = notProtocol
        self.icmp = icmp
        self.notICMP = notICMP
        self.source = source
        self.destination = destination
    }
}

/// One side of a rule's traffic.
public struct EntityRule: Hashable, Sendable {
    public var nets: [CIDR]
    public var notNets: [CIDR]
    /// Endpoints and network sets whose addresses match.
    public var selector: String?
    public var notSelector: String?
    public var namespaceSelector: String?
    public var ports: [PortMatch]
    public var notPorts: [PortMatch]
    public var serviceAccounts: ServiceAccountMatch?
    /// A Kubernetes service; without Kubernetes nothing matches.
    public var services: JSONValue?
    public var unknown: [String: JSONValue] = [:]

    public init(
        nets: [CIDR] = [], notNets: [CIDR] = [], selector: String? = nil, notSelector: String? = nil,
        namespaceSelector: String? = nil, ports: [PortMatch] = [], notPorts: [PortMatch] = []
    ) {
        self.nets = nets
        self.notNets = notNets
        self.selector = selector
        self.notSelector = notSelector
        self.namespaceSelector = namespaceSelector
        self.ports = ports
        self.notPorts = notPorts
    }
}

/// Service accounts by name or by their labels.
public struct ServiceAccountMatch: Hashable, Sendable {
    public var names: [String]?
    public var selector: String?
    public var unknown: [String: JSONValue] = [:]

    public init(names: [String]? = nil, selector: String? = nil) {
        self.names = names
        self.selector = selector
    }
}

/// ICMP type, and code if given.
public struct ICMPMatch: Hashable, Sendable {
    /// 0...254
    public var type: Int?
    /// 0...255; only together with a type.
    public var code: Int?
    public var unknown: [String: JSONValue] = [:]

    public init(type: Int? = nil, code: Int? = nil) {
        self.type = type
        self.code = code
    }
}

// MARK: - JSON

extension Rule: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable {
        case action, ipVersion, `protocol`, notProtocol, icmp, notICMP, source, destination, http
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        action = try container.decode(Action.self, forKey: .action)
        ipVersion = try container.decodeIfPresent(Int.self, forKey: .ipVersion)
        `protocol` = try container.decodeIfPresent(ProtocolMatch.self, forKey: .protocol)
        notProtocol = try container.decodeIfPresent(ProtocolMatch.self, forKey: .notProtocol)
        icmp = try container.decodeIfPresent(ICMPMatch.self, forKey: .icmp)
        notICMP = try container.decodeIfPresent(ICMPMatch.self, forKey: .notICMP)
        source = try container.value(.source, default: EntityRule())
        destination = try container.value(.destination, default: EntityRule())
        http = try container.decodeIfPresent(JSONValue.self, forKey: .http)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    /// Go writes both sides even when they are empty.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(action, forKey: .action)
        try container.encodeIfPresent(ipVersion, forKey: .ipVersion)
        try container.encodeIfPresent(`protocol`, forKey: .protocol)
        try container.encodeIfPresent(notProtocol, forKey: .notProtocol)
        try container.encodeIfPresent(icmp, forKey: .icmp)
        try container.encodeIfPresent(notICMP, forKey: .notICMP)
        try container.encode(source, forKey: .source)
        try container.encode(destination, forKey: .destination)
        try container.encodeIfPresent(http, forKey: .http)
        try encoder.encodeUnknown(unknown)
    }
}

extension EntityRule: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable {
        case nets, notNets, selector, notSelector, namespaceSelector, ports, notPorts, serviceAccounts, services
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        nets = try container.value(.nets, default: [])
        notNets = try container.value(.notNets, default: [])
        selector = try container.text(.selector)
        notSelector = try container.text(.notSelector)
        namespaceSelector = try container.text(.namespaceSelector)
        ports = try container.value(.ports, default: [])
        notPorts = try container.value(.notPorts, default: [])
        serviceAccounts = try container.decodeIfPresent(ServiceAccountMatch.self, forKey: .serviceAccounts)
        services = try container.decodeIfPresent(JSONValue.self, forKey: .services)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeUnlessEmpty(nets, forKey: .nets)
        try container.encodeUnlessEmpty(notNets, forKey: .notNets)
        try container.encodeIfPresent(selector, forKey: .selector)
        try container.encodeIfPresent(notSelector, forKey: .notSelector)
        try container.encodeIfPresent(namespaceSelector, forKey: .namespaceSelector)
        try container.encodeUnlessEmpty(ports, forKey: .ports)
        try container.encodeUnlessEmpty(notPorts, forKey: .notPorts)
        try container.encodeIfPresent(serviceAccounts, forKey: .serviceAccounts)
        try container.encodeIfPresent(services, forKey: .services)
        try encoder.encodeUnknown(unknown)
    }
}

extension ServiceAccountMatch: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable { case names, selector }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        names = try container.decodeIfPresent([String].self, forKey: .names)
        selector = try container.decodeIfPresent(String.self, forKey: .selector)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(names, forKey: .names)
        try container.encodeIfPresent(selector, forKey: .selector)
        try encoder.encodeUnknown(unknown)
    }
}

extension ICMPMatch: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable { case type, code }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        type = try container.decodeIfPresent(Int.self, forKey: .type)
        code = try container.decodeIfPresent(Int.self, forKey: .code)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(type, forKey: .type)
        try container.encodeIfPresent(code, forKey: .code)
        try encoder.encodeUnknown(unknown)
    }
}

extension KeyedDecodingContainer {
    /// `nil` where the member is absent or empty: an empty selector is none.
    func text(_ key: Key) throws -> String? {
        try decodeIfPresent(String.self, forKey: key).flatMap { $0.isEmpty ? nil : $0 }
    }
}
