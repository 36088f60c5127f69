// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import FoundationEssentials
import Glibc
import LibnetworkPlugin
import Logging

/// Every setting, its value and where it came from. The only place that reads the environment.
struct Configuration {
    /// One setting as `config show` prints it.
    struct Setting: Codable {
        let name: String
        let value: String
        let origin: String
    }

    /// A value that cannot be used.
    struct Problem: Error, CustomStringConvertible {
        let description: String
    }

    let sqlitePath: String
    let socketDirectory: String
    let node: String
    let driver: NetworkDriver.Settings
    let requestTimeout: Duration
    let engine: EngineAPI.Address
    let logLevel: Logger.Level
    let logFormat: LogFormat
    let pools: DefaultPools.Settings
    let nodeAddresses: NodeAddresses
    /// In the order of the documentation.
    let settings: [Setting]

    /// - Parameters:
    ///   - environment: variables by name.
    ///   - readFile: the text of a file, `nil` where there is none.
    ///   - hostName: the kernel's host name.
    init(
        environment: [String: String] = ProcessInfo.processInfo.environment,
        readFile: (String) -> String? = { try? String(contentsOfFile: $0, encoding: .utf8) },
        hostName: String = Configuration.kernelHostName()
    ) throws {
        var reader = SettingReader(environment: environment)
        sqlitePath = reader.text("CALICO_LIBNETWORK_SQLITE_PATH", default: "/var/lib/calico/libnetwork.sqlite")
        try Configuration.refuseOtherDatastore(&reader)
        let name = NodeName.decide(environment: environment, readFile: readFile, hostName: hostName)
        reader.settings.append(Setting(name: "NODENAME", value: name.name, origin: name.origin))
        node = try Configuration.usable(name.name, from: name.origin)
        socketDirectory = reader.text("CALICO_LIBNETWORK_SOCKET_DIR", default: "/run/docker/plugins")
        driver = try Configuration.driver(&reader)
        requestTimeout = try reader.duration("CALICO_LIBNETWORK_REQUEST_TIMEOUT", default: "10s", 1...600)
        engine = try reader.parsed(
            "DOCKER_HOST", default: "unix:///var/run/docker.sock", EngineAPI.Address.init,
            wants: "unix:///path or tcp://host:port")
        logFormat = try reader.parsed(
            "CALICO_LIBNETWORK_LOG_FORMAT", default: "text", LogFormat.init(rawValue:), wants: "text or json")
        let level = try reader.parsed(
            "CALICO_LIBNETWORK_LOG_LEVEL", default: "info", Logger.Level.init(rawValue:),
            wants: "trace, debug, info, notice, warning, error or critical")
        logLevel = try reader.flag("CALICO_DEBUG", default: false) ? .debug : level
        pools = try DefaultPools.Settings(&reader)
        nodeAddresses = try NodeAddresses(&reader)
        settings = reader.settings
    }

    /// Said at the start, not at each container's.
    private static func usable(_ node: String, from origin: String) throws -> String {
        guard Validation.isResourceName(node) else {
            throw Problem(
                description:
                    "\"\(node)\" (from: \(origin)) cannot be a node's name in Calico: wants lower-case letters, "
                    + "digits, '-' and '.', a letter or digit at both ends; set NODENAME")
        }
        return node
    }

    /// Where the driver of this name listens; the engine finds it by the file's name.
    func socket(_ driver: String) -> String { "\(socketDirectory)/\(driver).sock" }

    private static func driver(_ reader: inout SettingReader) throws -> NetworkDriver.Settings {
        var settings = NetworkDriver.Settings()
        settings.scope = try reader.parsed(
            "CALICO_LIBNETWORK_SCOPE", default: "local", { ["local", "global"].contains($0) ? $0 : nil },
            wants: "local or global")
        settings.interfacePrefix = try reader.parsed(
            "CALICO_LIBNETWORK_IFPREFIX", default: "cali",
            { (1...12).contains($0.utf8.count) && $0.utf8.allSatisfy(\.isASCIILetterOrDigit) ? $0 : nil },
            wants: "1 to 12 letters and digits")
        let mtu = try reader.parsed(
            "CALICO_LIBNETWORK_VETH_MTU", default: "",
            { text -> Int? in text.isEmpty ? 0 : Int(text).flatMap { (68...65_535).contains($0) ? $0 : nil } },
            wants: "a number between 68 and 65535, or nothing for the uplink's")
        settings.mtu = mtu == 0 ? nil : mtu
        settings.createsProfiles = try reader.flag("CALICO_LIBNETWORK_CREATE_PROFILES", default: true)
        settings.namespace = try reader.parsed(
            "CALICO_LIBNETWORK_NAMESPACE", default: "libnetwork",
            { Validation.isResourceName($0) && !$0.contains(".") ? $0 : nil },
            wants: "lower-case letters, digits and '-', a letter or digit at both ends")
        return settings
    }

