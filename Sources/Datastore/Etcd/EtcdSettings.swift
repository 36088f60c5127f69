// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Where an etcd cluster is, and who we are to it.
public struct EtcdSettings: Hashable, Sendable {
    /// One member's client address.
    public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
        public var usesTLS: Bool
        /// A name or an address; IPv6 without brackets.
        public var host: String
        /// 1...65535
        public var port: Int

        public init(usesTLS: Bool, host: String, port: Int) {
            self.usesTLS = usesTLS
            self.host = host
            self.port = port
        }

        public var description: String { "\(usesTLS ? "https" : "http")://\(authority)" }
        /// As in a URL.
        var authority: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
    }

    /// PEM: a file that is read again when it changes, or the text itself (`calicoctl.cfg` may hold it).
    public enum PEM: Hashable, Sendable {
        case file(String)
        case text(String)
    }

    public struct Credentials: Hashable, Sendable {
        public var user: String
        public var password: String

        public init(user: String, password: String) {
            self.user = user
            self.password = password
        }
    }

    /// Tried in turn; at least one.
    public var endpoints: [Endpoint]
    /// Who signed the servers' certificates; `nil`: the system's authorities.
    public var authorities: PEM?
    public var certificate: PEM?
    public var key: PEM?
    public var credentials: Credentials?

    public init(
        endpoints: [Endpoint], authorities: PEM? = nil, certificate: PEM? = nil, key: PEM? = nil,
        credentials: Credentials? = nil
    ) {
        self.endpoints = endpoints
        self.authorities = authorities
        self.certificate = certificate
        self.key = key
        self.credentials = credentials
    }
}
