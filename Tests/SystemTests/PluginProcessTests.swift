// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Foundation
import Testing

extension SystemTests {
    @Suite(.lab(), .cleanAfterwards)
    struct PluginProcess {
        let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `only root may speak to the sockets`() async throws {
            let modes = try await lab.run("stat -c %a /run/docker/plugins/calico{,-ipam}.sock")
            #expect(modes == "600\n600")
        }

        @Test func `SIGTERM ends it with status 0 and takes the sockets along`() async throws {
            try await lab.stopPlugin()
            #expect(try lab.pluginStatus() == "0")
            #expect(await !lab.attempt("ls /run/docker/plugins/*.sock").succeeded)
            try await lab.startPlugin()
        }

        @Test func `doctor finds nothing wrong while it runs, and says what to do when it does not`() async throws {
            let report = await lab.attempt("calico-libnetwork doctor")
            #expect(report.succeeded, "\(report.output)")
            #expect(!report.output.contains("warning"), "\(report.output)")
            try await lab.stopPlugin()
            let complaint = await lab.attempt("calico-libnetwork doctor")
            #expect(complaint.status == 1)
            #expect(complaint.output.contains("start the daemon: calico-libnetwork serve"), "\(complaint.output)")
            try await lab.startPlugin()
        }

        @Test func `a restart loses no packet of running containers`() async throws {
            try await lab.createNetwork("blue")
            let (first, second) = try await pair()
            let report = try await duringPings(from: first, to: second) {
                try await lab.stopPlugin()
                try await lab.startPlugin()
            }
            #expect(report.contains("200 packets transmitted, 200 received"))
            try await expectStillWorking(first, second)
        }

        @Test func `a kill loses no packet of running containers, and a new process takes over`() async throws {
            try await lab.createNetwork("blue")
            let (first, second) = try await pair()
            let report = try await duringPings(from: first, to: second) {
                try await lab.killPlugin()
                try await lab.startPlugin()
            }
            #expect(report.contains("200 packets transmitted, 200 received"))
            try await expectStillWorking(first, second)
        }

        @Test func `a kill amid commits loses no address that was answered`() async throws {
            let calls = PluginCalls(lab: lab)
            var given: [String] = []
            for round in 0..<4 {
                async let answers = answers(to: calls, firstNumber: round * 10_000)
                try await Task.sleep(for: .milliseconds(150 + 70 * round))
                try await lab.killPlugin()
                given += try await answers
                try await lab.startPlugin()
            }
            #expect(given.count > 20, "there were answers before the kills")
            #expect(Set(given).count == given.count, "no address twice")
            for address in given {
                let reply = try await calls.call("IpamDriver.RequestAddress", Self.request(for: address))
                #expect(reply.status == 500, "\(address) was answered, and is given again")
            }
            // At each kill, every client may have had a request whose answer got lost.
            let inUse = try await lab.calico("ipam show", as: AddressUse.self).pools.reduce(0) { $0 + $1.inUse }
            #expect((0...4 * Self.clients).contains(inUse - given.count))
            for block in try await lab.calico("ipam show --blocks", as: AddressUse.self).blocks ?? [] {
                let cidr = try #require(CIDR(block.cidr))
                for offset in 0..<64 {
                    let address = IPAddress(family: .v4, value: cidr.address.value + UInt128(offset))
                    _ = try await calls.releaseAddress(address.description)
                }
            }
        }

        private static let clients = 8

        private static func request(for address: String) -> String {
            #"{"PoolID":"CalicoPoolIPv4","Address":"\#(address)","Options":{}}"#
        }

