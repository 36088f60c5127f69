// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Testing

extension SystemTests {
    /// One host whose data lies in etcd: what the plugin asks of it, and what happens when it is away.
    @Suite(.lab(Lab.Options(datastore: "etcd")), .cleanAfterwards)
    struct OnEtcd {
        let lab: Lab
        let plugin: PluginCalls

        init() throws {
            lab = try SystemTests.lab
            plugin = PluginCalls(lab: lab)
        }

        @Test func `a container costs four transactions and no read`() async throws {
            try await lab.createNetwork("blue")
            // Once, the network's name is learnt and noted.
            try await lab.run("docker run --rm --network blue bb true")
            for _ in 1...2 {
                let before = try await settledCalls()
                try await lab.run("docker run --rm --network blue bb true")
                let calls = try await lab.etcdCalls() - before
                // RequestAddress, CreateEndpoint, DeleteEndpoint, ReleaseAddress; Join and Leave none.
                #expect(calls == EtcdCalls(transactions: 4, ranges: 0))
            }
        }

        @Test func `each step of a container's life costs what it must`() async throws {
            let network = try await createNetwork()
            // The first endpoint brings the network's profile along, and once the network's name is learnt.
            try await lab.run("docker run --rm --network blue bb true")
            _ = try await settledCalls()
            let ids = PluginCalls.ids(1, on: network)
            let reply = try await costing(1) { try await plugin.requestAddress(1) }
            let address = try #require(reply.address, "\(reply)")
            try await costing(1) { try await plugin.createEndpoint(1, on: network, address: address) }
            try await costing(0) {
                try await plugin.call(
                    "NetworkDriver.Join", #"{\#(ids),"SandboxKey":"/var/run/docker/netns/abc","Options":{}}"#)
            }
            try await costing(0) { try await plugin.call("NetworkDriver.Leave", "{\(ids)}") }
            try await costing(1) { try await plugin.call("NetworkDriver.DeleteEndpoint", "{\(ids)}") }
            try await costing(1) { try await plugin.releaseAddress(address) }
        }

        @Test func `an address costs one transaction, whatever the number of pools and full blocks`() async throws {
            for number in 1...3 {
                try await lab.run(
                    "calico-libnetwork pool create small\(number) --cidr 10.9.\(number).0/24 --block-size 31")
            }
            try await lab.createNetwork("blue", "--subnet 10.9.2.0/24")
            let pool =
                #"{"AddressSpace":"CalicoAddressSpace","Pool":"10.9.2.0/24","SubPool":"","Options":{},"V6":false}"#
            let before = try await settledCalls()
            #expect(try await plugin.call("IpamDriver.RequestPool", pool).status == 200)
            let poolCalls = try await lab.etcdCalls() - before
            #expect(poolCalls == EtcdCalls(transactions: 0, ranges: 0))
            let addresses = try await assign(0..<30, pool: "small2")
            let addressCalls = try await lab.etcdCalls() - before
            #expect(addressCalls == EtcdCalls(transactions: 30, ranges: 0))
            for address in addresses { #expect(try await plugin.releaseAddress(address).status == 200) }
            try await lab.removeContainersAndNetworks()
            for number in 1...3 { try await lab.run("calico-libnetwork pool delete small\(number)") }
        }

        @Test func `a pool goes with more blocks than fit into a transaction`() async throws {
            try await lab.run("calico-libnetwork pool create many --cidr 10.9.9.0/24 --block-size 31")
            let blocks = (0..<100).map { "10.9.9.\(2 * $0)" }
            for part in [blocks.prefix(50), blocks.suffix(50)] {
                let puts = part.map { base in
                    let block =
                        #"{"cidr":"\#(base)/31","affinity":"host:gone","allocations":[null,null],"#
                        + #""unallocated":[0,1],"attributes":[]}"#
                    let quoted = block.replacing("\"", with: "\\\"")
                    return "put /calico/ipam/v2/assignment/ipv4/block/\(base)-31 \"\(quoted)\"\n"
                        + "put /calico/ipam/v2/host/gone/ipv4/block/\(base)-31 {}"
                }
                try await lab.etcdctl("txn <<'END'\n\n\(puts.joined(separator: "\n"))\n\n\nEND")
            }
            #expect(try await lab.run("calico-libnetwork pool delete many --dry-run").contains("its 100 empty blocks"))
            try await lab.run("calico-libnetwork pool delete many")
            let rest = try await lab.etcdctl("get --prefix --keys-only /calico/ipam/v2")
            #expect(!rest.contains("10.9.9."), "\(rest)")
        }

        @Test func `32 clients share transactions`() async throws {
            let before = try await lab.etcdCalls()
            let addresses = try await withThrowingTaskGroup(of: [String].self) { group in
                for client in 0..<32 { group.addTask { try await assign(client * 8..<client * 8 + 8) } }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            let calls = try await lab.etcdCalls() - before
            #expect(Set(addresses).count == 256)
            #expect(calls.transactions < 128, "\(calls) for 256 addresses")
            for address in addresses { #expect(try await plugin.releaseAddress(address).status == 200) }
        }

        @Test func `a hundred requests given up while etcd hangs leave no address`() async throws {
            let held = try #require(try await plugin.requestAddress(900).address)
            let before = try await lab.calico("ipam show", as: AddressUse.self)
            try await lab.signalEtcd("STOP")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<100 {
                    group.addTask {
                        if number.isMultiple(of: 2) {
                            try await plugin.askAndHangUp(
                                "IpamDriver.RequestAddress", PluginCalls.addressRequest(number))
                        } else {
                            let reply = try await inTime { try await plugin.requestAddress(number) }
                            #expect(reply.status == 500)
                            #expect(reply.text.contains("2379"), "\(reply) names etcd")
                        }
                    }
                }
                try await group.waitForAll()
            }
            // Those who hung up are given up by the plugin as well.
            try await Task.sleep(for: .seconds(4))
            try await lab.signalEtcd("CONT")
            let next = try await onceRecovered(901)
            // What is carried out late shows at the second look.
            for pause in [0, 5] {
                try await Task.sleep(for: .seconds(pause))
                let use = try await lab.calico("ipam show", as: AddressUse.self)
                #expect(use.handles == before.handles + 1, "after \(pause) s; only one more was answered")
                #expect(use.inUse == before.inUse + 1, "after \(pause) s; only one more was answered")
            }
            for address in [held, next] { #expect(try await plugin.releaseAddress(address).status == 200) }
        }

        @Test func `an endpoint that is refused while etcd hangs is gone once etcd is back`() async throws {
            let network = try await createNetwork()
            let address = try #require(try await plugin.requestAddress(1).address)
            try await lab.signalEtcd("STOP")
            let refusal = try await inTime { try await plugin.createEndpoint(1, on: network, address: address) }
            #expect(refusal.status == 500, "\(refusal)")
            // All that an engine does then, once.
            _ = try await inTime { try await plugin.releaseAddress(address) }
            try await lab.signalEtcd("CONT")
            let next = try await onceRecovered(2)
            let isGone = try await lab.eventually(within: 10) {
                try await lab.calico("endpoint list", as: [Endpoint].self).isEmpty
            }
            #expect(isGone)
            // Those that the engine could not give back the reconciler does; here it is done for it.
            for address in [address, next] { #expect(try await plugin.releaseAddress(address).status == 200) }
        }

        @Test func `with etcd away a request fails in time and says why; with etcd back it works`() async throws {
            try await expectSwiftRecovery {
                try await lab.killEtcd()
                let reply = try await inTime { try await plugin.requestAddress(1) }
                #expect(reply.status == 500)
                #expect(reply.text.contains("172.30.0.1:2379: connection refused"), "\(reply)")
            }
        }

        @Test func `a daemon that was started without etcd works as soon as etcd is there`() async throws {
            try await expectSwiftRecovery {
                try await lab.stopPlugin()
                try await lab.killEtcd()
                try await lab.startPlugin("CALICO_LIBNETWORK_REQUEST_TIMEOUT=2s")
                let reply = try await plugin.requestAddress(1)
                #expect(reply.text.contains("not ready yet"), "\(reply)")
            }
        }

        @Test func `containers talk while etcd is away, also after the plugin has restarted`() async throws {
            try await lab.createNetwork("blue")
            let first = try await lab.start("b1", on: "blue")
            let second = try await lab.start("b2", on: "blue")
            try await lab.killEtcd()
            #expect(await first.reaches(second.address))
            try await lab.stopPlugin()
            try await lab.startPlugin("CALICO_LIBNETWORK_REQUEST_TIMEOUT=2s")
            #expect(await first.reaches(second.address))
            #expect(try await plugin.call("NetworkDriver.GetCapabilities", "").status == 200)
            let reply = try await inTime(.seconds(2), tries: 3) { try await plugin.requestAddress(1) }
            #expect(reply.status == 500)
            #expect(reply.text.contains("not ready yet") && reply.text.contains("2379"), "\(reply)")
            try await lab.startEtcd()
            #expect(try await plugin.releaseAddress(onceRecovered(1)).status == 200)
            let third = try await lab.start("b3", on: "blue")
            #expect(await third.reaches(first.address))
        }

        @Test func `SIGTERM waits for the answers to requests under way, also to those before it is ready`()
            async throws
        {
            let request = #"{"PoolID":"CalicoPoolIPv4","Address":"192.168.7.77","Options":{}}"#
            try await lab.signalEtcd("STOP")
            for reason in ["2379", "the plugin is stopping"] {
                async let answer = plugin.call("IpamDriver.RequestAddress", request)
                try await Task.sleep(for: .milliseconds(500))
                try await lab.stopPlugin()  // fails after 10 seconds
                let reply = try await answer
                #expect(reply.status == 500 && reply.text.contains(reason), "\(reply)")
                #expect(try lab.pluginStatus() == "0")
                #expect(await !lab.attempt("ls /run/docker/plugins/*.sock").succeeded)
                try await lab.startPlugin()  // which waits for etcd to read its state
            }
            try await lab.signalEtcd("CONT")
            // What was on its way to etcd is carried out now.
            let released = try await lab.eventually(within: 10) {
                _ = try await plugin.releaseAddress("192.168.7.77")
                return try await lab.calico("ipam show", as: AddressUse.self).handles == 0
            }
            #expect(released)
        }

        @Test func `a locked datastore is not written`() async throws {
            let key = "/calico/resources/v3/projectcalico.org/clusterinformations/default"
            let value = try await lab.etcdctl("get --print-value-only \(key)")
            let locked = value.replacing(#""datastoreReady":true"#, with: #""datastoreReady":false"#)
            try await lab.etcdctl("put \(key) '\(locked)'")
            let reply = try await refusal(1)
            #expect(reply.text.contains("locked"), "\(reply)")
            try await lab.etcdctl("put \(key) '\(value)'")
            #expect(try await plugin.releaseAddress(onceRecovered(1)).status == 200)
        }

        @Test func `an etcd that is emptied is filled again, and gives addresses as before`() async throws {
            let node = "/calico/resources/v3/projectcalico.org/nodes/host"
            try await lab.etcdctl("del --prefix /calico/")
            let isBack = try await lab.eventually(within: 10) {
                try await lab.etcdctl("get --keys-only \(node)").contains(node)
            }
            #expect(isBack)
            #expect(try await plugin.releaseAddress(onceRecovered(1)).status == 200)
        }

        /// The id of a new network `blue`.
        private func createNetwork() async throws -> String {
            try await lab.createNetwork("blue")
            return try await lab.run("docker network inspect --format '{{.Id}}' blue")
        }

        /// Expects success, and this many transactions.
        @discardableResult
        private func costing(
            _ transactions: Int, sourceLocation: SourceLocation = #_sourceLocation,
            _ call: () async throws -> PluginReply
        ) async throws -> PluginReply {
            let before = try await lab.etcdCalls()
            let reply = try await call()
            let calls = try await lab.etcdCalls() - before
            #expect(reply.status == 200, "\(reply)", sourceLocation: sourceLocation)
            #expect(calls == EtcdCalls(transactions: transactions, ranges: 0), sourceLocation: sourceLocation)
            return reply
        }

        /// Expects the answer within the daemon's REQUEST_TIMEOUT, here `limit`, and half a second more for the way there
        /// and back; from one of the `tries`, where the answer may take as long as `limit` and the machine may be busy.
        private func inTime(
            _ limit: Duration = .seconds(10), tries: Int = 1, _ call: () async throws -> PluginReply
        ) async throws -> PluginReply {
            let limit = limit + .milliseconds(500)
            var (reply, time) = try await timed(call)
            for _ in 1..<tries where time >= limit { (reply, time) = try await timed(call) }
            #expect(time < limit, "no caller waits longer than the request timeout: \(reply)")
            return reply
        }

        private func timed(_ call: () async throws -> PluginReply) async throws -> (PluginReply, Duration) {
            let start = ContinuousClock.now
            let reply = try await call()
            return (reply, start.duration(to: .now))
        }

        /// The count once nothing else is going on.
        private func settledCalls() async throws -> EtcdCalls {
            var calls = try await lab.etcdCalls()
            _ = try await lab.eventually(within: 10) {
                try await Task.sleep(for: .milliseconds(500))
                let before = calls
                calls = try await lab.etcdCalls()
                return calls == before
            }
            return calls
        }

        private func assign(_ numbers: Range<Int>, pool: String = "CalicoPoolIPv4") async throws -> [String] {
            var addresses: [String] = []
            for number in numbers {
                let reply = try await plugin.call(
                    "IpamDriver.RequestAddress",
                    PluginCalls.addressRequest(number).replacing("CalicoPoolIPv4", with: pool))
                addresses.append(try #require(reply.address, "\(reply)"))
            }
            return addresses
        }

        /// Takes etcd away, starts it again, and expects an address from the daemon soon after etcd itself answers.
        private func expectSwiftRecovery(from loss: () async throws -> Void) async throws {
            var best = Duration.seconds(60)
            // Three rounds at most: one may meet a busy machine.
            for _ in 1...3 where best >= .seconds(2) {
                try await loss()
                let (address, time) = try await recover(1) { try await lab.startEtcd() }
                best = min(best, time)
                #expect(try await plugin.releaseAddress(address).status == 200)
            }
            #expect(best < .seconds(2), "from etcd's first answer to the daemon's")
        }

        /// An address from the daemon, etcd being on its way back: soon after etcd itself answers. How soon at best, the
        /// tests of `expectSwiftRecovery` say; here the machine may be busy.
        private func onceRecovered(_ number: Int) async throws -> String {
            let (address, time) = try await recover(number) { try await lab.awaitEtcd() }
            #expect(time < .seconds(5))
            return address
        }

        /// Has etcd come back by `revive`, and asks the daemon for an address until it gives one.
        ///
        /// - Returns: the address, and how long after etcd's own first answer it came, which is in the daemon's log too.
        private func recover(
            _ number: Int, _ revive: () async throws -> Void
        ) async throws -> (address: String, time: Duration) {
            async let answered = etcdAnswered()
            try await revive()
            var reply = try await plugin.requestAddress(number)
            _ = try await lab.eventually(within: 20) {
                if reply.address == nil { reply = try await plugin.requestAddress(number) }
                return reply.address != nil
            }
            let end = ContinuousClock.now
            let time = try await answered.duration(to: end)
            lab.mark("recovered \(time) after etcd")
            return (try #require(reply.address, "\(reply)"), time)
        }

        /// When etcd answers by itself.
        private func etcdAnswered() async throws -> ContinuousClock.Instant {
            try await lab.awaitEtcd()
            return .now
        }

        private func refusal(_ number: Int) async throws -> PluginReply {
            var reply = try await plugin.requestAddress(number)
            _ = try await lab.eventually(within: 5) {
                guard let address = reply.address else { return true }
                _ = try await plugin.releaseAddress(address)
                reply = try await plugin.requestAddress(number)
                return reply.address == nil
            }
            return reply
        }
    }

    /// Two hosts with an engine each, and one etcd.
    @Suite(.lab(Lab.Options(datastore: "etcd", hosts: ["host", "host2"])), .cleanAfterwards)
    struct ManyHosts {
        let first: Lab
        let second: Lab

        init() throws {
            first = try SystemTests.lab.on("host")
            second = try SystemTests.lab.on("host2")
        }

        @Test func `containers started at once on both get addresses of their own`() async throws {
            try await createNetworks("--subnet 192.168.0.0/16 --ipv6")
            let containers = try await withThrowingTaskGroup(of: Container.self) { group in
                for number in 1...6 {
                    for host in [first, second] { group.addTask { try await host.start("b\(number)", on: "blue") } }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(Set(containers.map(\.address)).count == 12)
            #expect(Set(containers.map(\.address6)).count == 12)
            #expect(try await first.calico("endpoint list", as: [Endpoint].self).count == 6)
            for host in [first, second] {
                let all = try await host.calico("endpoint list --all-nodes", as: [Endpoint].self)
                #expect(Set(all.flatMap(\.addresses)) == Set(containers.flatMap { [$0.address, $0.address6] }))
            }
            let table = try await first.run("calico-libnetwork endpoint list --all-nodes")
            #expect(table.contains(" host ") && table.contains(" host2 "))
        }

        @Test func `--ip that is taken on one is refused on the other, which says who holds it`() async throws {
            try await createNetworks("--subnet 192.168.0.0/16")
            let holder = try await first.start("b1", on: "blue", "--ip 192.168.7.7")
            let endpoint = try #require(try await first.calico("endpoint list", as: [Endpoint].self).first)
            let words = "endpoint \(endpoint.id.prefix(12)) of network blue on node host"
            let taking = "docker run --rm --network blue --ip 192.168.7.7 bb true"
            var refusal = await second.attempt(taking)
            #expect(!refusal.succeeded)
            #expect(refusal.errors.contains("192.168.7.7 is already assigned to "), "\(refusal.errors)")
            #expect(refusal.errors.contains(words), "\(refusal.errors)")
            #expect(!refusal.errors.contains("node host2"), "the holder's host, not the one that refuses")
            // Engines before 29 do not tell a container's name as it starts. The daemon asks for it in each of its
            // rounds, the first of which is at its start.
            try await first.stopPlugin()
            try await first.startPlugin()
            let isNamed = try await second.eventually(within: 10) {
                refusal = await second.attempt(taking)
                return refusal.errors.contains("192.168.7.7 is already assigned to container b1, \(words)")
            }
            #expect(isNamed, "\(refusal.errors)")
            #expect(await first.hostReaches(holder.address))
        }

        @Test func `a host whose blocks are full borrows, unless affinity is strict`() async throws {
            let configuration = "/calico/ipam/v2/config"
            try await first.run("calico-libnetwork pool create small --cidr 10.77.0.0/29 --block-size 30")
            try await createNetworks("--subnet 10.77.0.0/29")
            for number in 1...4 { try await first.start("b\(number)", on: "blue") }
            try await second.start("b1", on: "blue")
            try await first.etcdctl(
                #"put \#(configuration) '{"strict_affinity":true,"auto_allocate_blocks":true}'"#)
            let refused = try await eventualRefusal(on: first)
            #expect(refused.contains("strict affinity"), "\(refused)")
            try await first.etcdctl("del \(configuration)")
            _ = try await first.eventually(within: 5) {
                await first.attempt("docker run -d --name b5 --network blue bb sleep 3600").succeeded
            }
            let blocks = try await first.run("calico-libnetwork ipam show --blocks")
            #expect(blocks.contains("host:host ") && blocks.contains("host:host2 "), "\(blocks)")
            let borrowed = try await first.container("b5", on: "blue")
            #expect(await first.hostReaches(borrowed.address))
            for host in [first, second] { try await host.removeContainersAndNetworks() }
            try await first.run("calico-libnetwork pool delete small")
        }

        private func createNetworks(_ options: String) async throws {
            for host in [first, second] { try await host.createNetwork("blue", options) }
        }

        /// The watch may tell of a new configuration a moment later.
        private func eventualRefusal(on host: Lab) async throws -> String {
            var errors = ""
            _ = try await host.eventually(within: 5) {
                let attempt = await host.attempt("docker run --rm --network blue bb true")
                errors = attempt.errors
                return !attempt.succeeded
            }
            return errors
        }
    }
}
