// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc

/// An entry of a routing table.
///
/// What the kernel fills in or ignores is settled when the value is made, so that a route asked for equals the route
/// listed afterwards.
public struct Route: Sendable, Hashable {
    /// What happens to packets for the destination; RTN_* of `<linux/rtnetlink.h>`.
    public struct Kind: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Sent out of the device or to the next hop.
        public static let unicast = Kind(rawValue: 1)
        /// Accepted by this host.
        public static let local = Kind(rawValue: 2)
        /// Dropped silently.
        public static let blackhole = Kind(rawValue: 6)
        /// Dropped, with an ICMP answer.
        public static let unreachable = Kind(rawValue: 7)
        /// Dropped, with an ICMP answer.
        public static let prohibit = Kind(rawValue: 8)
        /// Not in this table.
        public static let `throw` = Kind(rawValue: 9)

        /// Nothing is sent, so there is no device. (The kernel lists IPv6 ones with `lo`.)
        var isRefusal: Bool { (6...9).contains(rawValue) }

        /// The word `ip route` uses, with a blank behind it; empty for unicast.
        fileprivate var prefix: String {
            let words: [UInt8: String] = [2: "local ", 6: "blackhole ", 7: "unreachable ", 8: "prohibit ", 9: "throw "]
            return words[rawValue] ?? ""
        }
    }

    /// RT_TABLE_MAIN
    public static let mainTable: UInt32 = 254

    public var destination: CIDR
    public var kind: Kind
    /// `nil` for the kinds that send nothing, and for routes with several next hops, which are not broken down here.
    public var outputIndex: Int32?
    public var gateway: IPAddress?
    /// Of IPv4 routes; ``Scope/global`` for all of IPv6, which has none.
    public var scope: Scope
    /// Who made the route (RTPROT_*): 2 kernel, 3 boot, 4 static, 80 is Calico's. At deletion 0 means any.
    public var protocolNumber: UInt8
    /// Lower wins.
    public var metric: UInt32
    public var table: UInt32
    /// The gateway is taken to be on the link, whatever the addresses say.
    public var onlink: Bool

    /// - Parameter metric: `nil` for the kernel's default, which is 0 for IPv4 and 1024 for IPv6.
    public init(
        destination: CIDR, kind: Kind = .unicast, outputIndex: Int32? = nil, gateway: IPAddress? = nil,
        scope: Scope = .global, protocolNumber: UInt8, metric: UInt32? = nil, table: UInt32 = Route.mainTable,
        onlink: Bool = false
    ) {
        self.destination = destination
        self.kind = kind
        self.outputIndex = kind.isRefusal ? nil : outputIndex
        self.gateway = gateway
        self.scope = destination.family == .v4 ? scope : .global
        self.protocolNumber = protocolNumber
        self.metric = metric ?? (destination.family == .v4 ? 0 : 1024)
        self.table = table
        self.onlink = onlink
    }

    /// Reads RTM_NEWROUTE: `struct rtmsg`, attributes; `nil` for other families and for cache entries.
    init?(_ message: NetlinkMessage) {
        let header = message.payload
        let attributes = message.attributes(after: 12)
        guard header.count >= 12,
            let family = header.number(UInt8.self, at: 0).flatMap({ IPAddress.Family(number8: $0) }),
            let flags = header.number(UInt32.self, at: 8), flags & RTNetlink.RTM_F_CLONED == 0,
            let length = header.number(UInt8.self, at: 1),
            let address = attributes.bytes(RTNetlink.RTA_DST).map({ IPAddress(bytes: $0) })
                ?? IPAddress(family: family, value: 0),
            let destination = CIDR(address, prefixLength: Int(length))
        else { return nil }
        let byte = { (offset: Int) in header.number(UInt8.self, at: offset) ?? 0 }
        self.init(
            destination: destination, kind: Kind(rawValue: byte(7)), outputIndex: attributes.number(RTNetlink.RTA_OIF),
            gateway: attributes.bytes(RTNetlink.RTA_GATEWAY).flatMap { IPAddress(bytes: $0) },
            scope: Scope(rawValue: byte(6)), protocolNumber: byte(5),
            metric: attributes.number(RTNetlink.RTA_PRIORITY) ?? 0,
            table: attributes.number(RTNetlink.RTA_TABLE) ?? UInt32(byte(4)),
            onlink: flags & RTNetlink.RTNH_F_ONLINK != 0)
    }

    fileprivate var words: String {
        var words = "\(kind.prefix)\(destination)"
        if let gateway { words += " via \(gateway)" }
        if let outputIndex { words += " dev \(outputIndex)" }
        return words
    }
}

