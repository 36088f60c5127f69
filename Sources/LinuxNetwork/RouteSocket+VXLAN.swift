// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc

/// A VXLAN device whose neighbours and forwarding entries are all written by this program.
public struct VXLANDevice: Sendable, Hashable {
    public var name: InterfaceName
    public var mac: MACAddress
    /// Bytes. The kernel lowers it to the parent's less the encapsulation: 50 over IPv4, 70 over IPv6.
    public var mtu: UInt32
    /// VXLAN network identifier, below 2^24; Calico's is 4096.
    public var identifier: UInt32
    /// UDP; Calico's is 4789.
    public var port: UInt16
    /// This host's address on the underlying network; decides the family of the tunnel.
    public var local: IPAddress
    /// The underlying device.
    public var parentIndex: Int32

    public init(
        name: InterfaceName, mac: MACAddress, mtu: UInt32, identifier: UInt32, port: UInt16, local: IPAddress,
        parentIndex: Int32
    ) {
        self.name = name
        self.mac = mac
        self.mtu = mtu
        self.identifier = identifier
        self.port = port
        self.local = local
        self.parentIndex = parentIndex
    }

    /// Reads IFLA_INFO_DATA; `nil` for devices this program does not make: without local address or parent.
    init?(name: String, mac: MACAddress?, mtu: UInt32, data: NetlinkAttributes) {
        typealias N = VXLANNumbers
        guard let name = InterfaceName(name), let mac, let identifier = data.number(N.IFLA_VXLAN_ID, as: UInt32.self),
            let port = data.number(N.IFLA_VXLAN_PORT, as: UInt16.self),
            let local = (data.bytes(N.IFLA_VXLAN_LOCAL) ?? data.bytes(N.IFLA_VXLAN_LOCAL6))
                .flatMap({ IPAddress(bytes: $0) }),
            let parentIndex = data.number(N.IFLA_VXLAN_LINK, as: Int32.self)
        else { return nil }
        self.init(
            name: name, mac: mac, mtu: mtu, identifier: identifier, port: UInt16(bigEndian: port), local: local,
            parentIndex: parentIndex)
    }
}

extension RouteSocket {
    /// `bridge fdb show`: the forwarding entries of VXLAN devices that name a destination.
    public func forwardingEntries() throws -> [ForwardingEntry] {
        let request = NetlinkRequest(RTNetlink.RTM_GETNEIGH, "bridge fdb show") {
            $0.neighbourHeader(family: UInt8(AF_BRIDGE), index: 0)
        }
        return try conversation.dump(request).filter { $0.type == RTNetlink.RTM_NEWNEIGH }
            .compactMap(ForwardingEntry.init)
    }
}

/// Which host has a MAC address behind a VXLAN device.
public struct ForwardingEntry: Sendable, Hashable {
    public let mac: MACAddress
    /// The other host's address on the underlying network.
    public let destination: IPAddress
    /// The VXLAN device.
    public let index: Int32

    public init(mac: MACAddress, destination: IPAddress, index: Int32) {
        self.mac = mac
        self.destination = destination
        self.index = index
    }

    /// Reads RTM_NEWNEIGH of family AF_BRIDGE; `nil` for entries without a destination.
    init?(_ message: NetlinkMessage) {
        let attributes = message.attributes(after: 12)
        guard message.payload.first == UInt8(AF_BRIDGE), let index = message.payload.number(Int32.self, at: 4),
            let mac = attributes.bytes(AddressNumbers.NDA_LLADDR).flatMap({ MACAddress(bytes: $0) }),
            let destination = attributes.bytes(AddressNumbers.NDA_DST).flatMap({ IPAddress(bytes: $0) })
        else { return nil }
        self.init(mac: mac, destination: destination, index: index)
    }
}

extension NetlinkRequest {
    /// `ip link add NAME address M mtu N up type vxlan id I dstport P local A dev PARENT nolearning`
    ///
    /// EEXIST where the name, or the identifier and port, are taken.
    public static func createVXLAN(_ device: VXLANDevice) -> NetlinkRequest {
        NetlinkRequest(
            RTNetlink.RTM_NEWLINK, flags: Netlink.NLM_F_CREATE | Netlink.NLM_F_EXCL,
            "ip link add \(device.name) type vxlan id \(device.identifier) dstport \(device.port) local \(device.local)"
        ) {
            $0.linkHeader(up: true)
            $0.linkIdentity(device.name, device.mac, mtu: device.mtu)
            $0.nested(LinkNumbers.IFLA_LINKINFO) {
                $0.attribute(LinkNumbers.IFLA_INFO_KIND, text: "vxlan")
                $0.nested(LinkNumbers.IFLA_INFO_DATA) { $0.vxlan(device) }
            }
        }
    }

    /// `bridge fdb replace M dev INDEX dst A self permanent`
    public static func replaceForwardingEntry(_ entry: ForwardingEntry) -> NetlinkRequest {
        NetlinkRequest(
            RTNetlink.RTM_NEWNEIGH, flags: Netlink.NLM_F_CREATE | Netlink.NLM_F_REPLACE,
            "bridge fdb replace \(entry.mac) dev \(entry.index) dst \(entry.destination) self permanent"
        ) { $0.forwarding(entry) }
    }

    /// `bridge fdb del M dev INDEX dst A self`; an entry that is gone, or whose device is, is success.
    public static func deleteForwardingEntry(_ entry: ForwardingEntry) -> NetlinkRequest {
        NetlinkRequest(
            RTNetlink.RTM_DELNEIGH, satisfiedBy: [ENOENT, ENODEV],
            "bridge fdb del \(entry.mac) dev \(entry.index) dst \(entry.destination) self"
        ) { $0.forwarding(entry) }
    }
}

extension MessageBody {
    fileprivate mutating func vxlan(_ device: VXLANDevice) {
        attribute(VXLANNumbers.IFLA_VXLAN_ID, number: device.identifier)
        attribute(VXLANNumbers.IFLA_VXLAN_LINK, number: device.parentIndex)
        let isV4 = device.local.family == .v4
        attribute(isV4 ? VXLANNumbers.IFLA_VXLAN_LOCAL : VXLANNumbers.IFLA_VXLAN_LOCAL6, device.local.bytes)
        attribute(VXLANNumbers.IFLA_VXLAN_LEARNING, number: UInt8(0))
        attribute(VXLANNumbers.IFLA_VXLAN_PORT, number: device.port.bigEndian)
    }

    fileprivate mutating func forwarding(_ entry: ForwardingEntry) {
        neighbourHeader(
            family: UInt8(AF_BRIDGE), index: entry.index, state: AddressNumbers.NUD_PERMANENT,
            flags: AddressNumbers.NTF_SELF)
        attribute(AddressNumbers.NDA_DST, entry.destination.bytes)
        attribute(AddressNumbers.NDA_LLADDR, entry.mac.bytes)
    }
}
