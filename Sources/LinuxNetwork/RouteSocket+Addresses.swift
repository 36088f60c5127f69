// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc

/// How far an address or a route reaches, `enum rt_scope_t` of `<linux/rtnetlink.h>`.
public struct Scope: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Everywhere; the only scope of IPv6 routes.
    public static let global = Scope(rawValue: 0)
    /// On the link only: no next hop.
    public static let link = Scope(rawValue: 253)
    /// Within this host.
    public static let host = Scope(rawValue: 254)
}

/// An address of an interface.
public struct InterfaceAddress: Sendable, Hashable {
    public let address: IPAddress
    public let prefixLength: Int
    public let index: Int32
    public let scope: Scope
    /// IFA_F_*, `<linux/if_addr.h>`
    public let flags: UInt32

    /// Reads RTM_NEWADDR: `struct ifaddrmsg`, attributes; `nil` for other families.
    init?(_ message: NetlinkMessage) {
        let header = message.payload
        let attributes = message.attributes(after: 8)
        // IFA_ADDRESS is the far end where an IPv4 address has a peer; IPv6 has IFA_LOCAL only then.
        guard let family = header.number(UInt8.self, at: 0), IPAddress.Family(number8: family) != nil,
            let address = (attributes.bytes(AddressNumbers.IFA_LOCAL) ?? attributes.bytes(AddressNumbers.IFA_ADDRESS))
                .flatMap({ IPAddress(bytes: $0) }),
            let length = header.number(UInt8.self, at: 1), let scope = header.number(UInt8.self, at: 3),
            let index = header.number(Int32.self, at: 4)
        else { return nil }
        self.address = address
        prefixLength = Int(length)
        self.index = index
        self.scope = Scope(rawValue: scope)
        flags = attributes.number(AddressNumbers.IFA_FLAGS) ?? UInt32(header.number(UInt8.self, at: 2) ?? 0)
    }
}

extension RouteSocket {
    /// `ip address show`, both families.
    public func addresses() throws -> [InterfaceAddress] {
        let request = NetlinkRequest(RTNetlink.RTM_GETADDR, "ip address show") { $0.put(UInt64(0)) }
        return try conversation.dump(request).filter { $0.type == RTNetlink.RTM_NEWADDR }.compactMap(
            InterfaceAddress.init)
    }
}

extension NetlinkRequest {
    /// `ip address replace A/N dev INDEX scope S [nodad]`; an address that is there already is success.
    /// - Parameter nodad: without duplicate address detection, hence usable at once; IPv6 only.
    public static func addAddress(
        _ address: AddressWithPrefix, index: Int32, scope: Scope = .global, nodad: Bool = false
    ) -> NetlinkRequest {
        NetlinkRequest(
            RTNetlink.RTM_NEWADDR, flags: Netlink.NLM_F_CREATE | Netlink.NLM_F_REPLACE,
            "ip address replace \(address) dev \(index)"
        ) { $0.address(address, index: index, scope: scope, flags: nodad ? AddressNumbers.IFA_F_NODAD : 0) }
    }

    /// `ip address del A/N dev INDEX`; an address that is gone is success.
    ///
    /// With a device's last IPv4 address the kernel removes all IPv4 routes of the device.
    public static func deleteAddress(_ address: AddressWithPrefix, index: Int32) -> NetlinkRequest {
        NetlinkRequest(
            RTNetlink.RTM_DELADDR, satisfiedBy: [EADDRNOTAVAIL, ENODEV], "ip address del \(address) dev \(index)"
        ) { $0.address(address, index: index, scope: .global, flags: 0) }
    }
}

extension MessageBody {
    /// `struct ifaddrmsg` and its attributes.
    fileprivate mutating func address(_ address: AddressWithPrefix, index: Int32, scope: Scope, flags: UInt32) {
        put(address.address.family.number8)
        put(UInt8(address.prefixLength))
        put(UInt8(truncatingIfNeeded: flags))
        put(scope.rawValue)
        put(index)
        attribute(AddressNumbers.IFA_LOCAL, address.address.bytes)
        attribute(AddressNumbers.IFA_ADDRESS, address.address.bytes)
    }
}
