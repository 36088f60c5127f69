// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Glibc

/// What a command printed and how it ended.
struct CommandOutput: Sendable {
    let status: Int32
    let output: String
    let errors: String

    var succeeded: Bool { status == 0 }
}

/// A command that had to succeed and did not, with everything it said.
struct CommandFailure: Error, CustomStringConvertible {
    let command: String
    let result: CommandOutput

    var description: String {
        "`\(command)` ended with status \(result.status)\n\(result.output)\(result.errors)"
    }
}

/// Runs `words` and waits for its end, at most `timeout` seconds (then the status is 124, as timeout(1) says).
///
/// Output goes to files, not pipes: a daemon started by the command may keep them open for as long as it likes.
func execute(_ words: [String], environment: [String: String] = [:], timeout: Int = 60) async -> CommandOutput {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread {
            let bounded = ["/usr/bin/timeout", "--kill-after=5", "\(timeout)"] + words
            continuation.resume(returning: spawnAndWait(bounded, environment: environment))
        }
    }
}

private func spawnAndWait(_ words: [String], environment: [String: String]) -> CommandOutput {
    let output = temporaryFile()
    let errors = temporaryFile()
    defer {
        close(output)
        close(errors)
    }
    var pid: pid_t = 0
    let failure = spawn(words, environment: environment, output: output, errors: errors, pid: &pid)
    guard failure == 0 else {
        return CommandOutput(status: 127, output: "", errors: "\(words[0]): \(String(cString: strerror(failure)))")
    }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) == -1 && errno == EINTR {}
    let signal = status & 0x7f
    let code = signal == 0 ? (status >> 8) & 0xff : 128 + signal
    return CommandOutput(status: code, output: contents(of: output), errors: contents(of: errors))
}

/// Signals get their default meaning again: other parts of this process may ignore some, and children would inherit
/// that.
private func spawn(
    _ words: [String], environment: [String: String], output: Int32, errors: Int32, pid: inout pid_t
) -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    let merged = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    var arguments = words.map { strdup($0) } + [nil]
    var variables = merged.map { strdup("\($0)=\($1)") } + [nil]
    defer { (arguments + variables).forEach { free($0) } }
    return posix_spawn(&pid, words[0], &actions, &attributes, &arguments, &variables)
}

/// An open file without a name.
private func temporaryFile() -> Int32 {
    var path = Array("/tmp/calico-system-test.XXXXXX".utf8CString)
    let descriptor = mkstemp(&path)
    unlink(path)
    return descriptor
}

private func contents(of descriptor: Int32) -> String {
    lseek(descriptor, 0, SEEK_SET)
    let data = FileHandle(fileDescriptor: descriptor, closeOnDealloc: false).readDataToEndOfFile()
    return String(decoding: data, as: UTF8.self)
}
