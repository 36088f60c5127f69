// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// A program started by this one.
struct ChildProcess {
    let id: pid_t

    /// - Parameters:
    ///   - command: its name, looked up on PATH, and its arguments.
    ///   - variables: added to the environment, as `NAME=value`.
    ///   - output: the file that gets what it prints.
    init(_ command: [String], variables: [String] = [], output: String) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
        // env(1) also finds the program on PATH.
        let words = ["env"] + variables + command
        var arguments = words.map { strdup($0) }
        defer { arguments.forEach { free($0) } }
        arguments.append(nil)
        var id = pid_t()
        let code = posix_spawnp(&id, "env", &actions, nil, arguments, environ)
        guard code == 0 else { throw BenchmarkError("cannot start \(words): \(String(cString: strerror(code)))") }
        self.id = id
    }

    /// Runs a command to its end.
    static func run(_ command: [String], output: String) throws {
        let status = try ChildProcess(command, output: output).wait()
        guard status == 0 else {
            throw BenchmarkError("\(command.joined(separator: " ")) failed; it said: \(tail(of: output))")
        }
    }

    /// Waits for its end; 0 means success.
    func wait() -> Int32 {
        var status: Int32 = 0
        while waitpid(id, &status, 0) < 0, errno == EINTR {}
        return status
    }

    var hasEnded: Bool {
        var status: Int32 = 0
        return waitpid(id, &status, WNOHANG) != 0
    }
}
