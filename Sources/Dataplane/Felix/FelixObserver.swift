// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import BlockingExecutor
import LinuxNetwork

/// Looks at Felix, off Swift's own threads: reading `/proc` and the kernel's rules blocks.
actor FelixObserver {
    private let executor = BlockingExecutor(label: "felix")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    nonisolated let choice: DataplaneChoice
    private nonisolated let circumstances: @Sendable () -> FelixCircumstances
    private let search: FelixSearch
    private let namespace: NetworkNamespace
    /// Where Felix was seen last.
    private var process: Int32?

    init(
        choice: DataplaneChoice, circumstances: @escaping @Sendable () -> FelixCircumstances,
        namespace: NetworkNamespace
    ) {
        self.choice = choice
        self.circumstances = circumstances
        self.namespace = namespace
        search = FelixSearch(namespace: namespace)
    }

    /// Whether Felix's coming and going can change anything.
    nonisolated var isOfUse: Bool { choice != .builtin && circumstances().canReadDatastore }

    /// Who should be the master now.
    func verdict() -> MasterVerdict {
        let sighting = search.look(firstAt: process)
        // What was seen once would be seen again.
        process = sighting?.process ?? process
        return MasterVerdict(
            choice, circumstances(), sighting: sighting, isWholeHostSeen: search.seesWholeHost || process != nil
        ) { (try? FelixRules(namespace: namespace))?.areThere == true }
    }

    func rules() throws -> FelixRules { try FelixRules(namespace: namespace) }
}
