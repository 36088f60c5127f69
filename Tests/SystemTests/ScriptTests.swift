// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    /// What people run by hand, on the built programs; each makes a lab of its own.
    @Suite struct Scripts {
        init() throws { try requirePrerequisites() }

        @Test func `the demonstration shows what it promises`() async throws {
            let demo = await execute(
                [repositoryPath + "scripts/demo"], environment: ["CALICO_LIBNETWORK_BINARY": daemonPath], timeout: 150)
            #expect(demo.succeeded, "\(demo.output)\(demo.errors)")
            #expect(demo.output.contains("12 of 12 checks passed"))
        }

        @Test func `the benchmarks measure everything and no request fails`() async throws {
            let bench = await execute(
                [repositoryPath + "scripts/bench", productDirectory + "calico-libnetwork-bench", "--quick"],
                environment: ["CALICO_LIBNETWORK_BINARY": daemonPath], timeout: 150)
            #expect(bench.succeeded, "\(bench.output)\(bench.errors)")
            for subject in [
                "Requests over the socket", "Address pairs", "Whole lives", "docker run", "Memory", "Start of",
            ] {
                #expect(bench.output.contains(subject))
            }
        }
    }
}
