// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore

extension NetworkDriver {
    /// No datastore round trip: the endpoint was written by CreateEndpoint. One commit for a container's labels, and one
    /// where it is on other Calico networks.
    func join(_ request: EndpointRequest) async throws -> JoinReply {
        guard let created = try endpoint(request.endpointID)?.value else {
            throw PluginError(
                "endpoint \(request.endpointID.abbreviated) is not known on node \(node); CreateEndpoint must come first"
            )
        }
        let endpoint = await labelled(created, network: request.networkID)
        let network = network(request.networkID)?.value
        let hop = network?.nextHops[node] ?? 1
        let options = network.map(NetworkOptions.init(of:))
        let nextHops = NextHops(number: hop)
        let connection = try await dataplane.connect(
            EndpointLink(
                endpoint: endpoint, mtu: options?.mtu ?? settings.mtu,
                overhead: replica.read { $0.encapsulationOverhead(of: endpoint.spec.addresses) },
                nextHop6: nextHops.v6, sandbox: request.sandbox))
        // What was learnt meanwhile may have been in force before, and then not be any more.
        if let present = try self.endpoint(request.endpointID)?.value, present != endpoint {
            await dataplane.apply([ClusterChange(present)])
        }
        try await unite(endpoint, connection, sandbox: request.sandbox)
        return reply(to: endpoint, nextHops, prefix: options?.interfacePrefix ?? settings.interfacePrefix)
    }

    /// An internal network's endpoint has a default route too: routes to the pools would cover the addresses of the
    /// container's other networks, which engines refuse. The dataplane keeps it inside.
    private func reply(to endpoint: WorkloadEndpoint, _ hops: NextHops, prefix: String) -> JoinReply {
        var reply = JoinReply(
            InterfaceName: .init(SrcName: EndpointIdentity.peerName(endpoint.spec.endpoint), DstPrefix: prefix))
        // A next hop of a family the endpoint does not have makes the start fail: the engine has switched it off.
        for family in IPAddress.Family.allCases where endpoint.spec.addresses.contains(where: { $0.family == family }) {
            let hop = hops[family]
            reply.StaticRoutes.append(
                .init(Destination: CIDR(host: hop).description, RouteType: .connected, NextHop: ""))
            if family == .v4 {
                reply.Gateway = hop.description
            } else {
                reply.GatewayIPv6 = hop.description
            }
        }
        return reply
    }

    func leave(_ request: EndpointRequest) async throws -> EmptyReply {
        guard let identity = try? identity(request.endpointID) else { return EmptyReply() }
        await ports.release(request.endpointID)
        try await dataplane.disconnect(interfaceName: EndpointIdentity.interfaceName(identity.endpoint))
        return EmptyReply()
    }
}

/// A network's link-local next hops. They differ between a node's networks: one container cannot have the same route on
/// two interfaces.
struct NextHops {
    let v4: IPAddress
    let v6: IPAddress

    /// - Parameter number: 1...254, see `NetworkRecord.nextHops`.
    init(number: Int) {
        v4 = IPAddress(family: .v4, value: 0xa9fe_0100 + UInt128(number))
        v6 = IPAddress(family: .v6, value: 0xfe80 << 112 + UInt128(number))
    }

    subscript(family: IPAddress.Family) -> IPAddress { family == .v4 ? v4 : v6 }
}
