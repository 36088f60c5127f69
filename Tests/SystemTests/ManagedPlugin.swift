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
        // Without any network, as it is promised.
        let built = await execute([
            "/usr/bin/unshare", "--net", repositoryPath + "scripts/plugin", daemonPath, pluginFolder,
        ])
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

    /// In place of the plugin that was made on the host, one that was installed from a registry of the host's own.
    ///
    /// - Parameter body: gets what publishes the next version under the same name.
    func withPluginOfRegistry(
        _ variables: String, _ body: (_ publishNext: () async throws -> Void) async throws -> Void
    ) async throws {
        let settings = "\(directory)/registry.yml"
        try """
        version: 0.1
        storage: {filesystem: {rootdirectory: \(directory)/registry}}
        http: {addr: "127.0.0.1:5000"}
        """.write(toFile: settings, atomically: true, encoding: .utf8)
        let registry = try await run("docker-registry serve \(settings) >\(directory)/registry.log 2>&1 & echo $!")
        try await run("docker plugin rm -f calico")
        let name = "127.0.0.1:5000/calico"
        try await publishPlugin(name, version: "first")
        try await run("docker plugin install --grant-all-permissions --alias calico \(name) \(variables)")
        // As `lab.sh managed_plugin` does, for the end of the lab.
        try await run("docker plugin inspect -f '{{.Id}}' calico >>\(directory)/\(host)/managed-plugins")
        let end = {
            try await run("docker plugin rm -f calico; kill \(registry)")
            try await installManagedPlugin()
        }
        do {
            try await body { try await publishPlugin(name, version: "next") }
        } catch {
            try? await end()
            throw error
        }
        try await end()
    }

    /// Engines refuse a second plugin of the same content, so the versions differ in a file.
    private func publishPlugin(_ name: String, version: String) async throws {
        let copy = "\(directory)/plugin-\(version)"
        try await run("cp -a \(pluginFolder) \(copy) && echo \(version) >\(copy)/rootfs/etc/version")
        try await run("docker plugin create \(name) \(copy) && docker plugin push \(name) && docker plugin rm \(name)")
    }
}