        /// Addresses that clients were given until the plugin hung up.
        private func answers(to calls: PluginCalls, firstNumber: Int) async throws -> [String] {
            try await withThrowingTaskGroup(of: [String].self) { group in
                for client in 0..<Self.clients {
                    group.addTask {
                        var addresses: [String] = []
                        var number = firstNumber + client
                        while let reply = try? await calls.requestAddress(number), reply.status != 0 {
                            addresses.append(try #require(reply.address, "\(reply)"))
                            number += Self.clients
                        }
                        return addresses
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
        }

        @Test func `a container's life goes on where it is killed between two calls`() async throws {
            let calls = PluginCalls(lab: lab)
            let life = PluginCalls.Life(network: 0xa1, endpoint: 0xb2)
            try await calls.succeed("NetworkDriver.CreateNetwork", life.creation)
            let address = try #require(try await calls.requestAddress(1).address)
            try await calls.succeed("NetworkDriver.CreateEndpoint", life.endpoint(address))
            try await lab.killPlugin()
            try await lab.startPlugin()
            let reply = try await calls.succeed("NetworkDriver.Join", life.join)
            #expect(reply.text.contains(#""Gateway":"169.254.1."#), "\(reply)")
            try await lab.run("ip link show \(life.peerName)")
            try await lab.run("ip route get \(address) | grep ' dev \(life.interface) '")
            try await calls.succeed("NetworkDriver.Leave", life.ids)
            try await lab.killPlugin()
            try await lab.startPlugin()
            try await calls.succeed("NetworkDriver.DeleteEndpoint", life.ids)
            #expect(try await calls.releaseAddress(address).status == 200)
            try await calls.succeed("NetworkDriver.DeleteNetwork", life.ids)
        }

        @Test func `containers that stop while it is down are forgotten after it is back`() async throws {
            try await lab.createNetwork("blue")
            try await lab.start("b1", on: "blue")
            try await lab.killPlugin()
            async let removal = lab.attempt("docker rm -f b1", timeout: 60)
            try await Task.sleep(for: .milliseconds(500))
            try await lab.startPlugin()
            #expect(await removal.succeeded)
        }

        @Test func `the rules of running containers are there again if they were lost with the process`() async throws {
            for network in ["blue", "red"] { try await lab.createNetwork(network) }
            let (first, second) = try await pair()
            let red = try await lab.start("r1", on: "red")
            try await lab.killPlugin()
            _ = await lab.attempt("nft delete table inet calico-libnetwork")
            try await lab.run("ip route del \(second.address)")
            try await lab.startPlugin()
            #expect(try await lab.eventually(within: 5) { await first.reaches(second.address) })
            #expect(await first.isCutOff(from: red.address))
        }

        @Test func `a second process leaves a working plugin behind`() async throws {
            try await lab.createNetwork("blue")
            let second = await lab.attempt("timeout 3 calico-libnetwork serve", timeout: 20)
            if second.status != 124 {
                #expect(second.status != 0, "refused to start")
                #expect(!second.errors.isEmpty || !second.output.isEmpty, "and said why")
            } else {
                try await lab.stopPlugin()
                try await lab.startPlugin()
            }
            try await lab.run("docker run --rm --network blue bb true")
        }

        @Test
        func `each request has one line that says what, whose and how long, and bodies have theirs for debugging`()
            async throws
        {
            try await lab.createNetwork("blue")
            let address = try await lab.start("b1", on: "blue").address
            try await lab.run("docker rm -f b1")
            let endpoint = "endpoint=[0-9a-f]{12} method=NetworkDriver"
            let duration = "ms=[0-9]+[.][0-9]"
            let rest = "\(duration) network=[0-9a-f]{12}"
            let pool = "\(duration) pool=[^ ]+"
            for line in [
                "address=\(address)/32 mac=[0-9a-f:]{17} method=IpamDriver.RequestAddress \(pool)",
                "address=\(address)/32 \(endpoint).CreateEndpoint \(rest)", "\(endpoint).Join \(rest)",
                "\(endpoint).Leave \(rest)", "\(endpoint).DeleteEndpoint \(rest)",
                "address=\(address) method=IpamDriver.ReleaseAddress \(pool)",
            ] {
                #expect(try await logLines("info served \(line)") == 1, "\(line)")
            }
            #expect(try await logLines("(debug|.* body=).*") == 0)
        }

        @Test func `nothing in a request leaves its log line or steers the terminal that shows it`() async throws {
            _ = try await PluginCalls(lab: lab).call(
                "NetworkDriver.DeleteEndpoint", #"{"NetworkID":"n\u001b[31m\nforged","EndpointID":"eé"}"#)
            let line = try await lab.run("tail -n 1 \(lab.directory)/\(lab.host)/plugin.log")
            #expect(line.lowercased().contains(##"network="n\u001b[31m\nfor"##), "\(line)")
            #expect(line.contains(#"endpoint="eé""#) && line.contains("method=NetworkDriver.DeleteEndpoint"), "\(line)")
        }

        @Test func `its settings do what they say`() async throws {
            try await lab.stopPlugin()
            try await lab.startPlugin(
                "CALICO_LIBNETWORK_IFPREFIX=web", "CALICO_LIBNETWORK_VETH_MTU=1280",
                "CALICO_LIBNETWORK_CREATE_PROFILES=false", "CALICO_LIBNETWORK_NAMESPACE=shop", "CALICO_DEBUG=true")
            try await lab.createNetwork("blue")
            let first = try await lab.start("b1", on: "blue")
            let second = try await lab.start("b2", on: "blue")
            #expect(try await first.run("cat /sys/class/net/web0/mtu") == "1280")
            #expect(await first.isCutOff(from: second.address), "without a profile nobody is let in or out")
            #expect(await lab.hostReaches(first.address))
            let shown = try await lab.run("calico-libnetwork endpoint show \(first.address)")
            #expect(shown.contains("projectcalico.org/namespace=shop"), "\(shown)")
            #expect(shown.contains("profiles    none") || shown.contains("profiles     none"), "\(shown)")
            let id = try await lab.run("docker network inspect -f '{{.Id}}' blue")
            let body = #"body="\{.*\\"NetworkID\\":\\"\#(id)\\".*""#
            #expect(try await logLines("debug request \(body) method=NetworkDriver.Join") == 2)
            #expect(try await logLines(#"debug reply body=.*Gateway.* method=NetworkDriver.Join"#) == 2)
            try await lab.removeContainersAndNetworks()
            try await lab.stopPlugin()
            try await lab.startPlugin()
        }

        /// How many lines of the running test's log are a time and then just this, an extended regular expression.
        private func logLines(_ expression: String) async throws -> Int {
            let log = "\(lab.directory)/\(lab.host)/plugin.log"
            let lines = await lab.attempt("tac \(log) | sed '/^=== /q' | grep -Ecx '[^ ]+ \(expression)'")
            return try #require(Int(lines.output.trimmingCharacters(in: .whitespacesAndNewlines)), "\(lines)")
        }

        private func pair() async throws -> (Container, Container) {
            (try await lab.start("b1", on: "blue"), try await lab.start("b2", on: "blue"))
        }

        /// 200 pings in four seconds, and `action` in the midst of them. Returns the summary of ping.
        private func duringPings(
            from source: Container, to target: Container, _ action: () async throws -> Void
        ) async throws -> String {
            async let report = source.runInNetwork("ping -n -q -i 0.02 -c 200 \(target.address)")
            try await Task.sleep(for: .milliseconds(500))
            try await action()
            return try await report
        }

        private func expectStillWorking(_ first: Container, _ second: Container) async throws {
            let third = try await lab.start("b3", on: "blue")
            #expect(await third.reaches(first.address))
            #expect(await second.reaches(third.address))
        }
    }
}
