// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

/// A network interface as the kernel describes it.
public struct Link: Sendable, Hashable {
    /// Positive; unique within the network namespace.
    public let index: Int32
    /// As the kernel has it, which may be more than an ``InterfaceName`` allows.
    public let name: String
    /// `nil` where the hardware address is not Ethernet's.
    public let mac: MACAddress?
    /// Bytes.
    public let mtu: UInt32
    /// IFF_*, `<linux/if.h>`
    public let flags: UInt32
    /// 0 is the default group.
    public let group: UInt32
    /// `veth`, `bridge`, `vxlan` …; `nil` for hardware and `lo`.
    public let kind: String?
    /// Free text of up to 255 bytes set by whoever made the link.
    public let alias: String?
    /// The other end's index (veth), the underlying device's (VLAN); its namespace may be another one.
    public let linkedIndex: Int32?
    /// Of kind `vxlan`: how it was set up, to compare with what it should be.
    public let vxlan: VXLANDevice?

    /// Set up by its owner (IFF_UP).
    public var isUp: Bool { flags & LinkNumbers.IFF_UP != 0 }
    /// The cable is in: for a veth, both ends are up (IFF_LOWER_UP).
    public var hasCarrier: Bool { flags & LinkNumbers.IFF_LOWER_UP != 0 }

    /// Reads RTM_NEWLINK or RTM_DELLINK: `struct ifinfomsg`, attributes.
    init(_ message: NetlinkMessage) throws {
        let attributes = message.attributes(after: 16)
        guard let index = message.payload.number(Int32.self, at: 4),
            let flags = message.payload.number(UInt32.self, at: 8),
            let name = attributes.text(LinkNumbers.IFLA_IFNAME)
        else { throw NetlinkError.malformed("a link without index, flags or name") }
        self.index = index
        self.flags = flags
        self.name = name
        mac = attributes.bytes(LinkNumbers.IFLA_ADDRESS).flatMap { MACAddress(bytes: $0) }
        mtu = attributes.number(LinkNumbers.IFLA_MTU) ?? 0
        group = attributes.number(LinkNumbers.IFLA_GROUP) ?? 0
        let information = attributes.nested(LinkNumbers.IFLA_LINKINFO)
        kind = information?.text(LinkNumbers.IFLA_INFO_KIND)
        vxlan =
            kind == "vxlan"
            ? information?.nested(LinkNumbers.IFLA_INFO_DATA).flatMap { [name, mac, mtu] in
                VXLANDevice(name: name, mac: mac, mtu: mtu, data: $0)
            } : nil
        alias = attributes.text(LinkNumbers.IFLA_IFALIAS)
        linkedIndex = attributes.number(LinkNumbers.IFLA_LINK)
    }
}

/// Two connected Ethernet interfaces: one stays in the host, its peer goes to a container.
public struct VethPair: Sendable, Hashable {
    public var hostName: InterfaceName
    public var hostMAC: MACAddress
    public var peerName: InterfaceName
    public var peerMAC: MACAddress
    /// Bytes, of both ends.
    public var mtu: UInt32
    /// Of the host end; see ``NetlinkRequest/deleteLinks(inGroup:)``.
    public var hostGroup: UInt32
    /// Of the host end, up to 255 bytes.
    public var hostAlias: String?
    /// Whether the kernel makes a link-local IPv6 address for the host end.
    public var generatesLinkLocal: Bool

    public init(
        hostName: InterfaceName, hostMAC: MACAddress, peerName: InterfaceName, peerMAC: MACAddress, mtu: UInt32,
        hostGroup: UInt32 = 0, hostAlias: String? = nil, generatesLinkLocal: Bool = false
    ) {
        self.hostName = hostName
        self.hostMAC = hostMAC
        self.peerName = peerName
        self.peerMAC = peerMAC
        self.mtu = mtu
        self.hostGroup = hostGroup
        self.hostAlias = hostAlias
        self.generatesLinkLocal = generatesLinkLocal
    }
}
