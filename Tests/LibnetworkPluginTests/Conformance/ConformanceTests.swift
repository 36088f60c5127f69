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

    @Test(arguments: cases)
    func `the checklist holds`(_ conformance: ConformanceCase) async throws { try await conformance.run() }

    @Test func `every line of the checklist, 1 to 98, is proved by a case or by a test elsewhere`() {
        let numbers = Set(Self.cases.map(\.number)).union(Proof.elsewhere.keys)
        #expect(numbers == Set(1...98))
        #expect(Self.cases.count == Set(Self.cases.map(\.number)).count, "a number has two cases")
    }

    @Test func `each test that the checklist names is there and not switched off`() throws {
        let sources = try TestSources()
        for (number, proofs) in Proof.elsewhere {
            for proof in proofs { #expect(sources.contains(proof), "\(number): \(proof)") }
        }
        let invented = Proof("LibnetworkPluginTests", "A plugin socket", "5: nobody wrote this")
        #expect(!sources.contains(invented))
    }

    @Test func `each test that bears a number of the checklist is named by it`() throws {
        for (numbers, title) in try TestSources().numberedTitles {
            for number in numbers {
                #expect(Proof.elsewhere[number]?.contains { $0.title == title } == true, "\(number): \(title)")
            }
        }
    }
}
