// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc

/// A neighbour: which Ethernet address answers for an IP address on a link.
public struct Neighbour: Sendable, Hashable {
    public let address: IPAddress
    /// `nil` while unresolved.
    public let mac: MACAddress?
    public let index: Int32
    /// NUD_*, `<linux/neighbour.h>`
    public let state: UInt16

    /// Entered by an administrator: never expires.
    public var isPermanent: Bool { state & AddressNumbers.NUD_PERMANENT != 0 }

    /// Reads RTM_NEWNEIGH: `struct ndmsg`, attributes; `nil` for other families.
    init?(_ message: NetlinkMessage) {
        let header = message.payload
        let attributes = message.attributes(after: 12)
        guard let family = header.number(UInt8.self, at: 0), IPAddress.Family(number8: family) != nil,
            let address = attributes.bytes(AddressNumbers.NDA_DST).flatMap({ IPAddress(bytes: $0) }),
            let index = header.number(Int32.self, at: 4), let state = header.number(UInt16.self, at: 8)
        else { return nil }
        self.address = address
        self.index = index
        self.state = state
        mac = attributes.bytes(AddressNumbers.NDA_LLADDR).flatMap { MACAddress(bytes: $0) }
    }
}

extension RouteSocket {
    /// `ip neighbour show nud all`, both families.
    public func neighbours() throws -> [Neighbour] {
        let request = NetlinkRequest(RTNetlink.RTM_GETNEIGH, "ip neighbour show") {
            $0.neighbourHeader(family: 0, index: 0)
        }
        return try conversation.dump(request).filter { $0.type == RTNetlink.RTM_NEWNEIGH }.compactMap(Neighbour.init)
    }
}

extension NetlinkRequest {
    /// `ip neighbour replace A lladdr M dev INDEX nud permanent`
    public static func replaceNeighbour(_ address: IPAddress, mac: MACAddress, index: Int32) -> NetlinkRequest {
        NetlinkRequest(
            RTNetlink.RTM_NEWNEIGH, flags: Netlink.NLM_F_CREATE | Netlink.NLM_F_REPLACE,
            "ip neighbour replace \(address) lladdr \(mac) dev \(index) nud permanent"
        ) {
            $0.neighbourHeader(family: address.family.number8, index: index, state: AddressNumbers.NUD_PERMANENT)
            $0.attribute(AddressNumbers.NDA_DST, address.bytes)
            $0.attribute(AddressNumbers.NDA_LLADDR, mac.bytes)
        }
    }

    /// `ip neighbour del A dev INDEX`; an entry that is gone, or whose device is, is success.
    public static func deleteNeighbour(_ address: IPAddress, index: Int32) -> NetlinkRequest {
        NetlinkRequest(
            RTNetlink.RTM_DELNEIGH, satisfiedBy: [ENOENT, ENODEV, ENXIO], "ip neighbour del \(address) dev \(index)"
        ) {
            $0.neighbourHeader(family: address.family.number8, index: index)
            $0.attribute(AddressNumbers.NDA_DST, address.bytes)
        }
    }
}

extension MessageBody {
    /// `struct ndmsg`
    mutating func neighbourHeader(family: UInt8, index: Int32, state: UInt16 = 0, flags: UInt8 = 0) {
        put(family)
        put(UInt8(0))
        put(UInt16(0))
        put(index)
        put(state)
        put(flags)
        put(UInt8(0))  // type
    }
}
