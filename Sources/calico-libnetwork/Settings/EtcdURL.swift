// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Datastore

/// An etcd member's address as people write it: `https://10.0.0.1:2379`.
enum EtcdURL {
    /// etcd's client port, for URLs without one.
    static let standardPort = 2379

    /// A list with commas; blanks around its parts do no harm.
    /// - Throws: `Configuration.Problem` naming the part.
    static func list(_ found: SettingReader.Found) throws -> [EtcdSettings.Endpoint] {
        let parts = found.text.split(separator: ",").map(trimmed).filter { !$0.isEmpty }
        var endpoints: [EtcdSettings.Endpoint] = []
        for part in parts {
            let endpoint = try endpoint(part, of: found)
            if !endpoints.contains(endpoint) { endpoints.append(endpoint) }
        }
        guard !endpoints.isEmpty else { throw found.problem("wants URLs such as http://10.0.0.1:2379") }
        return endpoints
    }

    /// The old form: `10.0.0.1:2379`, and the scheme apart.
    static func endpoint(
        authority: SettingReader.Found, scheme: SettingReader.Found?
    ) throws -> EtcdSettings.Endpoint {
        guard ["http", "https", nil].contains(scheme?.text) else { throw scheme!.problem("wants http or https") }
        return try endpoint("\(scheme?.text ?? "http")://\(trimmed(authority.text))", of: authority)
    }

    static func domain(_ found: SettingReader.Found) throws -> String {
        let name = found.text.hasSuffix(".") ? found.text.dropLast() : found.text[...]
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        let isName = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count)
                && label.utf8.allSatisfy {
                    $0.isASCIILetterOrDigit || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
                }
        }
        guard isName, name.utf8.count <= 220 else { throw found.problem("wants a DNS domain such as example.org") }
        return String(name)
    }

    /// The text as it may be told: what stands before an `@` can hold a password.
    static func withoutUser(_ text: String) -> String {
        text.split(separator: ",", omittingEmptySubsequences: false).map { part in
            guard let at = part.lastIndex(of: "@") else { return String(part) }
            let start = part.firstRange(of: "://")?.upperBound ?? part.startIndex
            return String(part[..<min(start, at)]) + "…" + part[at...]
        }.joined(separator: ",")
    }

    private static func endpoint(_ url: String, of found: SettingReader.Found) throws -> EtcdSettings.Endpoint {
        let shown = withoutUser(url)
        let refused = { (reason: String) in
            var problem = Configuration.Problem(description: "\(found.origin.naming): \"\(shown)\" \(reason)")
            if case .flag = found.origin { problem.isWrongUsage = true }
            return problem
        }
        guard let mark = url.firstRange(of: "://") else {
            throw refused("is no URL; write http://\(shown) or https://\(shown)")
        }
        let scheme = url[..<mark.lowerBound].lowercased()
        guard ["http", "https"].contains(scheme) else { throw refused("wants to begin with http:// or https://") }
        var authority = url[mark.upperBound...]
        guard !authority.contains("@") else {
            throw refused("names a user; set ETCD_USERNAME and ETCD_PASSWORD instead")
        }
        if authority.hasSuffix("/") { authority.removeLast() }
        guard !authority.contains(where: { "/?#".contains($0) }) else {
            throw refused("has a path, which means nothing to etcd; leave out what follows host and port")
        }
        guard let (host, port) = try hostAndPort(authority, refused) else { throw refused("has no host") }
        return EtcdSettings.Endpoint(usesTLS: scheme == "https", host: host, port: port)
    }

    /// `host`, `host:port`, `[fd00::1]:port`; `nil` without a host.
    private static func hostAndPort(
        _ authority: Substring, _ refused: (String) -> Configuration.Problem
    ) throws -> (host: String, port: Int)? {
        var host = authority
        var port: Substring?
        if authority.hasPrefix("["), let end = authority.lastIndex(of: "]") {
            host = authority[authority.index(after: authority.startIndex)..<end]
            let rest = authority[authority.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { throw refused("has something behind the address") }
            guard IPAddress(String(host))?.family == .v6 else { throw refused("has no IPv6 address in the brackets") }
            port = rest.isEmpty ? nil : rest.dropFirst()
        } else if let colon = authority.lastIndex(of: ":") {
            (host, port) = (authority[..<colon], authority[authority.index(after: colon)...])
            guard !host.contains(":") else {
                throw refused("has an IPv6 address without brackets; write [\(authority)]:2379")
            }
        }
        guard !host.isEmpty else { return nil }
        guard host.utf8.allSatisfy({ $0.isASCIILetterOrDigit || "-._:".utf8.contains($0) }) else {
            throw refused("has a host with characters that no host name has")
        }
        let number = port.map { $0.utf8.allSatisfy(\.isASCIIDigit) ? Int($0) ?? 0 : 0 } ?? standardPort
        guard (1...65_535).contains(number) else { throw refused("wants a port from 1 to 65535") }
        return (String(host), number)
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        let blank: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0.isNewline }
        return String(text.drop { blank($0) }.reversed().drop { blank($0) }.reversed())
    }
}
