// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Synchronization

/// Look-ups that no request waits for, each in a task that this owns.
final class BackgroundWork: Sendable {
    private let tasks = Mutex<[String: Task<Void, Never>]>([:])

    /// Starts `work`, unless some with this name is under way.
    func run(_ name: String, _ work: @escaping @Sendable () async -> Void) {
        tasks.withLock { tasks in
            guard tasks[name] == nil else { return }
            tasks[name] = Task {
                await work()
                self.forget(name)
            }
        }
    }

    /// Returns once there is no work of this name.
    func end(_ name: String) async {
        let task = tasks.withLock { $0[name] }
        task?.cancel()
        await task?.value
    }

    private func forget(_ name: String) { tasks.withLock { $0[name] = nil } }

    deinit { tasks.withLock { $0.values.forEach { $0.cancel() } } }
}
