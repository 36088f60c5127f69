// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation

let repository = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..").standardized

/// The program as users run it.
enum BuiltProgram {
    struct Outcome {
        let status: Int32
        let output: String
        let errors: String
    }

    /// SwiftPM puts it beside the tests.
    static let path = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        .appending(path: "calico-libnetwork").path

    /// Runs a command on a datastore, with none of this process's or this host's settings. Never a `serve` that could
    /// get to its sockets.
    static func run(
        _ arguments: [String], on file: String? = nil, environment: [String: String] = [:], output: String? = nil
    ) throws -> Outcome {
        let standard = [
            "CALICO_LIBNETWORK_CONFIG": "/dev/null", "CALICO_LIBNETWORK_SQLITE_PATH": file ?? "/dev/null/no",
        ]
        return try execute(
            path, arguments, environment: standard.merging(environment) { $1 }, output: output)
    }

    static func execute(
        _ path: String, _ arguments: [String], environment: [String: String] = [:], output: String? = nil
    ) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(filePath: path)
        process.arguments = arguments
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"].merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        // Files, not pipes: nobody has to read while the program writes.
        let folder = try TemporaryFolder()
        let texts = try [output ?? folder.path("output"), folder.path("errors")].map { path in
            if output != path { try Data().write(to: URL(filePath: path)) }
            return (path, try FileHandle(forWritingTo: URL(filePath: path)))
        }
        process.standardOutput = texts[0].1
        process.standardError = texts[1].1
        try process.run()
        process.waitUntilExit()
        let text = { (path: String) in
            String(decoding: (try? Data(contentsOf: URL(filePath: path))) ?? Data(), as: UTF8.self)
        }
        return Outcome(
            status: process.terminationStatus, output: output == nil ? text(texts[0].0) : "", errors: text(texts[1].0))
    }
}

/// A folder that goes with its last reference.
final class TemporaryFolder: Sendable {
    private let url = FileManager.default.temporaryDirectory.appending(path: "calico-libnetwork-\(UUID())")

    init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) -> String { url.appending(path: name).path }
}
