// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Synchronization

/// The look-ups of new networks' names, each in a task that this owns.
final class NetworkNames: Sendable {
    private let tasks = Mutex<[String: Task<Void, Never>]>([:])

    func learn(_ network: String, with driver: NetworkDriver) {
        tasks.withLock { tasks in
            guard tasks[network] == nil else { return }
            tasks[network] = Task {
                await driver.learnName(of: network)
                self.forget(network)
            }
        }
    }

    private func forget(_ network: String) { tasks.withLock { $0[network] = nil } }

    deinit { tasks.withLock { $0.values.forEach { $0.cancel() } } }
}
