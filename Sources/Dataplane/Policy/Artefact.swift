// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import LinuxNetwork

/// Which way traffic goes, seen from the endpoint.
enum Direction: String, Hashable, Sendable, CaseIterable {
    /// To the endpoint.
    case ingress
    /// From the endpoint.
    case egress
}

/// A chain or set that exists as long as something refers to it. Endpoints with the same policies share all of theirs.
enum Artefact: Hashable, Sendable {
    /// Everything that decides about an endpoint's traffic in one direction.
    case endpoint(tiers: [TierReference], profiles: [String], Direction)
    case tier(TierReference, Direction)
    case policy(Key, Direction)
    case profile(String, Direction)
    /// Addresses of what a selector selects.
    case members(Selector, IPAddress.Family)
    /// Addresses and numbers of a named port.
    case ports(name: String, protocolNumber: UInt8, IPAddress.Family)

    var name: String {
        switch self {
        case .endpoint(let tiers, let profiles, let direction):
            "endpoint-\(direction)-" + ObjectName.hash((tiers.map(\.text) + [""] + profiles).joined(separator: "\n"))
        case .tier(let tier, let direction): "tier-\(direction)-" + ObjectName.hash(tier.text)
        case .policy(let key, let direction):
            ObjectName.readable("policy-\(direction)", String(key.path.dropFirst(Key.allResources.path.count)))
        case .profile(let name, let direction): ObjectName.readable("profile-\(direction)", name)
        case .members(let selector, let family): "members\(family.number)-" + ObjectName.hash(selector.text)
        case .ports(let name, let number, let family): "ports\(family.number)-" + ObjectName.hash("\(number) \(name)")
        }
    }
}

/// The policies of one tier that apply to an endpoint in one direction, in order.
struct TierReference: Hashable, Sendable {
    let name: String
    let passesByDefault: Bool
    let policies: [PolicyReference]

    struct PolicyReference: Hashable, Sendable {
        let key: Key
        /// It has a rule that leaves the tier.
        let passes: Bool
    }

    var passes: Bool { policies.contains(where: \.passes) }
    var text: String {
        "\(name) \(passesByDefault ? "pass" : "deny")\n"
            + policies.map { "\($0.key) \($0.passes ? "passes" : "")" }.joined(separator: "\n")
    }
}

/// An artefact in use.
struct ArtefactState: Sendable {
    /// Endpoints and artefacts that refer to it.
    var users = 1
    /// What its own lines refer to.
    var dependencies: [Artefact] = []
    /// Of a set of members: how many members bring each network.
    var networks: [CIDR: Int] = [:]
    /// How many of ``networks`` are more than one address.
    var wideNetworks = 0
    /// Of a set of ports: how many members bring each element.
    var ports: [String: Int] = [:]
}