    /// This version has the embedded store only: somebody who asks for etcd must not silently get another one.
    private static func refuseOtherDatastore(_ reader: inout SettingReader) throws {
        let type = reader.text("DATASTORE_TYPE", default: "sqlite")
        let etcd = ["ETCD_ENDPOINTS", "ETCD_DISCOVERY_SRV", "ETCD_AUTHORITY"].filter {
            !reader.text($0, default: "").isEmpty
        }
        guard type == "sqlite", etcd.isEmpty else {
            throw Problem(
                description: "this version stores its data in SQLite only; unset "
                    + "\(etcd.isEmpty ? "ETCD_ENDPOINTS" : etcd.joined(separator: ", ")) and set "
                    + "DATASTORE_TYPE=sqlite, or leave it out (it is \"\(type)\")")
        }
    }

    static func kernelHostName() -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        let result = buffer.withUnsafeMutableBytes { gethostname($0.baseAddress!, 255) }
        guard result == 0 else { return "localhost" }
        return String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
    }
}

/// Reads settings one by one and remembers what it said.
struct SettingReader {
    let environment: [String: String]
    var settings: [Configuration.Setting] = []

    init(environment: [String: String]) { self.environment = environment }

    /// Calico's clients read these with the prefix `CALICO_` first (libcalico-go `apiconfig`).
    private static let prefixed: Set<String> = [
        "DATASTORE_TYPE", "ETCD_ENDPOINTS", "ETCD_DISCOVERY_SRV", "ETCD_AUTHORITY",
    ]

    mutating func text(_ name: String, default fallback: String) -> String {
        let names = Self.prefixed.contains(name) ? ["CALICO_" + name, name] : [name]
        for candidate in names {
            if let value = environment[candidate], !value.isEmpty {
                settings.append(.init(name: name, value: value, origin: "environment (\(candidate))"))
                return value
            }
        }
        settings.append(.init(name: name, value: fallback, origin: "default"))
        return fallback
    }

    mutating func parsed<Value>(
        _ name: String, default fallback: String, _ parse: (String) -> Value?, wants: String
    ) throws -> Value {
        let text = self.text(name, default: fallback)
        guard let value = parse(text) else {
            throw Configuration.Problem(description: "\(name)=\(text): wants \(wants)")
        }
        return value
    }

    mutating func flag(_ name: String, default fallback: Bool) throws -> Bool {
        try parsed(
            name, default: String(fallback),
            { text in
                switch text.lowercased() {
                case "true", "1", "yes", "on": true
                case "false", "0", "no", "off": false
                default: nil
                }
            }, wants: "true or false")
    }

    /// Go's form: `10s`, `500ms`, `2m`. `range` is in seconds.
    mutating func duration(_ name: String, default fallback: String, _ range: ClosedRange<Double>) throws -> Duration {
        try parsed(
            name, default: fallback,
            { text in
                let units: [(String, Double)] = [("ms", 0.001), ("s", 1), ("m", 60)]
                for (unit, factor) in units where text.hasSuffix(unit) {
                    guard let number = Double(text.dropLast(unit.count)) else { continue }
                    return range.contains(number * factor) ? .milliseconds(Int(number * factor * 1000)) : nil
                }
                return nil
            }, wants: "a duration such as 10s, between \(Int(range.lowerBound)) and \(Int(range.upperBound)) seconds")
    }
}

extension UInt8 {
    fileprivate var isASCIILetterOrDigit: Bool {
        (0x30...0x39).contains(self) || (0x41...0x5a).contains(self) || (0x61...0x7a).contains(self)
    }
}

/// This host's name in Calico: decided here and nowhere else.
enum NodeName {
    /// NODENAME as it is, then the file that calico/node writes, then HOSTNAME, then the kernel's name. The last two in
    /// lower case, as calico/node: Calico's resource names know no upper case.
    static func decide(
        environment: [String: String], readFile: (String) -> String?, hostName: String
    ) -> (name: String, origin: String) {
        let blank: (Character) -> Bool = { $0 == " " || $0 == "\n" || $0 == "\t" || $0 == "\r" }
        let trimmed = { (text: String) in
            String(text.drop(while: blank).reversed().drop(while: blank).reversed())
        }
        let file = environment["CALICO_NODENAME_FILE"] ?? "/var/lib/calico/nodename"
        for variable in ["CALICO_NODENAME", "NODENAME"] {
            if let text = environment[variable].map(trimmed), !text.isEmpty {
                return (text, "environment (\(variable))")
            }
        }
        if let text = readFile(file).map(trimmed), !text.isEmpty { return (text, file) }
        if let text = environment["HOSTNAME"].map(trimmed), !text.isEmpty {
            return (text.lowercased(), "environment (HOSTNAME)")
        }
        return (trimmed(hostName).lowercased(), "host name")
    }
}
