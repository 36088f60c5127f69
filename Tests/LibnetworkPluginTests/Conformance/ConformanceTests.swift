// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

@testable import LibnetworkPlugin

@Suite struct `What an engine may rely on` {
    static let cases: [ConformanceCase] =
        ConformanceCase.transport + ConformanceCase.capabilities + ConformanceCase.requestPool
        + ConformanceCase.addresses
        + ConformanceCase.releases + ConformanceCase.networks + ConformanceCase.endpoints + ConformanceCase.sandboxes
        + ConformanceCase.crashes

    /// Needs bytes on a real socket, or a process: 98's second half is in the system tests.
    static let elsewhere = [3: "SocketTests", 5: "SocketTests", 14: "SocketTests", 98: "SocketTests, SystemTests"]

    @Test(arguments: cases)
    func `the checklist holds`(_ conformance: ConformanceCase) async throws { try await conformance.run() }

    @Test func `every line of the checklist has its case`() {
        let numbers = Self.cases.map(\.number) + Self.elsewhere.keys
        #expect(numbers.sorted() == Array(1...98))
    }
}
