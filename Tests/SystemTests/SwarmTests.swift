// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Testing

extension SystemTests {
    /// Two engines in a Swarm, each with the managed plugin, and one etcd for both.
    ///
    /// The plugin makes no routes between hosts yet; where packets have to go from one to the other, a test makes them.
    @Suite(.lab(Lab.Options(datastore: "etcd", hosts: ["host", "host2"], isManaged: true)))
    struct Swarm {
        let manager: Lab
        let worker: Lab
        private var nodes: [Lab] { [manager, worker] }

        init() throws {
            manager = try SystemTests.lab.on("host")
            worker = try SystemTests.lab.on("host2")
        }

        @Test(.cleanAfterwards)
        func `a node-local network: tasks on both nodes, found by name, reachable from either`() async throws {
            try await withSwarm(scope: "local") {
                for node in nodes {
                    try await node.run(
                        "docker network create --config-only --ipam-driver \(Lab.managedName) "
                            + "--subnet 192.168.0.0/16 -o org.projectcalico.label.tier=web web-config")
                }
                try await manager.run(
                    "docker network create -d \(Lab.managedName) --scope swarm --config-from web-config --attachable web"
                )
                try await start("ds", "--replicas 4 --replicas-max-per-node 2 --endpoint-mode dnsrr")
                let port = "--publish mode=host,published=8081,target=80"
                try await start("dv", "--replicas 2 --replicas-max-per-node 1 \(port)")
                let tasks = try await expectOwnAddresses("ds", count: 2)
                try await expectLabels(["tier": "web"])
                try await expectNames("ds", tasks)
                // A service of such a network has no virtual address; its name stands for the tasks in either mode.
                let published = try await expectOwnAddresses("dv", count: 1)
                try await expectNames("dv", published)
                try await expectPage(of: published[1][0], at: "172.30.0.12:8081")
                try await expectReachability(tasks)
                try await expectVisitors(tasks)
                try await expectNetworkFollowsTasks()
                for node in nodes { try await node.run("docker network rm web-config") }
            }
        }

        @Test(.cleanAfterwards)
        func `a network of global scope: the manager takes addresses, and tasks on both nodes use them`() async throws {
            try await withSwarm(scope: "global") {
                try await manager.run(
                    "docker network create -d \(Lab.managedName) --ipam-driver \(Lab.managedName) "
                        + "--subnet 192.168.0.0/16 --attachable web")
                try await start("ds", "--replicas 4 --replicas-max-per-node 2 --endpoint-mode dnsrr")
                let tasks = try await expectOwnAddresses("ds", count: 2)
                try await expectNames("ds", tasks)
                try await expectReachability(tasks)
                try await expectVisitors(tasks)
                try await expectNetworkFollowsTasks()
            }
        }

        // MARK: What holds

        /// - Returns: a service's tasks, those of the manager's node first.
        private func expectOwnAddresses(_ service: String, count: Int) async throws -> [[Container]] {
            let tasks = [try await manager.tasks(of: service), try await worker.tasks(of: service)]
            try #require(tasks.map(\.count) == [count, count])
            #expect(Set(tasks.joined().map(\.address)).count == 2 * count)
            for (node, tasks) in zip(nodes, tasks) {
                let known = try await node.calico("endpoint list", as: [Endpoint].self).flatMap(\.addresses)
                #expect(Set(known).isSuperset(of: tasks.map(\.address)), "on \(node.host)")
            }
            return tasks
        }

        /// Those of the network, on each node's endpoints.
        private func expectLabels(_ labels: [String: String]) async throws {
            for node in nodes {
                let endpoints = try await node.calico("endpoint list", as: [Endpoint].self)
                #expect(!endpoints.isEmpty, "on \(node.host)")
                for endpoint in endpoints {
                    let carried = endpoint.labels.filter { labels.keys.contains($0.key) }
                    #expect(carried == labels, "on \(node.host)")
                }
            }
        }

        private func expectNames(_ service: String, _ tasks: [[Container]]) async throws {
            let wanted = Set(tasks.joined().map(\.address))
            for asking in tasks.compactMap(\.first) { try await expectNames(service, wanted, from: asking) }
        }

        /// Engines tell each other names in datagrams, and what those lose in a comparison every 30 s (libnetwork's
        /// NetworkDB). A name that an engine has not heard of yet is asked of the name servers outside, which a lab lacks.
        private func expectNames(_ service: String, _ wanted: Set<String>, from asking: Container) async throws {
            var found = ""
            let areAll = try await manager.eventually(within: 75) {
                found = await asking.attempt("nslookup \(service)").output
                let addresses = found.split(separator: "\n").filter { $0.hasPrefix("Address: ") }
                return Set(addresses.map { String($0.dropFirst(9)) }) == wanted
            }
            #expect(areAll, "\(service) is not \(wanted) on \(asking.lab.host): \(found)")
        }

        private func expectPage(of task: Container, at address: String) async throws {
            try await task.run("sh -c 'echo served >/index.html; httpd -p 80 -h /'")
            #expect(try await manager.runOutside("busybox wget -q -O - http://\(address)/index.html") == "served")
        }

