// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

extension SystemTests {
    /// Data lies in etcd because etcdctl writes the policies.
    @Suite(.lab(Lab.Options(datastore: "etcd")), .cleanAfterwards)
    struct Labels {
        private let lab: Lab
        init() throws { lab = try SystemTests.lab }

        @Test func `a policy that selects a container's label holds for its first packet`() async throws {
            try await lab.stopPlugin()
            try await lab.startPlugin("CALICO_LIBNETWORK_LABEL_ENDPOINTS=true")
            try await writePolicies()
            // Without a profile nothing passes but what the policies allow.
            try await lab.createNetwork("blue", "-o org.projectcalico.profile=none")
            let server = try await lab.start("server", on: "blue", label("server"))
            for _ in 1...5 {
                let client = await lab.attempt(ping(server, label("client")))
                #expect(client.succeeded, "\(client.output) \(client.errors)")
            }
            #expect(await !lab.attempt(ping(server, label("stranger"))).succeeded)
            #expect(await !lab.attempt(ping(server)).succeeded)
            #expect(try await server.echoRequests() == 5, "nothing else even arrived")
            let endpoint = try #require(try await endpoints().first)
            #expect(endpoint.container == "server" && endpoint.labels["role"] == "server")
            #expect(try await endpoint.containerID == lab.run("docker inspect -f '{{.Id}}' server"))
            try await removePolicies()
        }

        @Test func `an engine that cannot be asked delays no start, and its containers go without`() async throws {
            try await lab.stopPlugin()
            try await lab.startPlugin(
                "CALICO_LIBNETWORK_LABEL_ENDPOINTS=true", "CALICO_LIBNETWORK_LABEL_POLL_TIMEOUT=1s",
                "DOCKER_HOST=unix:///nowhere/docker.sock")
            try await lab.createNetwork("blue")
            let start = ContinuousClock.now
            try await lab.start("server", on: "blue", label("server"))
            #expect(start.duration(to: .now) < .seconds(10))
            #expect(try await endpoints().first?.labels["role"] == nil)
        }

        @Test func `a container's name is shown at once, with and without its labels`() async throws {
            try await lab.stopPlugin()
            try await lab.startPlugin()
            try await lab.createNetwork("blue")
            try await lab.start("server", on: "blue", label("server"))
            let endpoint = try #require(try await endpoints().first)
            #expect(endpoint.container == "server" && endpoint.labels["role"] == nil)
            #expect(try await lab.run("calico-libnetwork endpoint list").contains(" server "))
        }

        private struct LabelledEndpoint: Decodable {
            let container: String?
            let containerID: String?
            let labels: [String: String]
        }

        private func endpoints() async throws -> [LabelledEndpoint] {
            try await lab.calico("endpoint list", as: [LabelledEndpoint].self)
        }

        private func label(_ role: String) -> String { "--label org.projectcalico.label.role=\(role)" }

        /// Just one packet, the first.
        private func ping(_ target: Container, _ options: String = "") -> String {
            "docker run --rm --network blue \(options) bb ping -c 1 -W 1 \(target.address)"
        }

        private static let policies = "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/"

        private func writePolicies() async throws {
            let specs = [
                "client": #"{"selector":"role == 'client'","types":["Egress"],"egress":[{"action":"Allow"}]}"#,
                "server": #"{"selector":"role == 'server'","types":["Ingress"],"#
                    + #""ingress":[{"action":"Allow","source":{"selector":"role == 'client'"}}]}"#,
            ]
            for (name, spec) in specs {
                let policy =
                    #"{"kind":"GlobalNetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"default.\#(name)","#
                    + #""creationTimestamp":"2026-01-01T00:00:00Z"},"spec":\#(spec)}"#
                try await lab.etcdctl("put \(Self.policies)default.\(name) '\(policy.replacing("'", with: #"'\''"#))'")
            }
        }

        private func removePolicies() async throws { try await lab.etcdctl("del --prefix \(Self.policies)") }
    }
}
