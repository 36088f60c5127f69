// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation

/// The envelope of a Calico resource as it lies in the datastore, read without the model that wrote it.
public struct StoredResource: Decodable, Sendable {
    public struct Metadata: Decodable, Equatable, Sendable {
        public let name: String
        public let namespace: String?
        public let uid: String?
        public let creationTimestamp: String?
        public let labels: [String: String]?
    }

    public let kind: String
    public let apiVersion: String
    public let metadata: Metadata

    public init(_ json: Data) throws { self = try JSONDecoder().decode(StoredResource.self, from: json) }

    /// JSON to compare this one with: with its uid and creation time in place of `UID` and `TIME`.
    public func filling(_ json: String) -> Data {
        Data(
            json.replacing("UID", with: metadata.uid ?? "").replacing("TIME", with: metadata.creationTimestamp ?? "")
                .utf8)
    }

    /// Calico's Go clients refuse to update what has no uid or no creation time (RFC 3339, UTC, whole seconds).
    public var isUpdatable: Bool {
        let uid = metadata.uid ?? ""
        let time = metadata.creationTimestamp ?? ""
        return apiVersion == "projectcalico.org/v3"
            && uid.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/) != nil
            && time.wholeMatch(of: /[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z/) != nil
    }
}
