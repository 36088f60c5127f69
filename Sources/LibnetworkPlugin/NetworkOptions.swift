// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Dataplane
import Logging

/// The `-o` options of a network, or the driver options of an endpoint, understood or refused by name.
struct NetworkOptions {
    var mtu: Int?
    var interfacePrefix: String?
    var profile: String?
    /// Names of pools, in the order given. Those of an endpoint are refused.
    var pools: [String] = []
    var labels: [String: String] = [:]
    /// As given, for the record.
    var text: [String: String] = [:]

    static let mtuKey = "com.docker.network.driver.mtu"
    static let prefixKey = "com.docker.network.container_iface_prefix"
    static let profileKey = "org.projectcalico.profile"
    static let poolKey = "org.projectcalico.pool"
    static let labelPrefix = "org.projectcalico.label."

    /// - Throws: naming every option that is not known, or the one that is malformed.
    init(network options: [String: JSONValue], logger: Logger) throws {
        var unknown: [String] = []
        for (key, value) in options.sorted(by: { $0.key < $1.key }) {
            let text = value.optionText
            self.text[key] = text
            if try !take(key, text) { unknown.append(key) }
        }
        let keys = OptionKeys([Self.mtuKey, Self.prefixKey, Self.profileKey, Self.poolKey], prefix: Self.labelPrefix)
        try keys.settle(unknown, in: "network option", refusal: { Self.refusal(of: "flag", count: $0) }, logger)
    }

    /// The options of a network as its record has them: they were checked, and remarked upon, when it was made.
    init(of record: NetworkRecord) { self.init(lenient: record.options) }

    /// As far as they are understood.
    init(lenient options: [String: String]) {
        text = options
        for (key, value) in options { _ = try? take(key, value) }
    }

    /// Driver options of one endpoint. Keys that are not Calico's are accepted there, because they may be meant for the
    /// driver of another of the container's networks; the log says that they have no effect on this one.
    ///
    /// - Throws: naming every option that is not known, or the one that is malformed.
    init(endpoint options: [String: JSONValue], logger: Logger) throws {
        let keys = OptionKeys([Self.profileKey], prefix: Self.labelPrefix)
        let isOurs = { (key: String) in key.hasPrefix("org.projectcalico.") }
        let ours = options.filter { isOurs($0.key) }.sorted { $0.key < $1.key }
        let unknown = try ours.filter { try $0.key == Self.poolKey || !take($0.key, $0.value.optionText) }.map(\.key)
        guard unknown.isEmpty else {
            throw PluginError(
                "\(Self.refusal(of: "endpoint option", count: unknown.count)) \(keys.refusal(of: unknown))")
        }
        let others = options.keys.filter { !isOurs($0) && !Self.engineKeys.contains($0) }
        keys.ignore(others, in: "endpoint option", logger)
    }

    /// What engines put among an endpoint's driver options, or carry out themselves.
    private static let engineKeys: Set = [
        "com.docker.network.portmap", "com.docker.network.endpoint.exposedports",
        "com.docker.network.endpoint.macaddress", "com.docker.network.endpoint.dnsservers",
        "com.docker.network.endpoint.sysctls",
    ]

    /// The Go plugin said it so.
    private static func refusal(of noun: String, count: Int) -> String {
        "Calico driver does not support the \(noun)\(count == 1 ? "" : "s")"
    }

    /// False where `key` is not known.
    private mutating func take(_ key: String, _ value: String) throws -> Bool {
        switch key {
        case Self.mtuKey:
            guard let number = Int(value), EndpointLink.mtus.contains(number) else {
                throw PluginError(
                    "\(key)=\(value) is not an MTU between \(EndpointLink.mtus.lowerBound) and \(EndpointLink.mtus.upperBound)"
                )
            }
            mtu = number
        case Self.prefixKey:
            // The engine appends a number, and 15 bytes is the kernel's limit.
            guard value.utf8.count <= 12, Validation.isInterfaceName(value) else {
                throw PluginError("\(key)=\(value) is not an interface prefix of 1 to 12 letters and digits")
            }
            interfacePrefix = value
        case Self.profileKey:
            guard value == "none" || Validation.isResourceName(value) else {
                throw PluginError(
                    "\(key)=\(value) is not a profile name: that is none, or up to 253 lower-case letters, digits, '-' and "
                        + "'.', with a letter or digit at both ends and on both sides of each '.'")
            }
            profile = value
        case Self.poolKey: pools = try PoolNames(value).names
        case _ where key.hasPrefix(Self.labelPrefix):
            try takeLabel(String(key.dropFirst(Self.labelPrefix.count)), value)
        default: return false
        }
        return true
    }

    private mutating func takeLabel(_ name: String, _ value: String) throws {
        if let problem = EndpointLabel.problem(name, value) {
            throw PluginError("\(Self.labelPrefix)\(name)=\(value) \(problem)")
        }
        labels[name] = value
    }
}

extension JSONValue {
    /// An option's value as a person typed it.
    fileprivate var optionText: String {
        switch self {
        case .string(let text): text
        case .bool(let flag): String(flag)
        case .integer(let number): String(number)
        default: ""
        }
    }
}
