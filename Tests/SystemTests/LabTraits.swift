// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

/// Gives a suite a lab of its own, found in `Lab.current`.
struct LabTrait: SuiteTrait, TestScoping {
    let options: Lab.Options

    func provideScope(
        for test: Test, testCase: Test.Case?, performing tests: @Sendable () async throws -> Void
    ) async throws {
        let lab = try await Lab.up(options)
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await Lab.$current.withValue(lab) { try await tests() })
        } catch {
            outcome = .failure(error)
        }
        try await lab.down(logsNamed: test.name)
        try outcome.get()
    }
}

/// Removes containers and networks after each test of a suite, and expects that nothing of them is left.
struct CleanAfterwardsTrait: SuiteTrait, TestTrait, TestScoping {
    var isRecursive: Bool { true }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing body: @Sendable () async throws -> Void
    ) async throws {
        let lab = try #require(Lab.current)
        lab.mark(test.name)
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await body())
        } catch {
            outcome = .failure(error)
        }
        lab.mark("cleaning up after \(test.name)")
        // A network may have containers on several hosts.
        for host in lab.options.hosts { try await lab.on(host).removeContainers() }
        for host in lab.options.hosts { try await lab.on(host).removeNetworks() }
        for host in lab.options.hosts { await lab.on(host).expectNothingLeft(in: test) }
        try outcome.get()
    }
}

extension Trait where Self == LabTrait {
    static func lab(_ options: Lab.Options = Lab.Options()) -> Self { LabTrait(options: options) }
}

extension Trait where Self == CleanAfterwardsTrait {
    static var cleanAfterwards: Self { CleanAfterwardsTrait() }
}
