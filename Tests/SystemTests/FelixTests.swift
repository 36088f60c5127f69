// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Testing

extension SystemTests {
    /// A stand-in for Felix comes to a host and goes again; `Tests/FelixStandIn` says what it does. (The real one cannot
    /// be had as a package.)
    @Suite(.lab(Lab.Options(datastore: "etcd")), .cleanAfterwards)
    struct BesideFelix {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `Felix takes the host over and leaves it again, and containers do not notice`() async throws {
            try await lab.createNetwork("blue")
            let first = try await lab.start("b1", on: "blue")
            let second = try await lab.start("b2", on: "blue")
            #expect(try await dataplane().hasPrefix("builtin is in force, because no"))
            let flow = try await startFlow(from: first, to: second)

            let felix = try await startFelix()
            #expect(try await lab.eventually(within: 20) { await !isPolicing() })
            #expect(try await dataplane().hasPrefix("felix is in force, because Felix runs on this host"))
            #expect(try await !lab.run("iptables -S FORWARD").contains("calico-libnetwork"))
            let third = try await lab.start("b3", on: "blue", "-p 8080:80")
            #expect(try await lab.eventually(within: 5) { await first.reaches(third.address) })
            #expect(await lab.hostReaches(third.address))
            try await lab.run("docker rm -f b3")
            #expect(try await lab.eventually(within: 5) { try await !lab.run("ip route").contains(third.address) })

            try await lab.run("kill -9 \(felix)")
            #expect(try await lab.eventually(within: 60) { await isPolicing() })
            #expect(try await dataplane().hasPrefix("builtin is in force"))
            #expect(try await lab.run("iptables -S FORWARD").contains("calico-libnetwork"))
            try await removeRulesOfFelix()
            let fourth = try await lab.start("b4", on: "blue")
            #expect(await first.reaches(fourth.address))
            #expect(await fourth.reaches(second.address))
            #expect(try await reportOfFlow(flow).contains(" 0% packet loss"))
        }

        private func isPolicing() async -> Bool {
            await lab.attempt("nft list chain inet calico-libnetwork forward-from").succeeded
        }

        /// Twenty packets a second until it is asked for its report.
        ///
        /// - Returns: its process.
        private func startFlow(from source: Container, to target: Container) async throws -> Int {
            let started = try await lab.run(
                "nsenter --net --target \(source.pid) ping -n -q -i 0.05 \(target.address) >/run/flow.log 2>&1 & echo $!"
            )
            return try #require(Int(started))
        }

        /// Fails where it has ended before.
        private func reportOfFlow(_ process: Int) async throws -> String {
            try await lab.run("kill -INT \(process) && tail --pid=\(process) -f /dev/null && cat /run/flow.log")
        }

        /// Its process.
        private func startFelix() async throws -> Int {
            let folder = repositoryPath + "Tests/FelixStandIn"
            let started = try await lab.run(
                "setsid \(folder)/calico-felix 0 nft \(folder)/etcd-endpoints host </dev/null >/run/felix.log 2>&1 & echo $!"
            )
            return try #require(Int(started))
        }

        /// As an administrator does who has removed Felix for good.
        private func removeRulesOfFelix() async throws {
            for tables in ["iptables", "ip6tables"] {
                try await lab.run("\(tables)-save | grep -v cali- | \(tables)-restore")
            }
        }

        private struct Finding: Decodable {
            let check: String
            let found: String
        }

        /// What `doctor` finds of who is the master.
        private func dataplane() async throws -> String {
            let output = await lab.attempt("calico-libnetwork doctor -o json").output
            let findings = try JSONDecoder().decode([Finding].self, from: Data(output.utf8))
            return try #require(findings.first { $0.check == "dataplane" }).found
        }
    }
}
