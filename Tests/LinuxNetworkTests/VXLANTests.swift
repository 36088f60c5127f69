// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc
import LinuxNetwork
import TestSupport
import Testing

@Suite struct `VXLAN` {
    @Test func `a device and its forwarding entries, each made, repeated and removed`() async throws {
        try await inNewNetworkNamespace {
            let socket = try RouteSocket()
            let (uplink, _) = try connectedPair(socket)
            try socket.perform(.addAddress(AddressWithPrefix("172.30.1.11/24")!, index: uplink.index))
            let device = VXLANDevice(
                name: name("vxlan.calico"), mac: MACAddress("66:16:5b:4e:28:3d")!, mtu: 1390, identifier: 4096,
                port: 4789,
                local: address("172.30.1.11"), parentIndex: uplink.index)
            try socket.perform(.createVXLAN(device))
            let link = try #require(try socket.link(named: device.name))
            #expect(link.kind == "vxlan" && link.isUp)
            #expect(link.vxlan == device)
            let again = #expect(throws: NetlinkError.self) { try socket.perform(.createVXLAN(device)) }
            #expect(again?.errno == EEXIST)

            let mac = MACAddress("66:dc:5a:6e:b9:6f")!
            for last in [12, 13, 13] {
                let entry = ForwardingEntry(mac: mac, destination: address("172.30.2.\(last)"), index: link.index)
                try socket.perform(.replaceForwardingEntry(entry))
            }
            let entry = ForwardingEntry(mac: mac, destination: address("172.30.2.13"), index: link.index)
            #expect(try socket.forwardingEntries() == [entry])
            for _ in 1...2 { try socket.perform(.deleteForwardingEntry(entry)) }
            #expect(try socket.forwardingEntries() == [])
        }
    }
}
