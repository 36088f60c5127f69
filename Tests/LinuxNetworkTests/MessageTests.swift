// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc
import LinuxNetwork
import Testing

/// Little-endian machines only, as x86-64 and arm64 are: netlink speaks host byte order.
@Suite struct `Netlink messages, byte by byte` {
    @Test func `a route`() throws {
        let transport = ScriptedTransport(answers: [acknowledgement(1)])
        let route = Route(
            destination: network("10.65.1.0/26"), outputIndex: 7, gateway: address("172.30.0.12"), protocolNumber: 80,
            onlink: true)
        try RouteSocket(transport: transport).perform(.replaceRoute(route))
        expect(
            transport.sent,
            """
            3c 00 00 00  18 00  05 05  01 00 00 00  00 00 00 00  // 60 bytes, RTM_NEWROUTE, REQUEST|ACK|CREATE|REPLACE
            02 1a 00 00  00 50 00 01  04 00 00 00                // AF_INET /26, proto 80, universe, unicast; ONLINK
            08 00 0f 00  fe 00 00 00                             // RTA_TABLE main
            08 00 01 00  0a 41 01 00                             // RTA_DST 10.65.1.0
            08 00 04 00  07 00 00 00                             // RTA_OIF 7
            08 00 05 00  ac 1e 00 0c                             // RTA_GATEWAY 172.30.0.12
            """)
    }

    @Test func `the removal of a route, whatever its scope`() throws {
        let transport = ScriptedTransport(answers: [acknowledgement(1)])
        let route = Route(destination: network("fd00::1/128"), outputIndex: 7, protocolNumber: 80)
        try RouteSocket(transport: transport).perform(.deleteRoute(route))
        expect(
            transport.sent,
            """
            48 00 00 00  19 00  05 00  01 00 00 00  00 00 00 00  // 72 bytes, RTM_DELROUTE, REQUEST|ACK
            0a 80 00 00  00 50 ff 01  00 00 00 00                // AF_INET6 /128, proto 80, nowhere, unicast
            08 00 0f 00  fe 00 00 00                             // RTA_TABLE main
            14 00 01 00  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01  // RTA_DST fd00::1
            08 00 04 00  07 00 00 00                             // RTA_OIF 7
            08 00 06 00  00 04 00 00                             // RTA_PRIORITY 1024, the default
            """)
    }

    @Test func `a neighbour`() throws {
        let transport = ScriptedTransport(answers: [acknowledgement(1)])
        let mac = MACAddress("66:dc:5a:6e:b9:6f")!
        try RouteSocket(transport: transport).perform(.replaceNeighbour(address("10.65.1.5"), mac: mac, index: 7))
        expect(
            transport.sent,
            """
            30 00 00 00  1c 00  05 05  01 00 00 00  00 00 00 00  // 48 bytes, RTM_NEWNEIGH, REQUEST|ACK|CREATE|REPLACE
            02 00 00 00  07 00 00 00  80 00 00 00                // AF_INET, index 7, NUD_PERMANENT
            08 00 01 00  0a 41 01 05                             // NDA_DST 10.65.1.5
            0a 00 02 00  66 dc 5a 6e b9 6f 00 00                 // NDA_LLADDR, padded
            """)
    }

    @Test func `an address`() throws {
        let transport = ScriptedTransport(answers: [acknowledgement(1)])
        try RouteSocket(transport: transport).perform(
            .addAddress(AddressWithPrefix("fe80::1/64")!, index: 7, scope: .link, nodad: true))
        expect(
            transport.sent,
            """
            40 00 00 00  14 00  05 05  01 00 00 00  00 00 00 00  // 64 bytes, RTM_NEWADDR, REQUEST|ACK|CREATE|REPLACE
            0a 40 02 fd  07 00 00 00                             // AF_INET6 /64, IFA_F_NODAD, scope link, index 7
            14 00 02 00  fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 01  // IFA_LOCAL
            14 00 01 00  fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 01  // IFA_ADDRESS
            """)
    }

