// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// Runs one of the host's programs with fixed arguments, in the calling thread's network namespace.
///
/// Only for what no library offers, and never while a container waits.
struct HostCommand {
    /// Absolute.
    let path: String

    /// `nil` where the program is not installed.
    init?(_ name: StaticString) {
        let paths: [String] = ["/usr/sbin", "/sbin"].map { "\($0)/\(name)" }
        guard let path = paths.first(where: { access($0, X_OK) == 0 }) else { return nil }
        self.path = path
    }

    private struct Outcome {
        /// Exit status; 128 and the signal's number where one ended it.
        let status: Int32
        /// Standard output.
        let output: String
    }

    /// Its standard output, once it has ended well.
    /// - Throws: ``HostCommandError`` if it cannot be started, ``HostCommandFailure`` if it fails.
    func output(of arguments: [String]) throws -> String {
        let outcome = try run(arguments)
        guard outcome.status == 0 else {
            throw HostCommandFailure(path: path, arguments: arguments, status: outcome.status)
        }
        return outcome.output
    }

    /// Waits for its end.
    /// - Throws: ``HostCommandError`` if it cannot be started.
    private func run(_ arguments: [String]) throws -> Outcome {
        var ends: [Int32] = [-1, -1]
        // Not pipe(): no other program that starts meanwhile may inherit an end.
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw HostCommandError(path: path, errno: errno) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        // Dispatch's threads block signals, and a program would inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var noSignals = sigset_t()
        sigemptyset(&noSignals)
        posix_spawnattr_setsigmask(&attributes, &noSignals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        var process: pid_t = 0
        let result = posix_spawn(&process, path, &actions, &attributes, &words, &environment)
        close(ends[1])
        defer { close(ends[0]) }
        guard result == 0 else { throw HostCommandError(path: path, errno: result) }
        let output = readAll(ends[0])
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7f
        return Outcome(status: signal == 0 ? status >> 8 & 0xff : 128 + signal, output: output)
    }

    private func readAll(_ descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }
}

/// A program that could not be started.
struct HostCommandError: Error, CustomStringConvertible {
    let path: String
    let errno: Int32
    var description: String { "\(path) could not be started: \(String(cString: strerror(errno)))" }
}

/// A program that did not do what it was asked for.
struct HostCommandFailure: Error, CustomStringConvertible {
    let path: String
    let arguments: [String]
    /// Exit status; 128 and the signal's number where one ended it.
    let status: Int32
    var description: String { "\(path) \(arguments.joined(separator: " ")): exit status \(status)" }
}
