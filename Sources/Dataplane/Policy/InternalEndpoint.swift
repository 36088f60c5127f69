// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

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
        guard endpoint.isInternal, let others = siblings[interface]?.keys.sorted(by: { $0.text < $1.text }) else {
            return endpoint.spec.profiles
        }
        let profiles = others.compactMap { self.endpoint(on: $0)?.spec.profiles }.joined()
        return profiles.reduce(into: endpoint.spec.profiles) { all, name in
            if !all.contains(name) { all.append(name) }
        }
    }

    /// The endpoint that has the interface.
    func endpoint(on interface: InterfaceName) -> WorkloadEndpoint? {
        claims[interface]?.min().flatMap { endpoints[$0] }
    }
}
