// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
public import CalicoModel
import LinuxNetwork

// Endpoints that no profile and no policy lets out of the pools.

extension WorkloadEndpoint {
    /// `true` on an endpoint of a network that was made with `--internal`.
    public static let internalAnnotation = "libnetwork.projectcalico.org/internal"

    /// Its addresses neither send to nor receive from anything outside of the pools, except the host.
    var isInternal: Bool { metadata.annotations[Self.internalAnnotation] == "true" }
}

extension PolicyIndex {
    /// The profiles whose egress rules hold for an interface.
    ///
    /// An internal network's profile knows its own members only. Where the container's default route is that network's,
    /// what goes to its other networks comes this way too, so their profiles are asked as well.
    func egressProfiles(_ endpoint: WorkloadEndpoint, on interface: InterfaceName) -> [String] {
        guard endpoint.isInternal else { return endpoint.spec.profiles }
        let others = siblingInterfaces(of: interface).compactMap { self.endpoint(on: $0)?.spec.profiles }
        return others.joined().reduce(into: endpoint.spec.profiles) { profiles, name in
            if !profiles.contains(name) { profiles.append(name) }
        }
    }

    /// The container's other interfaces, in order. Each has to name the other one's addresses: two containers may claim
    /// one address by mistake.
    func siblingInterfaces(of interface: InterfaceName) -> [InterfaceName] {
        guard let addresses = siblings[interface], let own = endpoint(on: interface)?.spec.addresses else { return [] }
        let found = siblings.filter { name, theirs in
            guard name != interface, let other = endpoint(on: name)?.spec.addresses else { return false }
            return addresses.isSuperset(of: other) && theirs.isSuperset(of: own)
        }
        return found.keys.sorted { $0.text < $1.text }
    }

    /// The endpoint that has the interface.
    func endpoint(on interface: InterfaceName) -> WorkloadEndpoint? {
        claims[interface]?.min().flatMap { endpoints[$0] }
    }
}
