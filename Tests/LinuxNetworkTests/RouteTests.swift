// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc
import LinuxNetwork
import TestSupport
import Testing

@Suite struct `Routes, neighbours and addresses` {
    @Test func `a route is listed as it was asked for, once, however often it was made`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let index = try socket.createVethPair(.sample()).index
            let routes = [
                Route(
                    destination: network("10.65.0.1/32"), outputIndex: index, scope: .link, protocolNumber: 80,
                    metric: 0),
                Route(destination: network("10.65.0.0/26"), kind: .blackhole, protocolNumber: 80),
                Route(
                    destination: network("10.65.1.0/26"), outputIndex: index, gateway: address("172.30.0.12"),
                    protocolNumber: 80, metric: 7, onlink: true),
            ]
            for _ in 1...2 { try socket.perform(routes.map { .replaceRoute($0) }) }
            let listed = try socket.routes(.v4, protocolNumber: 80)
            #expect(Set(listed) == Set(routes) && listed.count == 3)
            #expect(try socket.routes(.v4, protocolNumber: 81) == [])
        }
    }

    @Test func `IPv6 routes likewise`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let (host, _) = try connectedPair(socket)
            let route = Route(
                destination: network("fd00:65::1/128"), outputIndex: host.index, scope: .link, protocolNumber: 80)
            let hole = Route(
                destination: network("fd00:65::/122"), kind: .blackhole, protocolNumber: 80)
            for _ in 1...2 { try socket.perform([.replaceRoute(route), .replaceRoute(hole)]) }
            #expect(Set(try socket.routes(.v6, protocolNumber: 80)) == [route, hole])
            for _ in 1...2 { try socket.perform([.deleteRoute(route), .deleteRoute(hole)]) }
            #expect(try socket.routes(.v6, protocolNumber: 80) == [])
        }
    }

    @Test func `replacing moves a route to another device`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let old = try socket.createVethPair(.sample("cali0", peer: "temp0")).index
            let new = try socket.createVethPair(.sample("cali1", peer: "temp1")).index
            for index in [old, new] {
                try socket.perform(
                    .replaceRoute(
                        Route(
                            destination: network("10.65.0.1/32"), outputIndex: index, scope: .link, protocolNumber: 80))
                )
            }
            #expect(try socket.routes(.v4, protocolNumber: 80).map(\.outputIndex) == [new])
        }
    }

    @Test func `deleting asks for the same protocol and device, and a route that is gone is success`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let index = try socket.createVethPair(.sample()).index
            let route = Route(
                destination: network("10.65.0.1/32"), outputIndex: index, scope: .link, protocolNumber: 80)
            try socket.perform(.replaceRoute(route))

            var other = route
            other.protocolNumber = 4
            try socket.perform(.deleteRoute(other))
            other = route
            other.outputIndex = 1
            try socket.perform(.deleteRoute(other))
            #expect(try socket.routes(.v4, protocolNumber: 80) == [route])

            for _ in 1...2 { try socket.perform(.deleteRoute(route)) }
            #expect(try socket.routes(.v4, protocolNumber: 80) == [])
        }
    }

    @Test func `tables are kept apart, and an unused one is empty`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let route = Route(
                destination: network("10.9.0.0/16"), kind: .unreachable, protocolNumber: 80, table: 1000)
            try socket.perform(.replaceRoute(route))
            #expect(try socket.routes(.v4, table: 1000) == [route])
            #expect(try socket.routes(.v4) == [])
            #expect(try socket.routes(.v4, table: 2000) == [])
        }
    }

    @Test func `the address proxy ARP answers for is routed to lo`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let route = Route(
                destination: network("169.254.1.0/24"), outputIndex: 1, scope: .link, protocolNumber: 80)
            try socket.perform(.replaceRoute(route))
            #expect(try socket.routes(.v4) == [route])
        }
    }

    @Test func `two thousand routes go in batches and come back in one listing`() async throws {
        let count = try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let first = address("10.0.0.0")
            try socket.perform(
                (0..<2000).map {
                    .replaceRoute(
                        Route(
                            destination: CIDR(host: first.advanced(by: $0)!), kind: .blackhole, protocolNumber: 80))
                })
            return Set(try socket.routes(.v4, protocolNumber: 80).map(\.destination)).count
        }
        #expect(count == 2000)
    }

    @Test func `a batch is carried out around what is refused, and all refusals are reported`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let good = Route(destination: network("10.1.0.0/16"), kind: .blackhole, protocolNumber: 80)
            let bad = Route(destination: network("10.2.0.0/16"), outputIndex: 999, protocolNumber: 80)
            let error = #expect(throws: NetlinkError.self) {
                try socket.perform([.replaceRoute(bad), .replaceRoute(good), .replaceRoute(bad)])
            }
            guard case .refused(let refusals) = error else { throw error! }
            #expect(refusals.map(\.errno) == [ENODEV, ENODEV])
            #expect(refusals.first?.request == "ip route replace 10.2.0.0/16 dev 999")
            #expect(try socket.routes(.v4) == [good])
        }
    }

    @Test func `neighbours are permanent, replaceable and deletable twice`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let index = try socket.createVethPair(.sample()).index
            let first = MACAddress("02:00:00:00:00:01")!
            let second = MACAddress("02:00:00:00:00:02")!
            for mac in [first, second, second] {
                for text in ["10.65.0.1", "fd00::1"] {
                    try socket.perform(.replaceNeighbour(address(text), mac: mac, index: index))
                }
            }
            let listed = try socket.neighbours().filter { $0.index == index && $0.isPermanent }
            #expect(Set(listed.map(\.address)) == [address("10.65.0.1"), address("fd00::1")])
            #expect(listed.allSatisfy { $0.mac == second })
            for _ in 1...2 {
                for text in ["10.65.0.1", "fd00::1"] {
                    try socket.perform(.deleteNeighbour(address(text), index: index))
                }
            }
            try socket.perform(.deleteNeighbour(address("10.65.0.1"), index: 999))
            #expect(try socket.neighbours().filter { $0.index == index && $0.isPermanent } == [])
        }
    }

    @Test func `an IPv6 address without duplicate detection is usable at once, and adding it twice is success`()
        async throws
    {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let (host, _) = try connectedPair(socket)
            let gateway = AddressWithPrefix("fe80::1/64")!
            for _ in 1...2 {
                try socket.perform(.addAddress(gateway, index: host.index, scope: .link, nodad: true))
            }
            let listed = try socket.addresses().filter { $0.index == host.index }
            #expect(listed.map(\.address) == [gateway.address])
            #expect(listed.first?.prefixLength == 64)
            #expect(listed.first?.scope == .link)
            #expect((listed.first?.flags ?? 0) & 0x40 == 0)  // IFA_F_TENTATIVE
            for _ in 1...2 { try socket.perform(.deleteAddress(gateway, index: host.index)) }
            #expect(try socket.addresses().filter { $0.index == host.index } == [])
        }
    }

    @Test func `an IPv4 address likewise`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let index = try socket.createVethPair(.sample()).index
            let tunnel = AddressWithPrefix("10.65.0.5/32")!
            for _ in 1...2 { try socket.perform(.addAddress(tunnel, index: index)) }
            #expect(try socket.addresses().filter { $0.index == index }.map(\.address) == [tunnel.address])
            for _ in 1...2 { try socket.perform(.deleteAddress(tunnel, index: index)) }
            #expect(try socket.addresses().filter { $0.index == index } == [])
        }
    }
}
