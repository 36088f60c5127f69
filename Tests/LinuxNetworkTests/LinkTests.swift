// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc
import LinuxNetwork
import TestSupport
import Testing

@Suite struct `Links` {
    @Test func `a veth pair gets all its properties`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let created = try socket.createVethPair(.sample(group: 77, alias: "web on blue"))
            let host = try #require(try socket.link(named: name("cali0")))
            let peer = try #require(try socket.link(named: name("temp0")))

            #expect(created.index == host.index)
            #expect(host.mac == MACAddress("ee:ee:ee:ee:ee:ee"))
            #expect(host.mtu == 1440)
            #expect(host.isUp && !host.hasCarrier)
            #expect(host.group == 77)
            #expect(host.kind == "veth")
            #expect(host.alias == "web on blue")
            #expect(host.linkedIndex == peer.index)
            #expect(peer.mac == MACAddress("02:00:0a:41:00:01"))
            #expect(peer.mtu == 1440)
            #expect(!peer.isUp)
            #expect(peer.group == 0)
            #expect(try socket.links().map(\.name).sorted() == ["cali0", "lo", "temp0"])
        }
    }

    @Test func `the host end has its carrier once the peer is up, and no link-local address of the kernel's`()
        async throws
    {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let (host, _) = try connectedPair(socket)
            let link = try #require(try socket.link(index: host.index))
            #expect(link.hasCarrier)
            #expect(try socket.addresses().filter { $0.index == host.index } == [])
        }
    }

    @Test func `a taken name is refused with EEXIST, and nothing is left behind`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            try socket.createVethPair(.sample())
            for pair in [VethPair.sample("cali0", peer: "temp1"), .sample("cali1", peer: "temp0")] {
                let error = #expect(throws: NetlinkError.self) { try socket.createVethPair(pair) }
                #expect(error?.errno == EEXIST)
            }
            #expect(try socket.links().count == 3)
        }
    }

    @Test func `an alias the kernel refuses takes the pair with it`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let alias = String(repeating: "a", count: 300)
            #expect(throws: NetlinkError.self) { try socket.createVethPair(.sample(alias: alias)) }
            #expect(try socket.links().map(\.name) == ["lo"])
        }
    }

    @Test func `a link that is not there is nil, and deleting it is success`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            #expect(try socket.link(named: name("cali9")) == nil)
            #expect(try socket.link(index: 999) == nil)
            try socket.perform([.deleteLink(index: 999), .deleteLinks(inGroup: 999)])
        }
    }

    @Test func `setting changes what is given and nothing else`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let index = try socket.createVethPair(.sample(group: 5)).index
            try socket.perform(.setLink(index: index, mtu: 1300))
            var link = try #require(try socket.link(index: index))
            #expect(link.mtu == 1300 && link.group == 5 && link.isUp)
            try socket.perform(.setLink(index: index, up: false, group: 6))
            link = try #require(try socket.link(index: index))
            #expect(link.mtu == 1300 && link.group == 6 && !link.isUp)
        }
    }

    @Test func `a group goes in one request and others stay`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            for number in 0..<10 {
                try socket.createVethPair(.sample("cali\(number)", peer: "temp\(number)", group: number < 9 ? 42 : 43))
            }
            try socket.perform(.deleteLinks(inGroup: 42))
            #expect(try socket.links().map(\.name).sorted() == ["cali9", "lo", "temp9"])
        }
    }

    @Test func `a thousand links are listed whole`() async throws {
        let count = try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            for number in 0..<500 {
                try socket.createVethPair(.sample("cali\(number)", peer: "temp\(number)", group: 1))
            }
            defer { try? socket.perform(.deleteLinks(inGroup: 1)) }
            return Set(try socket.links().map(\.name)).count
        }
        #expect(count == 1001)
    }

    @Test func `an error says what was asked, and why not in the kernel's words`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let index = try socket.createVethPair(.sample()).index
            let error = #expect(throws: NetlinkError.self) { try socket.perform(.setLink(index: index, mtu: 10)) }
            #expect(error?.errno == EINVAL)
            #expect(
                error?.description
                    == "kernel refused \"ip link set \(index) mtu 10\": mtu less than device minimum (Invalid argument (22))"
            )
        }
    }
}
