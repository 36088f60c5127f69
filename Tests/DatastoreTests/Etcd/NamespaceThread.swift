// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Glibc
import TestSupport

/// A thread in a network namespace of its own, without a way out. What it starts, processes and threads, is in there
/// with it. Needs root.
final class NamespaceThread: Sendable {
    private let lane = ThreadLane()

    init() async throws { try await lane.run { try enterNewNetworkNamespace() } }

    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await lane.run(body)
    }

    /// Runs a program to its end. Foundation's `Process` waits on run loops, which this thread does not turn.
    @discardableResult
    static func run(_ command: [String], environment: [String: String] = [:]) throws -> String {
        let output = NSTemporaryDirectory() + "output-" + UUID().uuidString
        defer { unlink(output) }
        var status: Int32 = 0
        let assignments = environment.map { "\($0)=\($1)" }
        guard waitpid(try spawn(["env"] + assignments + command, output: output), &status, 0) > 0 else {
            throw TestFailure("\(command): \(String(cString: strerror(errno)))")
        }
        let text = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
        guard status == 0 else { throw TestFailure("\(command.joined(separator: " ")): \(status): \(text)") }
        return text
    }

    /// Starts a program that writes to the file `output`, in the namespace of the calling thread.
    static func spawn(_ command: [String], output: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var words = command.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let result = posix_spawnp(&pid, command[0], &actions, nil, &words, environ)
        guard result == 0 else { throw TestFailure("\(command[0]): \(String(cString: strerror(result)))") }
        return pid
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
