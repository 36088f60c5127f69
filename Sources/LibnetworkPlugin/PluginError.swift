// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import IPAM

/// A refusal or failure in words for the person at `docker run`.
///
/// The engine prefixes it with the method (`IpamDriver.RequestAddress: …`) and shows it as it is.
public struct PluginError: Error, CustomStringConvertible {
    public let description: String
    /// HTTP status; 500 is what Docker's own plugin kit answers for every refusal.
    public var status = 500

    public init(_ description: String, status: Int = 500) {
        self.description = description
        self.status = status
    }

    /// What an error looks like on the wire. Network drivers read `Err`, IPAM drivers `Error`; each ignores the other.
    struct Body: Encodable {
        let message: String

        enum CodingKeys: String, CodingKey { case err = "Err", error = "Error" }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(message, forKey: .err)
            try container.encode(message, forKey: .error)
        }
    }
}
