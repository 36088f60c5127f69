// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc
import LinuxNetwork
import Testing

@Suite struct `The kernel's answers` {
    /// EEXIST for request 1 with a sentence of the kernel's.
    private let refusal = hex(
        """
        38 00 00 00  02 00  00 03  01 00 00 00  00 00 00 00  // 56 bytes, NLMSG_ERROR, CAPPED|ACK_TLVS
        ef ff ff ff                                          // -EEXIST
        3c 00 00 00  18 00  05 05  01 00 00 00  00 00 00 00  // header of the request, alone
        12 00 01 00  'no such place' 00 00 00                // NLMSGERR_ATTR_MSG
        """)

    @Test func `a refusal carries number and sentence`() {
        let error = #expect(throws: NetlinkError.self) { try perform([refusal], .deleteLink(index: 5)) }
        #expect(error?.errno == EEXIST)
        #expect(
            error?.description == "kernel refused \"ip link del 5\": no such place (File exists (17))")
    }

    @Test func `a refusal that repeats the whole request is read as well`() {
        let uncapped = hex(
            """
            40 00 00 00  02 00  00 02  01 00 00 00  00 00 00 00  // 64 bytes, NLMSG_ERROR, ACK_TLVS
            ff ff ff ff                                          // -EPERM
            20 00 00 00  11 00  05 00  01 00 00 00  00 00 00 00  // the request, 32 bytes
            00 00 00 00  05 00 00 00  00 00 00 00  00 00 00 00
            0a 00 01 00  'never' 00 00 00                        // NLMSGERR_ATTR_MSG
            """)
        let error = #expect(throws: NetlinkError.self) { try perform([uncapped], .deleteLink(index: 5)) }
        #expect(error?.description == "kernel refused \"ip link del 5\": never (Operation not permitted (1))")
    }

    @Test func `acknowledgements of a batch may come in one datagram and in any order`() throws {
        try perform([acknowledgement(2) + acknowledgement(1)], .deleteLink(index: 5), .deleteLink(index: 6))
    }

    @Test func `what belongs to an earlier exchange is passed over`() throws {
        let transport = ScriptedTransport(answers: [])
        let socket = RouteSocket(transport: transport)
        #expect(throws: NetlinkError.self) { try socket.perform(.deleteLink(index: 5)) }

        let late = ScriptedTransport(answers: [acknowledgement(0) + acknowledgement(9), acknowledgement(1)])
        try RouteSocket(transport: late).perform(.deleteLink(index: 5))
    }

    @Test func `a listing that changed underway is read again`() throws {
        let done = hex("14 00 00 00  03 00  02 00") + [2, 0, 0, 0] + hex("00 00 00 00  00 00 00 00")
        let transport = ScriptedTransport(answers: [
            // The first try: one route, and NLM_F_DUMP_INTR on the message that ends the listing.
            route(10, sequence: 1), hex("14 00 00 00  03 00  12 00  01 00 00 00  00 00 00 00  00 00 00 00"),
            route(11, sequence: 2) + route(12, sequence: 2), done,
        ])
        let routes = try RouteSocket(transport: transport).routes(.v4)
        #expect(routes.map(\.destination) == [network("11.0.0.0/8"), network("12.0.0.0/8")])
        #expect(transport.sent.count == 2)
    }

    @Test func `a listing that never settles is an error`() {
        let interrupted = (1...20).map {
            hex("14 00 00 00  03 00  12 00") + [UInt8($0), 0, 0, 0] + hex("00 00 00 00  00 00 00 00")
        }
        let error = #expect(throws: NetlinkError.self) {
            try RouteSocket(transport: ScriptedTransport(answers: interrupted)).links()
        }
        #expect(error == .unsettled("ip link show"))
    }

    @Test(arguments: [
        "0f 00 00 00", "24 00", "ff 00 00 00  02 00  00 00  01 00 00 00  00 00 00 00",
        "10 00 00 00  02 00  00 00  01 00 00 00  00 00 00 00",
    ])
    func `an answer whose lengths do not fit is an error, not a crash`(datagram: String) {
        #expect(throws: NetlinkError.self) { try perform([hex(datagram)], .deleteLink(index: 5)) }
    }

    private func route(_ firstByte: UInt8, sequence: UInt8) -> [UInt8] {
        hex("2c 00 00 00  18 00  02 00") + [sequence, 0, 0, 0]
            + hex(
                """
                00 00 00 00
                02 08 00 00  fe 50 00 01  00 00 00 00  // AF_INET /8, main, proto 80, unicast
                08 00 0f 00  fe 00 00 00               // RTA_TABLE
                """) + hex("08 00 01 00") + [firstByte, 0, 0, 0]
    }

    private func perform(_ answers: [[UInt8]], _ requests: NetlinkRequest...) throws {
        try RouteSocket(transport: ScriptedTransport(answers: answers)).perform(requests)
    }
}
