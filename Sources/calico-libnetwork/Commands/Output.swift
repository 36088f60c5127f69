// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import ArgumentParser
import CalicoModel
import Datastore
import FoundationEssentials
import Glibc
import IPAM
import Logging
import YAML

/// How a command prints its result.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json, yaml
}

struct OutputOptions: ParsableArguments {
    @Option(name: [.customShort("o"), .customLong("output")], help: "table for people, json or yaml for programs.")
    var format = OutputFormat.table

    /// Prints `rows` for programs, or as a table of `columns`.
    func print<Row: Encodable>(_ rows: [Row], columns: [(title: String, text: (Row) -> String)]) throws {
        try print(rows) {
            Table(titles: columns.map(\.title), rows: rows.map { row in columns.map { $0.text(row) } })
        }
    }

    /// Prints `value` for programs, or what `table` makes of it.
    func print(_ value: some Encodable, table: () -> some CustomStringConvertible) throws {
        switch format {
        case .table: try StandardOutput.write("\(table())\n")
        case .json: try StandardOutput.write(Self.json(value) + "\n")
        // Ends with a line break of its own.
        case .yaml: try StandardOutput.write(Self.yaml(value))
        }
    }

    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func yaml(_ value: some Encodable) throws -> String {
        try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(value)).yaml
    }
}

/// Where commands print to. `print` would not tell that a disk is full.
enum StandardOutput {
    /// - Throws: `ValidationFailure` with the kernel's reason.
    static func write(_ text: String) throws {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                // Whoever reads has seen enough.
                if errno == EPIPE { throw ExitCode.failure }
                throw ValidationFailure("cannot write to standard output: \(String(cString: strerror(errno)))")
            }
            rest = rest.dropFirst(count)
        }
    }
}

/// Columns as wide as their widest cell.
struct Table: CustomStringConvertible {
    let titles: [String]
    let rows: [[String]]

    var description: String {
        // An error's text may have several lines.
        let lines = ([titles] + rows).map { line in
            line.map { $0.split(whereSeparator: \.isNewline).joined(separator: " ") }
        }
        let widths = titles.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            let cells = line.indices.map { column in
                column == line.count - 1
                    ? line[column] : line[column] + String(repeating: " ", count: widths[column] - line[column].count)
            }
            return cells.joined(separator: "   ")
        }.joined(separator: "\n")
    }
}

/// The datastore as a command sees it, beside a running daemon.
struct CommandStore {
    let configuration: Configuration
    let replica: Replica<ClusterState>

    /// - Parameter creatingFile: whether SQLite's file may be made. A command that only reads makes none: a mistyped
    ///   path would look like an empty cluster.
    static func open(_ options: SettingOptions, creatingFile: Bool = false) async throws -> CommandStore {
        let configuration = try options.configuration()
        if !creatingFile, let file = configuration.datastore.missingFile {
            throw ValidationFailure(
                "there is no \(file); the daemon makes it when it starts, or CALICO_LIBNETWORK_SQLITE_PATH or "
                    + "--sqlite-path names another")
        }
        return try await CommandStore(configuration, configuration.openDatastore(silent))
    }

    /// Reads all that `store` holds.
    init(_ configuration: Configuration, _ store: any KeyValueStore) async throws {
        self.configuration = configuration
        replica = Replica(of: store, under: ClusterState.ranges, logger: Self.silent)
        try await replica.load()
    }

    /// Commands speak through their result.
    static let silent = Logger(label: "command") { _ in SwiftLogNoOpLogHandler() }

    var state: ClusterState { replica.snapshot }

    /// Commits what `plan` makes of the present state, as `Replica.commit` does.
    func commit(_ plan: (borrowing ClusterState) throws -> sending Transaction?) async throws {
        try await replica.commit(plan)
    }
}

/// A refusal that goes to standard error as it is.
struct ValidationFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
