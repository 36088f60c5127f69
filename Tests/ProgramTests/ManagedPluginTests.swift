// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Testing

@testable import calico_libnetwork

@Suite struct `The managed plugin's config.json` {
    private struct Config: Decodable {
        struct Variable: Decodable {
            let name: String
            let value: String
            let settable: [String]?
        }
        struct Mount: Decodable {
            let destination: String
        }

        let env: [Variable]
        let mounts: [Mount]
    }

    private func config() throws -> Config {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../packaging/plugin/config.json")
        return try JSONDecoder().decode(Config.self, from: Data(contentsOf: file))
    }

    @Test func `every setting can be set, save where the engine itself looks, and each begins with its default`() throws
    {
        let variables = try Configuration(environment: [:], readFile: { _ in nil }, hostName: "host-1").settings
            .map(\.name).filter { $0 == $0.uppercased() }
        let offered = try config().env.filter { $0.settable == ["value"] }
        let fixed: Set = ["CALICO_LIBNETWORK_SOCKET_DIR", "CALICO_LIBNETWORK_SYSCTL_ROOT"]
        #expect(Set(offered.map(\.name)) == Set(variables).subtracting(fixed))
        #expect(offered.allSatisfy { $0.value.isEmpty })
    }

    @Test func `kernel settings are looked for where they are mounted`() throws {
        let environment = try Dictionary(uniqueKeysWithValues: config().env.map { ($0.name, $0.value) })
        let configuration = try Configuration(environment: environment, readFile: { _ in nil }, hostName: "host-1")
        #expect(try config().mounts.contains { $0.destination == configuration.sysctlRoot + "/net" })
    }
}
