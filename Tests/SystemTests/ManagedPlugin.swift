// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation

/// The managed plugin `calico` in engines of a lab.
extension Lab {
    /// Its name stands for both drivers.
    static let managedName = "calico:latest"

    private var pluginFolder: String { "\(directory)/plugin" }

    /// Makes the plugin of the built program, and enables it on all hosts.
    func installManagedPlugins() async throws {
        let built = await execute([repositoryPath + "scripts/plugin", daemonPath, pluginFolder])
        guard built.succeeded else { throw CommandFailure(command: "scripts/plugin", result: built) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for host in options.hosts { group.addTask { try await on(host).installManagedPlugin() } }
            try await group.waitForAll()
        }
    }

    func installManagedPlugin(_ variables: String...) async throws {
        try await perform(["managed_plugin", host, pluginFolder] + variables)
    }

    func createManagedNetwork(_ name: String, _ options: String = "") async throws {
        let name = "\(options) \(name)"
        try await run("docker network create -d \(Self.managedName) --ipam-driver \(Self.managedName) \(name)")
    }

    /// The daemon's process in the plugin, as the host numbers it.
    func managedProcess() async throws -> Int {
        let text = try await run("pgrep -x -f '/usr/local/bin/calico-libnetwork serve'")
        guard let process = Int(text) else { throw UnexpectedOutput(what: "pgrep", text: text) }
        return process
    }
}
