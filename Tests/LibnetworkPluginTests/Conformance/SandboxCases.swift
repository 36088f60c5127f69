// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Dataplane
import Testing

@testable import LibnetworkPlugin

extension ConformanceCase {
    private static let create = Step.call("NetworkDriver.CreateNetwork", Sample.create(), .answered)
    private static let endpoint = Step.call("NetworkDriver.CreateEndpoint", Sample.endpoint(), .answered)
    private static let interface = "calib2b2b2b2b2b"
    private static let expectNoLink = Step.holds { $0.dataplane.interfaces.isEmpty }

    static let sandboxes: [ConformanceCase] = [
        .init(
            77, "Join answers the link, the next hop and the way to it",
            decision: "Engines would add docker_gwbridge where there is no IPv4 next hop; the checklist leaves it out.",
            create, endpoint,
            .call(
                "NetworkDriver.Join", Sample.join,
                .exactly(
                    #"{"InterfaceName":{"SrcName":"tempb2b2b2b2b2b","DstPrefix":"cali"},"Gateway":"169.254.1.1","#
                        + #""StaticRoutes":[{"Destination":"169.254.1.1/32","RouteType":1,"NextHop":""}],"DisableGatewayService":true}"#
                )),
            .holds { $0.dataplane.interfaces == [interface] }),
        .init(
            78, "without an IPv6 address there is no IPv6 next hop", create, endpoint,
            .call(
                "NetworkDriver.Join", Sample.join,
                .meets { $0["GatewayIPv6"] == nil && !$0.text.contains("fe80") })),
        .init(
            79, "with an IPv6 address the next hop is a bare link-local address",
            .call("NetworkDriver.CreateEndpoint", Sample.endpoint(v4: "", v6: "fd00:1::5/128"), .answered),
            .call(
                "NetworkDriver.Join", Sample.join,
                .including(
                    #"{"GatewayIPv6":"fe80::1","StaticRoutes":[{"Destination":"fe80::1/128","RouteType":1,"NextHop":""}]}"#
                )),
            .call("NetworkDriver.Join", Sample.join, .meets { $0["Gateway"] == nil })),
        .init(
            80, "the sandbox's path need not exist", create, endpoint,
            .call("NetworkDriver.Join", Sample.join, .answered)),
        .init(
            81, "a repeated Join is success with one link", create, endpoint,
            .call("NetworkDriver.Join", Sample.join, .answered), .call("NetworkDriver.Join", Sample.join, .answered),
            .holds { $0.dataplane.interfaces == [interface] }),
        .init(
            82, "Join of an unknown endpoint is refused and makes no link", create,
            .call("NetworkDriver.Join", Sample.join, .refused("is not known on node")), expectNoLink),
        .init(
            83, "an internal network has a gateway and no routes that would cover other networks' addresses",
            decision: "Rules on the host keep it inside, which a container cannot change; the checklist leaves it out.",
            .call(
                "NetworkDriver.CreateNetwork", Sample.create(options: #","com.docker.network.internal":true"#),
                .answered), endpoint,
            .call(
                "NetworkDriver.Join", Sample.join,
                .including(
                    #"{"Gateway":"169.254.1.1","#
                        + #""StaticRoutes":[{"Destination":"169.254.1.1/32","RouteType":1,"NextHop":""}]}"#)),
            .holds {
                try $0.endpoint(Sample.endpoint)?.metadata.annotations[WorkloadEndpoint.internalAnnotation] == "true"
            }
        ),
        .init(
            84, "a node's networks have different next hops", create, endpoint,
            .call("NetworkDriver.CreateNetwork", Sample.create(Sample.other), .answered),
            .call(
                "NetworkDriver.CreateEndpoint",
                Sample.endpoint(Sample.other, v4: "192.168.5.6/32", network: Sample.other), .answered),
            .call("NetworkDriver.Join", Sample.join, .including(#"{"Gateway":"169.254.1.1"}"#)),
            .call(
                "NetworkDriver.Join", #"{"NetworkID":"\#(Sample.other)","EndpointID":"\#(Sample.other)"}"#,
                .including(#"{"Gateway":"169.254.1.2"}"#))),
        .init(
            85, "Leave takes the link away, however often, joined or not", create, endpoint,
            .call("NetworkDriver.Join", Sample.join, .answered),
            .call("NetworkDriver.Leave", Sample.ids, .exactly("{}")), expectNoLink,
            .call("NetworkDriver.Leave", Sample.ids, .exactly("{}")),
            .call("NetworkDriver.Leave", #"{"NetworkID":"x","EndpointID":"\#(Sample.other)"}"#, .exactly("{}")),
            .call("NetworkDriver.Leave", #"{"NetworkID":"","EndpointID":""}"#, .exactly("{}"))),
        .init(
            86, "Leave is success where the link vanished with its container", create, endpoint,
            .call("NetworkDriver.Join", Sample.join, .answered),
            .check { try await $0.dataplane.disconnect(interfaceName: interface) },
            .call("NetworkDriver.Leave", Sample.ids, .exactly("{}"))),
        .init(
            87, "there is nothing to tell of an endpoint, known or not", create, endpoint,
            .call("NetworkDriver.EndpointOperInfo", Sample.ids, .exactly(#"{"Value":{}}"#)),
            .call("NetworkDriver.EndpointOperInfo", #"{"NetworkID":"x","EndpointID":"y"}"#, .exactly(#"{"Value":{}}"#))),
        .init(
            88, "a port is published once, and refused where it is busy", create, endpoint,
            .call("NetworkDriver.ProgramExternalConnectivity", Sample.program("[]"), .exactly("{}")),
            .check { plugin async throws in try await publishOnce(plugin) }),
        .init(
            89, "revoking is success with and without ports", create, endpoint,
            .call("NetworkDriver.RevokeExternalConnectivity", Sample.ids, .exactly("{}")),
            .call(
                "NetworkDriver.ProgramExternalConnectivity", Sample.program(#"[{"Proto":6,"Port":80,"HostPort":0}]"#),
                .exactly("{}")),
            .holds { try $0.endpoint(Sample.endpoint)?.spec.ports.count == 1 },
            .call("NetworkDriver.RevokeExternalConnectivity", Sample.ids, .exactly("{}")),
            .holds { try $0.endpoint(Sample.endpoint)?.spec.ports == [] },
            .call(
                "NetworkDriver.RevokeExternalConnectivity", #"{"NetworkID":"x","EndpointID":"\#(Sample.other)"}"#,
                .exactly("{}"))),
        .init(
            90, "news of other nodes is taken note of",
            .call(
                "NetworkDriver.DiscoverNew",
                #"{"DiscoveryType":1,"DiscoveryData":{"Address":"10.0.0.2","BindAddress":"","Self":false}}"#,
                .exactly("{}")),
            .call(
                "NetworkDriver.DiscoverDelete",
                #"{"DiscoveryType":1,"DiscoveryData":{"Address":"10.0.0.2","BindAddress":"","Self":false}}"#,
                .exactly("{}"))),
        .init(
            91, "a Swarm manager's options come back as they are",
            .call(
                "NetworkDriver.AllocateNetwork",
                #"{"NetworkID":"n","Options":{"a":"b"},"IPv4Data":[{"AddressSpace":"","Pool":"0.0.0.0/0"}],"IPv6Data":null}"#,
                .exactly(#"{"Options":{"a":"b"}}"#)),
            .call("NetworkDriver.FreeNetwork", #"{"NetworkID":"n"}"#, .exactly("{}"))),
    ]

    private static func publishOnce(_ plugin: Plugin) async throws {
        let port = try HostPort.free()
        let ports = #"[{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":\#(port),"HostPortEnd":\#(port)}]"#
        for _ in 0..<2 {
            let reply = try await plugin.call("NetworkDriver.ProgramExternalConnectivity", Sample.program(ports))
            #expect(reply.json == .object([:]), "\(reply)")
            #expect(
                try plugin.endpoint(Sample.endpoint)?.spec.ports == [
                    EndpointPort(protocol: .tcp, port: 80, hostPort: port)
                ])
        }
        let second = try await plugin.call(
            "NetworkDriver.CreateEndpoint", Sample.endpoint(Sample.other, v4: "192.168.5.6/32"))
        #expect(second.status == 200)
        let refused = try await plugin.call(
            "NetworkDriver.ProgramExternalConnectivity",
            #"{"NetworkID":"\#(Sample.network)","EndpointID":"\#(Sample.other)","Options":{"com.docker.network.portmap":\#(ports)}}"#
        )
        #expect(refused.refusal?.contains("cannot publish port \(port)/tcp") == true, "\(refused)")
    }

    static let crashes: [ConformanceCase] = [
        .init(
            92, "a plugin that was killed between CreateEndpoint and Join goes on", create, endpoint,
            .check { plugin async throws in
                let next = try await plugin.restarted()
                #expect(try await next.call("NetworkDriver.Join", Sample.join)["Gateway"]?.string == "169.254.1.1")
            }),
        .init(
            93, "a plugin that was killed between Leave and DeleteEndpoint goes on", create, endpoint,
            .call("NetworkDriver.Join", Sample.join, .answered), .call("NetworkDriver.Leave", Sample.ids, .answered),
            .check { plugin async throws in
                let next = try await plugin.restarted()
                #expect(try await next.call("NetworkDriver.DeleteEndpoint", Sample.ids).status == 200)
                #expect(try await next.contents().endpoints.isEmpty)
            }),
        .init(
            94, "DeleteEndpoint may come before Leave", create, endpoint,
            .call("NetworkDriver.Join", Sample.join, .answered),
            .call("NetworkDriver.DeleteEndpoint", Sample.ids, .exactly("{}")), expectNoLink,
            .call("NetworkDriver.Leave", Sample.ids, .exactly("{}"))),
        .init(
            95, "ReleaseAddress may come before DeleteEndpoint", create,
            .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .answered), endpoint,
            .call("NetworkDriver.Join", Sample.join, .answered),
            .call("IpamDriver.ReleaseAddress", Sample.release("192.168.5.5"), .exactly("{}")), expectNoLink,
            .call("NetworkDriver.DeleteEndpoint", Sample.ids, .exactly("{}")),
            .holds { try await $0.contents().endpoints.isEmpty }),
        .init(
            96, "endpoints the engine does not know are removed after a while",
            create, .call("IpamDriver.RequestAddress", Sample.address("p4", "192.168.5.5"), .answered), endpoint,
            .check { plugin async throws in
                plugin.engine.learn(Sample.network, .init(name: "web"))
                let next = try await plugin.restarted()
                let reconciler = next.reconciler()
                await reconciler.sweep()
                #expect(try await next.contents().endpoints == [Sample.endpoint])
                await reconciler.sweep()
                #expect(try await next.contents().endpoints.isEmpty)
            }),
        .init(
            97, "without an answer from the engine containers start all the same", create,
            .check { $0.engine.fallSilent() }, endpoint, .call("NetworkDriver.Join", Sample.join, .answered),
            .holds { try $0.endpoint(Sample.endpoint)?.spec.profiles == ["network-a1a1a1a1a1a1"] }),
    ]
}

extension Plugin {
    func reconciler(requestTimeout: Duration = .seconds(10)) -> Reconciler {
        Reconciler(
            driver: network, allocator: allocator, engine: engine, requestTimeout: requestTimeout, logger: .silent)
    }
}
