// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials

/// What a kind of Calico v3 resource says of itself beside its data.
public protocol ResourceSpec: Codable, Hashable, Sendable {
    /// CamelCase, as in `kind:`.
    static var kind: String { get }
    /// Lower case, as in the datastore's keys.
    static var plural: String { get }
    static var isNamespaced: Bool { get }
    /// Throws the first rule of Calico's validator that this value breaks.
    func validate(_ metadata: ResourceMetadata) throws(ValidationError)
}

extension ResourceSpec {
    public static var isNamespaced: Bool { false }
    public func validate(_ metadata: ResourceMetadata) throws(ValidationError) {}
}

/// One Calico v3 resource as it lies in the datastore: envelope, metadata, spec, and every member we do not know.
public struct Resource<Spec: ResourceSpec>: Hashable, Sendable {
    public var metadata: ResourceMetadata
    public var spec: Spec
    /// Members beside kind, apiVersion, metadata and spec; `status` lives here.
    public var unknown: [String: JSONValue] = [:]

    public init(metadata: ResourceMetadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
    }

    public var name: String { metadata.name }
    public var key: Key { Key.resource(Spec.self, name: metadata.name, namespace: metadata.namespace) }
}

/// Kubernetes' ObjectMeta, as far as Calico uses it.
public struct ResourceMetadata: Hashable, Sendable {
    public var name: String
    public var namespace: String?
    /// Go clients can never update a resource without uid and creation time, so we always write both.
    public var uid: String?
    /// RFC 3339, UTC, whole seconds.
    public var creationTimestamp: String?
    public var labels: [String: String] = [:]
    public var annotations: [String: String] = [:]
    public var unknown: [String: JSONValue] = [:]

    public init(name: String, namespace: String? = nil) {
        self.name = name
        self.namespace = namespace
    }

    /// Gives what a new resource must have: a UUID and the present time.
    public func asCreated(now: Date = .now) -> ResourceMetadata {
        var copy = self
        copy.uid = uid ?? UUID().uuidString.lowercased()
        copy.creationTimestamp = creationTimestamp ?? Timestamp.text(now)
        return copy
    }
}

/// RFC 3339 in UTC with whole seconds, the form Go writes for Kubernetes times.
public enum Timestamp {
    public static func text(_ date: Date) -> String { date.formatted(.iso8601) }
    /// Fractions of a second, which some writers add, are dropped.
    public static func date(_ text: String) -> Date? {
        guard let point = text.firstIndex(of: ".") else { return try? Date(text, strategy: .iso8601) }
        let zone = text[text.index(after: point)...].drop { $0.isNumber }
        return try? Date(text[..<point] + zone, strategy: .iso8601)
    }
}

extension Resource: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable { case kind, apiVersion, metadata, spec }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        metadata = try container.decode(ResourceMetadata.self, forKey: .metadata)
        spec = try container.decode(Spec.self, forKey: .spec)
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(Spec.kind, forKey: .kind)
        try container.encode("projectcalico.org/v3", forKey: .apiVersion)
        try container.encode(metadata, forKey: .metadata)
        try container.encode(spec, forKey: .spec)
        try encoder.encodeUnknown(unknown)
    }
}

extension ResourceMetadata: Codable {
    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, namespace, uid, creationTimestamp, labels, annotations, resourceVersion, selfLink
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        name = try container.decode(String.self, forKey: .name)
        namespace = try container.decodeIfPresent(String.self, forKey: .namespace)
        uid = try container.decodeIfPresent(String.self, forKey: .uid)
        creationTimestamp = try container.decodeIfPresent(String.self, forKey: .creationTimestamp)
        labels = try container.value(.labels, default: [:])
        annotations = try container.value(.annotations, default: [:])
        unknown = try decoder.unknownMembers(besides: CodingKeys.self)
    }

    /// `resourceVersion` and `selfLink` are never stored.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try container.encodeIfPresent(namespace, forKey: .namespace)
        try container.encodeIfPresent(uid, forKey: .uid)
        try container.encode(creationTimestamp, forKey: .creationTimestamp)
        try container.encodeUnlessEmpty(labels, forKey: .labels)
        try container.encodeUnlessEmpty(annotations, forKey: .annotations)
        try encoder.encodeUnknown(unknown)
    }
}
