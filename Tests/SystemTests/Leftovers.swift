// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation
import Testing

/// What `calico-libnetwork` tells as JSON, as far as the tests look.
struct Pool: Decodable {
    let name: String
    let cidr: String
    let blockSize: Int
}

struct AddressUse: Decodable {
    struct PoolUse: Decodable {
        let name: String
        let cidr: String
        let inUse: Int
    }

    struct BlockUse: Decodable {
        let cidr: String
    }

    let pools: [PoolUse]
    let blocks: [BlockUse]?
    let handles: Int

    /// Addresses of all pools.
    var inUse: Int { pools.reduce(0) { $0 + $1.inUse } }
}

struct Endpoint: Decodable {
    let id: String
    let node: String
    let addresses: [String]
    let mac: String
    let interface: String
    let profiles: [String]
    let labels: [String: String]
}

struct NetworkSummary: Decodable {
    let id: String
    let profile: String?
}

extension Lab {
    /// Links are removed in the background, so this waits; what is still there at the end is reported item by item.
    func expectNothingLeft(in test: Test) async {
        do {
            var found = try await leftovers()
            _ = try await eventually(within: 10) {
                found = try await leftovers()
                return found.isEmpty
            }
            guard !found.isEmpty else { return }
            let list = found.joined(separator: "\n")
            Issue.record("left behind:\n\(list)", sourceLocation: test.sourceLocation)
        } catch {
            Issue.record("cannot tell what is left behind: \(error)", sourceLocation: test.sourceLocation)
        }
    }

    private func leftovers() async throws -> [String] {
        let pools = try await calico("pool list", as: [Pool].self).map(\.cidr)
        return try await kernelLeftovers() + rulesetLeftovers(pools: pools) + storeLeftovers()
    }

    private func kernelLeftovers() async throws -> [String] {
        let commands = ["ip -o link show", "ip route show table all", "ip -6 route show table all"]
        var found: [String] = []
        for command in commands {
            let lines = try await run(command).split(separator: "\n")
            found += lines.filter { $0.contains(" cali") || $0.contains(" temp") }.map { "`\(command)`: \($0)" }
        }
        return found
    }

    private func storeLeftovers() async throws -> [String] {
        let use = try await calico("ipam show", as: AddressUse.self)
        let endpoints = try await calico("endpoint list", as: [Endpoint].self)
        let networks = try await calico("network list", as: [NetworkSummary].self)
        var found = use.pools.filter { $0.inUse != 0 }.map { "\($0.inUse) address(es) in use in pool \($0.cidr)" }
        if use.handles != 0 { found.append("\(use.handles) address handle(s)") }
        found += endpoints.map { "endpoint \($0.id) with \($0.addresses)" }
        found += networks.map { "network \($0.id)" }
        return found
    }

    /// A set element that names a container's interface or address, or a chain made for one interface.
    private func rulesetLeftovers(pools: [String]) async throws -> [String] {
        let text = try await run("nft -j list table inet calico-libnetwork")
        let ruleset = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        let objects = ruleset?["nftables"] as? [[String: Any]] ?? []
        return objects.flatMap { object -> [String] in
            let set = (object["set"] ?? object["map"]) as? [String: Any]
            let values = (set?["elem"] as? [Any] ?? []).flatMap(singleValues)
                .filter { isEndpointInterface($0) || isAddress($0, inAnyOf: pools) }
                .map { "element \($0) of \(set?["name"] ?? "?")" }
            let chain = (object["chain"] as? [String: Any])?["name"] as? String ?? ""
            return values + (chain.contains(/cali[0-9a-f]{11}/) ? ["chain \(chain)"] : [])
        }
    }
}

/// The texts in a set element as `nft -j` writes it; a prefix stands for a whole pool and is none of an endpoint's.
private func singleValues(of element: Any) -> [String] {
    if let text = element as? String { return [text] }
    if let list = element as? [Any] { return list.flatMap(singleValues) }
    guard let object = element as? [String: Any], object["prefix"] == nil else { return [] }
    return object.values.flatMap(singleValues)
}

private func isEndpointInterface(_ text: String) -> Bool { text.hasPrefix("cali") && !text.hasSuffix("*") }

private func isAddress(_ text: String, inAnyOf pools: [String]) -> Bool {
    pools.contains { contains($0, text) }
}

/// Whether the network `cidr` contains `address`. Both are text; a mismatch of families means no.
func contains(_ cidr: String, _ address: String) -> Bool {
    let parts = cidr.split(separator: "/")
    guard parts.count == 2, let length = Int(parts[1]), let network = bytes(of: String(parts[0])),
        let candidate = bytes(of: address), network.count == candidate.count
    else { return false }
    return (0..<length).allSatisfy { bit in
        (network[bit / 8] ^ candidate[bit / 8]) & (0x80 >> UInt8(bit % 8)) == 0
    }
}

private func bytes(of address: String) -> [UInt8]? {
    let isIPv6 = address.contains(":")
    var bytes = [UInt8](repeating: 0, count: isIPv6 ? 16 : 4)
    return inet_pton(isIPv6 ? AF_INET6 : AF_INET, address, &bytes) == 1 ? bytes : nil
}
