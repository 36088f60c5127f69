// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Testing

@Suite struct `An endpoint's link` {
    @Test(
        arguments: [
            (["10.0.0.1"], nil, 0, 1500, 1500), (["10.0.0.1"], nil, 50, 1500, 1450),
            (["10.0.0.1"], 1400, 50, 1500, 1400),
            (["10.0.0.1"], nil, 20, 68, 68), (["10.0.0.1"], nil, 50, 1300, 1250),
            (["10.0.0.1", "fd00::1"], nil, 70, 1300, 1280), (["fd00::1"], nil, 70, 9000, 8930),
            (["fd00::1"], 1280, 70, 1500, 1280), (["fd00::1"], 1279, 0, 1500, nil), (["10.0.0.1"], 68, 0, 1500, 68),
        ] as [([String], Int?, Int, Int, Int?)])
    func `has what is asked for, else what the uplink and encapsulation leave, and what IPv6 needs`(
        addresses: [String], asked: Int?, overhead: Int, uplink: Int, expected: Int?
    ) {
        let spec = WorkloadEndpointSpec(
            orchestrator: "libnetwork", workload: "libnetwork", node: "n", endpoint: "e",
            ipNetworks: addresses.compactMap { CIDR(lenient: $0) }, profiles: [], interfaceName: "cali1", mac: nil)
        let link = EndpointLink(
            endpoint: WorkloadEndpoint(metadata: ResourceMetadata(name: "e"), spec: spec), mtu: asked,
            overhead: overhead)
        #expect((try? link.mtu(onUplink: uplink)) == expected)
    }
}
