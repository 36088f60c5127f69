// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Testing

@Suite struct `MAC addresses` {
    @Test(arguments: ["ee:ee:ee:0a:00:01", "EE:EE:EE:0A:00:01", "ee-ee-ee-0a-00-01"])
    func `print in lower case with colons`(text: String) {
        #expect(MACAddress(text)?.description == "ee:ee:ee:0a:00:01")
    }

    @Test(arguments: [
        "", "ee:ee:ee:ee:ee", "ee:ee:ee:ee:ee:ee:ee", "e:ee:ee:ee:ee:ee", "eee:ee:ee:ee:ee:ee", "gg:ee:ee:ee:ee:ee",
        "ee:ee:ee:ee:ee:", "ee:ee-ee:ee:ee:ee", "+1:ee:ee:ee:ee:ee", "eeee.eeee.eeee", "ee:ee:ee:ee:ee:ee ",
    ])
    func `refuse other texts`(text: String) {
        #expect(MACAddress(text) == nil)
    }

    @Test func `have six bytes`() {
        #expect(MACAddress(bytes: [1, 2, 3, 4, 5, 6])?.description == "01:02:03:04:05:06")
        #expect(MACAddress(bytes: [1, 2, 3, 4, 5]) == nil)
    }

    @Test func `random ones are unicast, locally administered and usable`() {
        for _ in 0..<1000 {
            let mac = MACAddress.random()
            #expect(mac.bytes[0] & 3 == 2)
            #expect(mac.isUsable)
        }
    }

    @Test(arguments: [("00:00:00:00:00:00", false), ("01:00:5e:00:00:01", false), ("02:00:00:00:00:00", true)])
    func `zero and multicast ones are no interface's`(text: String, isUsable: Bool) {
        #expect(MACAddress(text)?.isUsable == isUsable)
    }
}
