// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Glibc
import Synchronization

/// One etcd process. Ends with the thread that started it, whatever becomes of the test.
final class EtcdMember: Sendable {
    let port: Int
    private let arguments: [String]
    private let log: String
    private let process = Mutex<pid_t?>(nil)

    init(port: Int, arguments: [String], log: String) {
        self.port = port
        self.arguments = arguments
        self.log = log
    }

    deinit { kill() }

    /// On the namespace's thread.
    func start() throws {
        let command = ["setpriv", "--pdeathsig", "KILL", "etcd"] + arguments
        let pid = try NamespaceThread.spawn(command, output: log)
        process.withLock { $0 = pid }
    }

    /// `kill -9`, and waits for it.
    func kill() {
        process.withLock { process in
            guard let pid = process else { return }
            Glibc.kill(pid, SIGKILL)
            var status: Int32 = 0
            waitpid(pid, &status, 0)
            process = nil
        }
    }

    /// Asks it to end, and waits.
    func stop() {
        process.withLock { process in
            guard let pid = process else { return }
            Glibc.kill(pid, SIGTERM)
            var status: Int32 = 0
            waitpid(pid, &status, 0)
            process = nil
        }
    }

    func freeze() { signal(SIGSTOP) }
    func thaw() { signal(SIGCONT) }

    private func signal(_ number: Int32) {
        process.withLock { process in
            if let pid = process { _ = Glibc.kill(pid, number) }
        }
    }
}