        private func expectReachability(_ tasks: [[Container]]) async throws {
            let (own, others) = (tasks[0], tasks[1])
            #expect(await own[0].reaches(own[1].address))
            #expect(await others[0].reaches(others[1].address))
            for (node, tasks, gateway) in [(manager, others, "172.30.0.12"), (worker, own, "172.30.0.11")] {
                for task in tasks { try await node.run("ip route replace \(task.address) via \(gateway)") }
            }
            #expect(await own[0].reaches(others[0].address))
            #expect(await others[1].reaches(own[1].address))
            for (node, tasks) in [(manager, others), (worker, own)] {
                for task in tasks { try await node.run("ip route del \(task.address)") }
            }
        }

        /// Containers of one's own on an `--attachable` network.
        private func expectVisitors(_ tasks: [[Container]]) async throws {
            let all = Set(tasks.joined().map(\.address))
            for (node, tasks) in zip(nodes, tasks) {
                let visitor = try await node.start("visitor", on: "web")
                #expect(await visitor.reaches(tasks[0].address), "on \(node.host)")
                try await expectNames("ds", all, from: visitor)
                try await node.run("docker rm -f visitor")
            }
        }

        /// A node has the network while it has tasks; the datastore has it while one node has it.
        private func expectNetworkFollowsTasks() async throws {
            let services = try await manager.run("docker service ls -q | tr '\\n' ' '")
            try await manager.run("docker node update --availability drain host2")
            #expect(try await manager.eventually(within: 20) { try await networkNodes() == ["host"] })
            let tasks = try await manager.tasks(of: "ds")
            try #require(tasks.count == 2)
            #expect(await tasks[0].reaches(tasks[1].address))
            // Of tasks that still wait for a node when their network goes, a manager forgets the addresses.
            try await manager.run("docker node update --availability active host2")
            #expect(try await manager.eventually(within: 20) { try await networkNodes() == ["host", "host2"] })
            #expect(try await manager.eventually(within: 20) { try await worker.tasks(of: "ds").count == 2 })
            try await manager.run("docker service rm \(services)")
            #expect(
                try await manager.eventually(within: 20) {
                    await manager.attempt("docker network rm web").succeeded
                })
            #expect(try await manager.eventually(within: 10) { try await networkNodes() == [] })
        }

        private func networkNodes() async throws -> [String] {
            struct Network: Decodable { let nodes: [String] }
            return try await manager.calico("network list", as: [Network].self).flatMap(\.nodes)
        }

        // MARK: The swarm

        private func withSwarm(scope: String, _ body: () async throws -> Void) async throws {
            try await setScope(scope)
            let image = "\(manager.directory)/bb.tar"
            try await manager.run("docker save bb >\(image)")
            try await worker.run("docker load -q <\(image)")
            try await manager.run("docker swarm init --advertise-addr 172.30.0.11")
            let token = try await manager.run("docker swarm join-token -q worker")
            try await worker.run("docker swarm join --token \(token) --advertise-addr 172.30.0.12 172.30.0.11:2377")
            let outcome: Result<Void, any Error>
            do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
            for node in [worker, manager] { try await node.run("docker swarm leave --force") }
            try outcome.get()
        }

        /// A new Swarm's manager asks for the scope anew.
        private func setScope(_ scope: String) async throws {
            let setting = "CALICO_LIBNETWORK_SCOPE=\(scope)"
            try await withThrowingTaskGroup(of: Void.self) { group in
                for node in nodes {
                    group.addTask {
                        if try await node.run("docker plugin inspect calico").contains(setting) { return }
                        try await node.run(
                            "docker plugin disable -f calico && docker plugin set calico \(setting) "
                                + "&& docker plugin enable calico")
                    }
                }
                try await group.waitForAll()
            }
        }

        /// By the image's id: a node that is given a name looks for a registry first, and there is none.
        private func start(_ service: String, _ options: String) async throws {
            let image = try await manager.run("docker image inspect -f '{{.Id}}' bb")
            try await manager.run(
                "docker service create -q --detach --name \(service) --no-resolve-image --stop-signal KILL "
                    + "--network web \(options) \(image) sleep 3600")
            let isComplete = try await manager.eventually(within: 30) {
                let replicas = try await manager.run(
                    "docker service ls --filter name=\(service) --format '{{.Replicas}}'")
                let numbers = replicas.split(separator: " ").first?.split(separator: "/") ?? ["0", "?"]
                return numbers.first == numbers.last
            }
            let tasks = try await manager.run("docker service ps --no-trunc \(service)")
            try #require(isComplete, "\(tasks)")
        }
    }
}

extension Lab {
    /// A service's containers on this host.
    fileprivate func tasks(of service: String) async throws -> [Container] {
        let names = try await run(
            "docker ps --filter label=com.docker.swarm.service.name=\(service) --format '{{.Names}}'")
        var tasks: [Container] = []
        for name in names.split(separator: "\n") { tasks.append(try await container(String(name), on: "web")) }
        return tasks
    }
}
