// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation

/// A running container, seen through one of its networks.
struct Container: Sendable {
    let lab: Lab
    let name: String
    /// Its first process, as the lab's host numbers it.
    let pid: Int
    let address: String
    /// Empty on a network without IPv6.
    let address6: String
    let prefixLength: Int
    let mac: String

    /// Runs a command inside, and returns what it printed.
    @discardableResult
    func run(_ command: String) async throws -> String { try await lab.run("docker exec \(name) \(command)") }

    func attempt(_ command: String) async -> CommandOutput { await lab.attempt("docker exec \(name) \(command)") }

    /// Runs a tool of the machine in the container's network, with the rights of root over it.
    @discardableResult
    func runInNetwork(_ command: String, timeout: Int = 60) async throws -> String {
        try await lab.run("nsenter --net --target \(pid) \(command)", timeout: timeout)
    }

    /// Whether the first packet to `address` is answered.
    func reaches(_ address: String, from source: String? = nil) async -> Bool {
        await ping(address, from: source, patience: "2").succeeded
    }

    /// Whether a packet to `address` gets no answer within half a second.
    func isCutOff(from address: String, as source: String? = nil) async -> Bool {
        await ping(address, from: source, patience: "0.5").status == 1
    }

    private func ping(_ address: String, from source: String?, patience: String) async -> CommandOutput {
        let binding = source.map { "-I \($0)" } ?? ""
        return await lab.attempt("nsenter --net --target \(pid) ping -n -c 1 -W \(patience) \(binding) \(address)")
    }

    /// How many IPv4 echo requests have arrived. A forged packet gets no answer in any case; this tells whether it
    /// arrived.
    func echoRequests() async throws -> Int { try countEchoRequests(in: await lab.run("cat /proc/\(pid)/net/snmp")) }

    func echoRequests6() async throws -> Int {
        let text = try await lab.run("cat /proc/\(pid)/net/snmp6")
        let line = text.split(separator: "\n").first { $0.hasPrefix("Icmp6InEchos ") }
        guard let count = line?.split(whereSeparator: \.isWhitespace).last.flatMap({ Int($0) }) else {
            throw UnexpectedOutput(what: "/proc/net/snmp6", text: text)
        }
        return count
    }
}

/// Reads `InEchos` in the format of /proc/net/snmp: a line of names, then a line of numbers.
func countEchoRequests(in snmp: String) throws -> Int {
    let lines = snmp.split(separator: "\n").filter { $0.hasPrefix("Icmp:") }.map { $0.split(separator: " ") }
    guard lines.count == 2, let column = lines[0].firstIndex(of: "InEchos"), let count = Int(lines[1][column]) else {
        throw UnexpectedOutput(what: "/proc/net/snmp", text: snmp)
    }
    return count
}

struct UnexpectedOutput: Error, CustomStringConvertible {
    let what: String
    let text: String
    var description: String { "cannot read \(what): \(text)" }
}

extension Lab {
    /// `docker run -d`: sleeps until it is removed, and ends at once when told to.
    @discardableResult
    func start(_ name: String, on network: String, _ options: String = "") async throws -> Container {
        try await run(
            "docker run -d --name \(name) --network \(network) --stop-signal KILL \(options) bb sleep 3600")
        return try await container(name, on: network)
    }

    /// What Docker says about a container and one of its networks.
    func container(_ name: String, on network: String) async throws -> Container {
        let text = try await run("docker inspect \(name)")
        let container = try JSONDecoder().decode([InspectedContainer].self, from: Data(text.utf8)).first
        guard let container, let own = container.NetworkSettings.Networks[network] else {
            throw UnexpectedOutput(what: "network \(network) of container \(name)", text: text)
        }
        return Container(
            lab: self, name: name, pid: container.State.Pid, address: own.IPAddress, address6: own.GlobalIPv6Address,
            prefixLength: own.IPPrefixLen, mac: own.MacAddress)
    }

    /// `docker network create` with both drivers of the plugin.
    func createNetwork(_ name: String, _ options: String = "") async throws {
        try await run("docker network create -d calico --ipam-driver calico-ipam \(options) \(name)")
    }

    func attemptNetwork(_ name: String, _ options: String) async -> CommandOutput {
        await attempt("docker network create -d calico --ipam-driver calico-ipam \(options) \(name)")
    }

    /// How many IPv4 echo requests the neighbour on the LAN has got.
    func echoRequestsOutside() async throws -> Int {
        try countEchoRequests(in: await runOutside("cat /proc/net/snmp"))
    }

    /// How many IPv4 echo requests the host itself has got.
    func echoRequestsAtHost() async throws -> Int { try countEchoRequests(in: await run("cat /proc/net/snmp")) }

    func removeContainersAndNetworks() async throws {
        try await removeContainers()
        try await removeNetworks()
    }

    func removeContainers() async throws { try await run("docker ps -aq | xargs -r docker rm -f") }

    func removeNetworks() async throws {
        let drivers = "--filter driver=calico --filter driver=\(Self.managedName)"
        try await run("docker network ls -q \(drivers) | xargs -r docker network rm")
    }

    /// Tries until `condition` holds, at most for `seconds`; says whether it did.
    func eventually(within seconds: Double, _ condition: () async throws -> Bool) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            if try await condition() { return true }
            try? await Task.sleep(for: .milliseconds(100))
        }
        return try await condition()
    }
}

/// The part of `docker inspect` that matters here, in Docker's names.
private struct InspectedContainer: Decodable {
    struct State: Decodable { let Pid: Int }
    struct NetworkSettings: Decodable { let Networks: [String: Network] }

    struct Network: Decodable {
        let IPAddress: String
        let IPPrefixLen: Int
        let GlobalIPv6Address: String
        let MacAddress: String
    }

    let State: State
    let NetworkSettings: NetworkSettings
}