extension RouteSocket {
    /// `ip route show table N proto P` of one family.
    /// - Parameters:
    ///   - table: only this one.
    ///   - protocolNumber: only these; `nil` for all.
    public func routes(
        _ family: IPAddress.Family, table: UInt32 = Route.mainTable, protocolNumber: UInt8? = nil
    ) throws -> [Route] {
        let request = NetlinkRequest(
            RTNetlink.RTM_GETROUTE, satisfiedBy: [ENOENT],  // a table nobody has used yet
            "ip -\(family.number) route show table \(table)"
        ) {
            $0.routeHeader(family: family, protocolNumber: protocolNumber ?? 0)
            $0.attribute(RTNetlink.RTA_TABLE, number: table)
        }
        // A kernel without strict checking sends all tables and protocols.
        return try conversation.dump(request).filter { $0.type == RTNetlink.RTM_NEWROUTE }
            .compactMap(Route.init)
            .filter { $0.table == table && (protocolNumber ?? $0.protocolNumber) == $0.protocolNumber }
    }
}

extension NetlinkRequest {
    /// `ip route replace [KIND] D [via G] [dev INDEX] [scope S] proto P [metric M] [table T] [onlink]`
    ///
    /// Replaces the one route with the same destination, table and metric, whatever its device or kind.
    public static func replaceRoute(_ route: Route) -> NetlinkRequest {
        NetlinkRequest(
            RTNetlink.RTM_NEWROUTE, flags: Netlink.NLM_F_CREATE | Netlink.NLM_F_REPLACE,
            "ip route replace \(route.words)"
        ) { $0.route(route, scope: route.scope) }
    }

    /// `ip route del …`: device, gateway, kind, metric and protocol must match where given; the scope never counts.
    /// A route that is gone, or whose device is, is success.
    public static func deleteRoute(_ route: Route) -> NetlinkRequest {
        NetlinkRequest(RTNetlink.RTM_DELROUTE, satisfiedBy: [ESRCH, ENODEV], "ip route del \(route.words)") {
            $0.route(route, scope: Scope(rawValue: 255))  // RT_SCOPE_NOWHERE: any
        }
    }
}

extension MessageBody {
    /// `struct rtmsg`
    fileprivate mutating func routeHeader(
        family: IPAddress.Family, length: Int = 0, protocolNumber: UInt8 = 0, scope: UInt8 = 0, kind: UInt8 = 0,
        flags: UInt32 = 0
    ) {
        put(family.number8)
        put(UInt8(length))
        put(UInt8(0))  // source length
        put(UInt8(0))  // type of service
        put(UInt8(0))  // RT_TABLE_UNSPEC: RTA_TABLE says which
        put(protocolNumber)
        put(scope)
        put(kind)
        put(flags)
    }

    fileprivate mutating func route(_ route: Route, scope: Scope) {
        routeHeader(
            family: route.destination.family, length: route.destination.prefixLength,
            protocolNumber: route.protocolNumber, scope: scope.rawValue, kind: route.kind.rawValue,
            flags: route.onlink ? RTNetlink.RTNH_F_ONLINK : 0)
        attribute(RTNetlink.RTA_TABLE, number: route.table)
        attribute(RTNetlink.RTA_DST, route.destination.address.bytes)
        if let index = route.outputIndex { attribute(RTNetlink.RTA_OIF, number: index) }
        if let gateway = route.gateway { attribute(RTNetlink.RTA_GATEWAY, gateway.bytes) }
        if route.metric != 0 { attribute(RTNetlink.RTA_PRIORITY, number: route.metric) }
    }
}