    @Test func `the removal of a group of links`() throws {
        let transport = ScriptedTransport(answers: [acknowledgement(1)])
        try RouteSocket(transport: transport).perform(.deleteLinks(inGroup: 0xca11))
        expect(
            transport.sent,
            """
            28 00 00 00  11 00  05 00  01 00 00 00  00 00 00 00  // 40 bytes, RTM_DELLINK, REQUEST|ACK
            00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00   // no index
            08 00 1b 00  11 ca 00 00                             // IFLA_GROUP
            """)
    }

    @Test func `a veth pair and the question for its index travel together`() throws {
        let link = hex(
            """
            2c 00 00 00  10 00  00 00  02 00 00 00  00 00 00 00  // RTM_NEWLINK, answer to 2
            00 00 01 00  05 00 00 00  03 10 00 00  00 00 00 00   // Ethernet, index 5, UP|BROADCAST|MULTICAST
            0a 00 03 00  'cali0' 00 00 00                        // IFLA_IFNAME
            """)
        let transport = ScriptedTransport(
            answers: [acknowledgement(1), link, acknowledgement(2), acknowledgement(3)])
        let created = try RouteSocket(transport: transport).createVethPair(.sample(group: 9))
        #expect(created.index == 5)
        expect(
            transport.sent,
            """
            b0 00 00 00  10 00  05 06  01 00 00 00  00 00 00 00  // 176 bytes, RTM_NEWLINK, REQUEST|ACK|CREATE|EXCL
            00 00 00 00  00 00 00 00  01 00 00 00  01 00 00 00   // IFF_UP, and that is to change
            0a 00 03 00  'cali0' 00 00 00                        // IFLA_IFNAME
            0a 00 01 00  ee ee ee ee ee ee 00 00                 // IFLA_ADDRESS
            08 00 04 00  a0 05 00 00                             // IFLA_MTU 1440
            08 00 1f 00  01 00 00 00                             // IFLA_NUM_TX_QUEUES 1
            08 00 20 00  01 00 00 00                             // IFLA_NUM_RX_QUEUES 1
            08 00 1b 00  09 00 00 00                             // IFLA_GROUP 9
            58 00 12 00                                          // IFLA_LINKINFO
            09 00 01 00  'veth' 00 00 00 00                      //   IFLA_INFO_KIND
            48 00 02 00                                          //   IFLA_INFO_DATA
            44 00 01 00                                          //     VETH_INFO_PEER
            00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00   //       struct ifinfomsg: nothing, ENOTCONN for IFF_UP
            0a 00 03 00  'temp0' 00 00 00                        //       IFLA_IFNAME
            0a 00 01 00  02 00 0a 41 00 01 00 00                 //       IFLA_ADDRESS
            08 00 04 00  a0 05 00 00                             //       IFLA_MTU 1440
            08 00 1f 00  01 00 00 00                             //       IFLA_NUM_TX_QUEUES 1
            08 00 20 00  01 00 00 00                             //       IFLA_NUM_RX_QUEUES 1

            34 00 00 00  12 00  05 00  02 00 00 00  00 00 00 00  // 52 bytes, RTM_GETLINK, REQUEST|ACK
            00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00
            08 00 1d 00  08 00 00 00                             // IFLA_EXT_MASK: no statistics
            0a 00 03 00  'cali0' 00 00 00                        // IFLA_IFNAME
            """,
            """
            30 00 00 00  13 00  05 00  03 00 00 00  00 00 00 00  // 48 bytes, RTM_SETLINK, REQUEST|ACK
            00 00 00 00  05 00 00 00  00 00 00 00  00 00 00 00   // index 5
            10 00 1a 00                                          // IFLA_AF_SPEC
            0c 00 0a 00                                          //   AF_INET6
            05 00 08 00  01 00 00 00                             //     IFLA_INET6_ADDR_GEN_MODE none
            """)
    }

    private func expect(
        _ sent: [[UInt8]], _ expected: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(sent.map(hexText) == expected.map { hexText(hex($0)) }, sourceLocation: sourceLocation)
    }
}
