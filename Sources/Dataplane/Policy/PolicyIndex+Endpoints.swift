// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import LinuxNetwork

/// What an endpoint on this host has in the ruleset.
struct InstalledEndpoint: Hashable, Sendable {
    let key: Key
    let egress: Artefact
    let ingress: Artefact
    /// With what maps lead to; empty for sets.
    let elements: [ElementKey: String]
}

/// An element's place.
struct ElementKey: Hashable, Sendable {
    let set: String
    let element: String
}

extension PolicyIndex {
    mutating func setEndpoint(_ key: Key, _ endpoint: WorkloadEndpoint?) {
        let old = endpoints[key]
        guard old != endpoint else { return }
        endpoints[key] = endpoint
        for profile in Set(old?.spec.profiles ?? []) { profileUsers[profile]?.remove(key) }
        for profile in Set(endpoint?.spec.profiles ?? []) { profileUsers[profile, default: []].insert(key) }
        for profile in Set(old?.spec.profiles ?? []) where profileUsers[profile]?.isEmpty == true {
            profileUsers[profile] = nil
        }
        setMember(key, endpoint.map(member))
        let (before, after) = (localInterface(old), localInterface(endpoint))
        if let before {
            claims[before]?.remove(key)
            if claims[before]?.isEmpty == true { claims[before] = nil }
        }
        if let after { claims[after, default: []].insert(key) }
        for interface in Set([before, after].compactMap(\.self)) {
            reinstall(interface)
            siblings[interface]?.keys.forEach { reinstall($0) }
        }
    }

    mutating func setProfile(_ name: String, _ profile: ProfileSpec?) {
        let old = profiles[name]
        guard old != profile else { return }
        profiles[name] = profile
        for direction in Direction.allCases { render(.profile(name, direction)) }
        guard old?.labelsToApply ?? [:] != profile?.labelsToApply ?? [:] else { return }
        for key in profileUsers[name] ?? [] {
            guard let endpoint = endpoints[key] else { continue }
            setMember(key, member(endpoint))
            if let interface = localInterface(endpoint) { reinstall(interface) }
        }
    }

    /// An endpoint as selectors see it, with the addresses its container has elsewhere on this host.
    func member(_ endpoint: WorkloadEndpoint) -> Member {
        var member = Member(endpoint) { profiles[$0] }
        if let interface = localInterface(endpoint), let others = siblings[interface] {
            member.networks += others.values.joined().sorted().map(CIDR.init(host:))
        }
        return member
    }

    /// The interface of an endpoint of this node; Felix ignores endpoints without address or interface as well.
    private func localInterface(_ endpoint: WorkloadEndpoint?) -> InterfaceName? {
        guard let spec = endpoint?.spec, spec.node == node, !spec.ipNetworks.isEmpty else { return nil }
        return InterfaceName(spec.interfaceName)
    }

    /// Puts an interface's elements in place, or takes them away where no endpoint claims it.
    mutating func reinstall(_ interface: InterfaceName) {
        let old = installed[interface]
        let new = claims[interface]?.min().flatMap { desired($0, on: interface) }
        guard old != new else { return }
        // Acquired before the old ones are released, so that what both use stays.
        if let new { acquire(new.egress) }
        if let new { acquire(new.ingress) }
        let (before, after) = (old?.elements ?? [:], new?.elements ?? [:])
        for key in Set(before.keys).union(after.keys) where before[key] != after[key] {
            contribute(after[key], to: key, by: interface)
        }
        if let old { release(old.egress) }
        if let old { release(old.ingress) }
        installed[interface] = new
    }

    /// Two endpoints with one address or published port are someone's error, but one that goes must not cut off the
    /// other; while both are there, the first interface's word counts.
    private mutating func contribute(_ value: String?, to key: ElementKey, by interface: InterfaceName) {
        contributions[key, default: [:]][interface.text] = value
        let values = contributions[key] ?? [:]
        if values.isEmpty { contributions[key] = nil }
        rules.setElement(key.element, in: key.set, to: values.min { $0.key < $1.key }?.value)
    }

    private func desired(_ key: Key, on interface: InterfaceName) -> InstalledEndpoint? {
        guard let endpoint = endpoints[key], let member = members[key] else { return nil }
        let chain = { (direction: Direction, profiles: [String]) in
            Artefact.endpoint(tiers: tiers(member.labels, direction), profiles: profiles, direction)
        }
        let egress = chain(.egress, egressProfiles(endpoint, on: interface))
        let ingress = chain(.ingress, endpoint.spec.profiles)
        let name = NftText.quoted(interface)
        var elements = [
            ElementKey(set: HostRules.egress, element: name): "goto \(egress.name)",
            ElementKey(set: HostRules.ingress, element: name): "goto \(ingress.name)",
        ]
        for source in Set(endpoint.spec.addresses).union((siblings[interface] ?? [:]).values.joined()) {
            elements[ElementKey(set: HostRules.own(source.family), element: "\(name) . \(source)")] = ""
        }
        for address in endpoint.spec.addresses {
            elements[ElementKey(set: HostRules.loop(address.family), element: "\(address) . \(address)")] = ""
            if endpoint.isInternal {
                elements[ElementKey(set: HostRules.internals(address.family), element: "\(address)")] = ""
            }
            for port in endpoint.spec.ports { elements.merge(port.publication(to: address)) { first, _ in first } }
        }
        return InstalledEndpoint(key: key, egress: egress, ingress: ingress, elements: elements)
    }
}

extension EndpointPort {
    /// The elements that pass a port of the host on to this one; none without a host port.
    /// - Parameter address: of the endpoint.
    fileprivate func publication(to address: IPAddress) -> [ElementKey: String] {
        guard let hostPort, let number = `protocol`.number else { return [:] }
        let family = address.family
        let host = hostIP.flatMap { IPAddress($0) }
        // An address that cannot be read must not become every address.
        guard host != nil || hostIP ?? "" == "", host?.family ?? family == family else { return [:] }
        let target = ElementKey(set: HostRules.publishedTargets(family), element: "\(address) . \(number) . \(port)")
        let anywhere = "\(number) . \(hostPort)"
        let source =
            if let host, !host.isUnspecified {
                ElementKey(set: HostRules.published(family), element: "\(host) . \(anywhere)")
            } else {
                ElementKey(set: HostRules.publishedAnywhere(family), element: anywhere)
            }
        return [target: "", source: "\(address) . \(port)"]
    }
}
