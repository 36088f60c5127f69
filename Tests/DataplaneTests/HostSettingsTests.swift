// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import LinuxNetwork
import Logging
import TestSupport
import Testing

@testable import Dataplane

@Suite struct `Settings of the host` {
    private static let bridge = "br-0123456789ab"

    @Test(arguments: [
        (["all": "0", "default": "0", bridge: "0"], []),
        (["all": "1", "default": "1", bridge: "1"], ["all"]),
        // Of the two values the greater counts, and 2 is the loose one.
        (["all": "2", "default": "1", bridge: "1"], []),
        (["all": "0", "default": "1", bridge: "0"], ["default"]),
        (["all": "0", "default": "2", bridge: "1"], [bridge]),
        (["all": "0", "default": "1", bridge: "1"], ["default", bridge]),
        ([:], []),
    ])
    func `a strict filter by the way back is named where it would lose a container's answers`(
        values: [String: String], strict: [String]
    ) async throws {
        try await withTemporaryFolder { root in
            for (interface, value) in values {
                let folder = "\(root)/net/ipv4/conf/\(interface)"
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
                try "\(value)\n".write(toFile: folder + "/rp_filter", atomically: true, encoding: .utf8)
            }
            let settings = HostSettings(sysctl: Sysctl(root: root), logger: Logger(label: "host"))
            let found = settings.strictFilters(bridges: [InterfaceName(Self.bridge)!])
            #expect(found == strict.map { "net.ipv4.conf.\($0).rp_filter" })
        }
    }
}
