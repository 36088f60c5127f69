// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
import FoundationEssentials
import Glibc
import LibnetworkPlugin
import Logging
import NIOCore
import NIOPosix

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
        /// Whether it was given as a flag.
        var isWrongUsage = false
    }

    let datastore: DatastoreSettings
    let socketDirectory: String
    let node: String
    /// Where kernel settings are; in a container `/proc/sys` is read-only.
    let sysctlRoot: String
    let dataplane: DataplaneChoice
    let driver: NetworkDriver.Settings
    let requestTimeout: Duration
    let engine: EngineAPI.Address
    let logLevel: Logger.Level
    let logFormat: LogFormat
    let pools: DefaultPools.Settings
    let nodeAddresses: NodeAddresses
    /// In the order of the documentation.
    let settings: [Setting]
    /// What to say of variables that look like ours and are none.
    let unknownVariables: [String]

    /// - Parameters:
    ///   - flags: values by the name of the setting's variable.
    ///   - environment: variables by name.
    ///   - readFile: the text of a file, `nil` where there is none.
    ///   - hostName: the kernel's host name.
    /// - Throws: `Problem`, for the first setting that cannot be used.
    init(
        flags: [String: String] = [:],
        environment: [String: String] = ProcessInfo.processInfo.environment,
        readFile: @escaping (String) throws -> String? = TextFile.read,
        hostName: String = Configuration.kernelHostName()
    ) throws {
        var reader = try Configuration.reader(flags, environment, readFile)
        datastore = try DatastoreSettings(&reader, readFile: readFile)
        node = try Configuration.node(&reader, readFile, hostName)
        socketDirectory = reader.text("CALICO_LIBNETWORK_SOCKET_DIR", default: "/run/docker/plugins")
        sysctlRoot = reader.text("CALICO_LIBNETWORK_SYSCTL_ROOT", default: "/proc/sys")
        dataplane = try Configuration.dataplane(&reader, datastore)
        requestTimeout = try reader.duration("CALICO_LIBNETWORK_REQUEST_TIMEOUT", default: "10s", 1...600)
        driver = try Configuration.driver(&reader, requestTimeout)
        engine = try reader.parsed(
            "DOCKER_HOST", default: "unix:///var/run/docker.sock", EngineAPI.Address.init,
            wants: "unix:///path or tcp://host:port")
        logFormat = try reader.parsed(
            "CALICO_LIBNETWORK_LOG_FORMAT", default: "text", LogFormat.init(rawValue:), wants: "text or json")
        logLevel = try Configuration.logLevel(&reader)
        pools = try DefaultPools.Settings(&reader)
        nodeAddresses = try NodeAddresses(&reader)
        try reader.file?.refuseUnknownKeys(reader.keys)
        settings = reader.settings
        unknownVariables = Configuration.unknownVariables(environment, known: settings.map(\.name))
    }

    static let path = "/etc/calico/libnetwork.yaml"

    /// A reader that knows the file: the one that somebody names, or the usual one where it exists.
    private static func reader(
        _ flags: [String: String], _ environment: [String: String], _ readFile: (String) throws -> String?
    ) throws -> SettingReader {
        var reader = SettingReader(flags: flags, environment: environment)
        let given = reader.find("CALICO_LIBNETWORK_CONFIG")
        let path = given?.text ?? path
        if let text = try readFile(path) {
            reader.file = try SettingFile(text, path: path)
        } else if let given {
            throw given.problem("there is no such file")
        }
        reader.tell("CALICO_LIBNETWORK_CONFIG", path, given?.origin ?? .standard)
        return reader
    }

    /// An unusable name is told at the start, not at each container's.
    private static func node(
        _ reader: inout SettingReader, _ readFile: (String) throws -> String?, _ hostName: String
    ) throws -> String {
        reader.allow("NODENAME")
        let found = try NodeName.decide(reader, readFile: readFile, hostName: hostName)
        reader.tell("NODENAME", found.text, found.origin)
        let length = found.text.utf8.reduce(0) { $0 + ($1 == UInt8(ascii: "-") ? 2 : 1) }
        guard length <= WorkloadEndpointName.nodeLimit else {
            throw found.complaint(
                "\"\(found.text)\" (from: \(found.origin)) cannot be a node's name in Calico: it has \(length) bytes, "
                    + "each '-' counted twice, of \(WorkloadEndpointName.nodeLimit) that the names of its endpoints leave; "
                    + "set NODENAME to a shorter one")
        }
        guard Validation.isResourceName(found.text) else {
            throw found.complaint(
                "\"\(found.text)\" (from: \(found.origin)) cannot be a node's name in Calico: wants lower-case letters, "
                    + "digits, '-' and '.', a letter or digit at both ends; set NODENAME")
        }
        return found.text
    }

    /// `CALICO_DEBUG` counts where no level is given nearer to the command.
    private static func logLevel(_ reader: inout SettingReader) throws -> Logger.Level {
        let name = "CALICO_LIBNETWORK_LOG_LEVEL"
        let level = try reader.parsed(
            name, default: "info",
            { text in
                let word = text.lowercased()
                return Logger.Level(rawValue: word == "warn" ? "warning" : word)
            }, wants: "trace, debug, info, notice, warning, error or critical")
        let isDebugging = try reader.flag("CALICO_DEBUG", default: false)
        let rank = { [reader] (name: String) in (reader.find(name)?.origin ?? .standard).rank }
        return isDebugging && rank("CALICO_DEBUG") <= rank(name) ? .debug : level
    }

    private static func unknownVariables(_ environment: [String: String], known: [String]) -> [String] {
        environment.keys.sorted().filter { $0.hasPrefix("CALICO_LIBNETWORK_") && !known.contains($0) }.map { name in
            let nearest = Nearest.word(to: name, in: known, limit: 3)
            return "\(name) is no setting and has no effect" + (nearest.map { "; do you mean \($0)?" } ?? "")
        }
    }

    /// Where the driver of this name listens; the engine finds it by the file's name.
    func socket(_ driver: String) -> String { "\(socketDirectory)/\(driver).sock" }

    /// - Throws: as `DatastoreSettings.open` does.
    func openDatastore(
        _ logger: Logger, on group: any EventLoopGroup = .singletonMultiThreadedEventLoopGroup
    ) async throws -> any KeyValueStore {
        try await datastore.open(logger, on: group, patience: requestTimeout)
    }

    private static func dataplane(
        _ reader: inout SettingReader, _ datastore: DatastoreSettings
    ) throws -> DataplaneChoice {
        let name = "CALICO_LIBNETWORK_DATAPLANE"
        let choice = try reader.parsed(
            name, default: "auto", DataplaneChoice.init(rawValue:), wants: "builtin, felix or auto")
        if choice == .felix, case .sqlite = datastore, let given = reader.find(name) {
            throw given.problem(
                "Felix reads etcd, and knows nothing of containers in an SQLite file; set ETCD_ENDPOINTS, or builtin or auto here"
            )
        }
        return choice
    }

    private static func driver(
        _ reader: inout SettingReader, _ requestTimeout: Duration
    ) throws -> NetworkDriver.Settings {
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
            { text -> Int? in text.isEmpty ? 0 : Int(text).flatMap { EndpointLink.mtus.contains($0) ? $0 : nil } },
            wants:
                "a number between \(EndpointLink.mtus.lowerBound) and \(EndpointLink.mtus.upperBound), or nothing for the uplink's"
        )
        settings.mtu = mtu == 0 ? nil : mtu
        settings.createsProfiles = try reader.flag("CALICO_LIBNETWORK_CREATE_PROFILES", default: true)
        settings.labelsEndpoints = try reader.flag("CALICO_LIBNETWORK_LABEL_ENDPOINTS", default: false)
        settings.labelPollTimeout = try reader.duration(
            "CALICO_LIBNETWORK_LABEL_POLL_TIMEOUT", default: "5s", 0.1...600)
        // An engine that hangs may cost a start this long; the rest of the request needs some time too.
        settings.labelPatience = min(settings.labelPatience, settings.labelPollTimeout, requestTimeout / 2)
        settings.namespace = try reader.parsed(
            "CALICO_LIBNETWORK_NAMESPACE", default: "libnetwork",
            { Validation.isResourceName($0) && !$0.contains(".") ? $0 : nil },
            wants: "lower-case letters, digits and '-', a letter or digit at both ends")
        return settings
    }

    static func kernelHostName() -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        let result = buffer.withUnsafeMutableBytes { gethostname($0.baseAddress!, 255) }
        guard result == 0 else { return "localhost" }
        return String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
    }
}

extension UInt8 {
    var isASCIIDigit: Bool { (0x30...0x39).contains(self) }

    var isASCIILetterOrDigit: Bool {
        isASCIIDigit || (0x41...0x5a).contains(self) || (0x61...0x7a).contains(self)
    }
}
