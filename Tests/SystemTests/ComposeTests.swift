// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Testing

extension SystemTests {
    /// The projects in `examples/`, as their users run them.
    @Suite(.enabled(if: LabEngine.current.hasCompose, "engine \(LabEngine.current) has no Compose v2"))
    struct Compose {
        @Suite(.lab(), .cleanAfterwards)
        struct Examples {
            let lab: Lab
            init() throws { lab = try SystemTests.lab }

            @Test func `static-address: a service is found at the address it chose`() async throws {
                try await lab.withProject("static-address") { project in
                    let server = try await project.service("server", on: "web")
                    let client = try await project.service("client", on: "web")
                    #expect(server.address == "192.168.7.10")
                    #expect(contains("192.168.0.0/16", client.address))
                    #expect(try await client.run("wget -q -O - http://192.168.7.10/") == "served")
                    #expect(try await client.run("wget -q -O - http://server/") == "served", "by name")
                }
            }

            @Test func `two-networks: a proxy reaches both sides, which do not reach each other`() async throws {
                try await lab.withProject("two-networks") { project in
                    let visitor = try await project.service("visitor", on: "front")
                    let database = try await project.service("database", on: "back")
                    let front = try await project.service("proxy", on: "front")
                    let back = try await project.service("proxy", on: "back")
                    for (member, own) in [(visitor, front), (database, back)] {
                        #expect(await own.reaches(member.address), "to \(member.name)")
                        #expect(await member.reaches(own.address), "from \(member.name)")
                    }
                    #expect(await visitor.isCutOff(from: database.address))
                    let usual = try await front.run("ip route get \(Lab.outside)")
                    #expect(usual.contains(" src \(front.address)"), "the default route is that of front")
                    #expect(await front.reaches(Lab.outside))
                    #expect(await database.isCutOff(from: Lab.outside))
                }
            }

            @Test(.enabled(if: LabEngine.current == .v28_5, "\(LabEngine.current) has an older Compose"))
            func `labels: an endpoint has the labels of its network and its own, and the MTU asked for`()
                async throws
            {
                try await lab.withProject("labels") { project in
                    let web = try await project.service("web", on: "shop")
                    let worker = try await project.service("worker", on: "shop")
                    let endpoints = try await lab.calico("endpoint list", as: [LabelledEndpoint].self)
                    let labels = Dictionary(uniqueKeysWithValues: endpoints.map { ($0.mac, $0.labels) })
                    #expect(labels[web.mac]?["role"] == "web")
                    #expect(labels[web.mac]?["tier"] == "online")
                    #expect(labels[worker.mac]?["role"] == "worker")
                    #expect(labels[worker.mac]?["tier"] == "batch", "its own wins over the network's")
                    #expect(try await web.run("cat /sys/class/net/cali0/mtu") == "1400")
                    #expect(await web.reaches(worker.address))
                }
            }

            @Test func `ipv6: services reach each other in both families`() async throws {
                try await lab.withProject("ipv6") { project in
                    let server = try await project.service("server", on: "dual")
                    let client = try await project.service("client", on: "dual")
                    #expect(await client.reaches(server.address))
                    #expect(await client.reaches(server.address6))
                }
            }

            @Test func `external-network: a project joins what is there, and leaves it there`() async throws {
                try await lab.createNetwork("shared")
                let other = try await lab.start("other", on: "shared")
                try await lab.withProject("external-network") { project in
                    let server = try await project.service("server", on: "shared", ofProject: false)
                    #expect(await other.reaches(server.address))
                    #expect(await server.reaches(other.address))
                }
                #expect(try await lab.run("docker network ls -q --filter name=^shared$") != "")
            }
        }
    }
}

private struct LabelledEndpoint: Decodable {
    let mac: String
    let labels: [String: String]
}

/// A project of `examples/` that is up.
private struct Project {
    let lab: Lab
    let name: String

    /// The container of a service, seen through one of its networks, which bears the project's name too unless it is
    /// `external`.
    func service(_ service: String, on network: String, ofProject: Bool = true) async throws -> Container {
        try await lab.container("\(name)-\(service)-1", on: ofProject ? "\(name)_\(network)" : network)
    }
}

extension Lab {
    /// `docker compose up` with the test image, then `body`, then `down`, which has to take the project's networks along.
    fileprivate func withProject(_ name: String, _ body: (Project) async throws -> Void) async throws {
        let folder = "\(directory)/examples/\(name)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data(contentsOf: URL(filePath: "\(repositoryPath)examples/\(name)/compose.yaml"))
            .write(to: URL(filePath: "\(folder)/compose.yaml"))
        let compose = "IMAGE=bb docker compose --project-directory \(folder) --progress plain"
        try await run("\(compose) up -d")
        try await body(Project(lab: self, name: name))
        try await run("\(compose) down")
        #expect(try await run("docker network ls -q --filter label=com.docker.compose.project=\(name)") == "")
    }
}
