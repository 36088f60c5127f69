// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Testing

@testable import LibnetworkPlugin

extension ConformanceCase {
    static let transport: [ConformanceCase] = [
        .init(
            1, "calico.sock says that it is a network driver",
            .call("Plugin.Activate", "", .exactly(#"{"Implements":["NetworkDriver"]}"#))),
        .init(
            2, "calico-ipam.sock says that it is an IPAM driver",
            .check { plugin async throws in
                let reply = try await plugin.call("Plugin.Activate", on: .ipam)
                #expect(reply.json == JSONValue(text: #"{"Implements":["IpamDriver"]}"#))
            }),
        .init(
            4, "50 requests at once are answered, each with its own answer",
            .check { plugin async throws in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<50 {
                        group.addTask {
                            let reply = try await plugin.call(
                                "NetworkDriver.AllocateNetwork",
                                #"{"NetworkID":"n","Options":{"a":"\#(number)"},"IPv4Data":[],"IPv6Data":null}"#)
                            #expect(reply["Options"]?["a"]?.string == "\(number)")
                        }
                    }
                    try await group.waitForAll()
                }
            }),
        .init(
            6, "an unknown method is not found",
            .call("NetworkDriver.Nope", "{}", .status(404)),
            .holds { plugin in try await plugin.call("NetworkDriver.Nope", "{}")["Err"] != nil }),
        .init(
            7, "GET is refused without harm",
            .check { plugin async throws in
                let reply = try await plugin.send("Plugin.Activate", "", "GET", on: .network)
                #expect(reply.status == 405)
                #expect(try await plugin.call("Plugin.Activate").status == 200)
            }),
        .init(8, "half a body is refused", .call("NetworkDriver.CreateNetwork", "{", .refused("cannot be understood"))),
        .init(
            9, "a list in place of an object is refused",
            .call("NetworkDriver.CreateNetwork", "[]", .refused("cannot be understood"))),
        .init(
            10, "an empty body where arguments are due changes nothing",
            .call("NetworkDriver.CreateNetwork", Sample.create(), .answered),
            .call("NetworkDriver.CreateEndpoint", "", .refused("without its arguments")),
            .call("NetworkDriver.Join", "\n", .refused("without its arguments")),
            .call("NetworkDriver.DeleteNetwork", "", .refused("without its arguments")),
            .call("IpamDriver.RequestAddress", "", .refused("without its arguments")),
            .call("IpamDriver.ReleasePool", "", .refused("without its arguments")),
            .check { plugin async throws in
                #expect(try await plugin.contents() == Contents(networks: [Sample.network]))
            }),
        .init(
            11, "unknown members are ignored",
            .call(
                "NetworkDriver.CreateNetwork", Sample.create(options: #","com.docker.network.new_in_30":[1,{"a":2}]"#),
                .exactly("{}")),
            .call(
                "NetworkDriver.DeleteNetwork", #"{"NetworkID":"\#(Sample.network)","Why":{"deep":[null]}}"#,
                .exactly("{}"))),
        .init(
            12, "members in lower case, absent ones and nulls are read as Go reads them",
            .call(
                "NetworkDriver.CreateNetwork",
                #"{"networkid":"\#(Sample.network)","Options":null,"IPv4Data":null,"IPv6Data":null}"#,
                .exactly("{}")),
            .call("IpamDriver.RequestPool", #"{"pool":"192.168.0.0/16"}"#, .including(#"{"PoolID":"p4"}"#)),
            .call("IpamDriver.RequestAddress", #"{"poolid":"p4","options":null}"#, .answered)),
        .init(
            13, "a port map of 1 MiB is accepted",
            .call(
                "NetworkDriver.CreateEndpoint",
                Sample.endpoint(options: #"{"com.docker.network.portmap":[\#(portMap)]}"#), .answered)),
        .init(
            15, "while the datastore hangs a request fails within the deadline, and later ones succeed",
            limit: .seconds(6),
            .check { plugin async throws in
                plugin.faults.hang()
                let start = ContinuousClock.now
                let reply = try await plugin.call("IpamDriver.RequestAddress", Sample.address("p4"))
                #expect(reply.refusal?.contains("took longer than") == true, "\(reply)")
                #expect(start.duration(to: .now) < .seconds(30))
                plugin.faults.hang(false)
                // The address of the request that was given up is given back.
                try await eventually { try await plugin.contents() == .nothing }
            },
            .call("IpamDriver.RequestAddress", Sample.address("p4"), .answered)),
    ]

    /// 1 MiB of bindings, most of it in a member that nobody knows.
    private static var portMap: String {
        let padding = String(repeating: "x", count: 1000)
        return Array(
            repeating: #"{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":8080,"New":"\#(padding)"}"#, count: 1000
        ).joined(separator: ",")
    }

    static let capabilities: [ConformanceCase] = [
        .init(
            16, "the driver's capabilities do not depend on the datastore",
            limit: .milliseconds(200),
            .check { $0.faults.hang() },
            .call(
                "NetworkDriver.GetCapabilities", "",
                .exactly(#"{"Scope":"local","ConnectivityScope":"global","GwAllocChecker":true}"#)),
            .call("IpamDriver.GetCapabilities", "", .answered),
            .check { $0.faults.hang(false) }),
        .init(
            17, "IPAM wants the MAC with each request and no replay",
            decision: "The MAC makes an allocation traceable to its endpoint; the checklist leaves it out.",
            .call(
                "IpamDriver.GetCapabilities", "",
                .exactly(#"{"RequiresMACAddress":true,"RequiresRequestReplay":false}"#))),
        .init(
            18, "both address spaces have one name",
            .call(
                "IpamDriver.GetDefaultAddressSpaces", "",
                .meets { reply in
                    let local = reply["LocalDefaultAddressSpace"]?.string
                    return local?.isEmpty == false && local == reply["GlobalDefaultAddressSpace"]?.string
                })),
        .init(
            19, "no gateway address is needed",
            .call("NetworkDriver.GwAllocCheck", #"{"Options":{}}"#, .exactly(#"{"SkipIPv4":true,"SkipIPv6":true}"#))),
    ]
}
