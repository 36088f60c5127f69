// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// `docker run` on three networks, taking turns.
struct ContainerStarts {
    let plan: Plan
    private static let networks = ["calico", "bridge", "none"]

    func measure() throws -> Table {
        progress("docker run")
        let daemon = try Daemon(plan.program, store: .sqlite("\(plan.folder)/docker.sqlite"), engine: true)
        try docker("network", "create", "-d", "calico", "--ipam-driver", "calico-ipam", "calico")
        for network in Self.networks { try run(on: network) }
        var samples: [String: Sample] = [:]
        for _ in 0..<plan.containers {
            for network in Self.networks {
                try samples[network, default: Sample()].time { try run(on: network) }
            }
        }
        try docker("network", "rm", "calico")
        try daemon.stop()
        return table(samples)
    }

    private func table(_ samples: [String: Sample]) -> Table {
        var table = Table(
            "docker run --rm --network … bb true (n=\(plan.containers), taking turns)", "network", "median ms",
            "p95 ms",
            "against bridge", "predecessor ms", "against bridge")
        let bridge = samples["bridge"]?.median ?? 0
        for network in Self.networks {
            let sample = samples[network] ?? Sample()
            let published = Predecessor.runs[network] ?? 0
            table.add(
                network, sample.median.text(0), sample.p95.text(0), (sample.median / bridge).factor, published.text(0),
                (published / (Predecessor.runs["bridge"] ?? 1)).factor)
        }
        return table
    }

    private func run(on network: String) throws { try docker("run", "--rm", "--network", network, "bb", "true") }

    private func docker(_ arguments: String...) throws {
        try ChildProcess.run(["docker"] + arguments, output: "\(plan.folder)/docker.log")
    }
}
