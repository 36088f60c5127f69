// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc

extension RouteSocket {
    /// `ip link show`
    public func links() throws -> [Link] {
        let request = NetlinkRequest(RTNetlink.RTM_GETLINK, "ip link show") {
            $0.linkHeader()
            $0.attribute(LinkNumbers.IFLA_EXT_MASK, number: LinkNumbers.RTEXT_FILTER_SKIP_STATS)
        }
        return try conversation.dump(request).filter { $0.type == RTNetlink.RTM_NEWLINK }.map(Link.init)
    }

    /// `ip link show dev NAME`; `nil` where there is none.
    public func link(named name: InterfaceName) throws -> Link? {
        try link(matching: .link(named: name))
    }

    /// `ip link show` of one index; `nil` where there is none.
    public func link(index: Int32) throws -> Link? {
        try link(matching: .link(index: index))
    }

    /// `ip link add HOST address M mtu N group G up type veth peer name PEER address M mtu N`, then
    /// `ip link set HOST addrgenmode none alias TEXT`; two system calls each way.
    ///
    /// The host end is up at once and gets its carrier when the peer is set up, wherever that is by then. (The kernel
    /// refuses to create the peer up: ENOTCONN.) Should the second step fail, the pair is deleted again.
    /// - Returns: the host end.
    /// - Throws: ``NetlinkError``; its `errno` is EEXIST where one of the names is taken.
    @discardableResult
    public func createVethPair(_ pair: VethPair) throws -> Link {
        let (refusals, data) = try conversation.exchange([.createVethPair(pair), .link(named: pair.hostName)])
        if !refusals.isEmpty { throw NetlinkError.refused([refusals[0]]) }
        guard let link = try data.first.map(Link.init) else {
            throw NetlinkError.malformed("no link came back for \(pair.hostName)")
        }
        do {
            try perform(NetlinkRequest.finishVethPair(pair, index: link.index))
        } catch {
            try? perform(.deleteLink(index: link.index))
            throw error
        }
        return link
    }

    private func link(matching request: NetlinkRequest) throws -> Link? {
        let (refusals, data) = try conversation.exchange([request])
        if refusals.first?.errno == ENODEV { return nil }
        if !refusals.isEmpty { throw NetlinkError.refused(refusals) }
        return try data.first.map(Link.init)
    }
}

extension NetlinkRequest {
    /// `ip link set INDEX up|down group G mtu N`, of these only what is given.
    public static func setLink(
        index: Int32, up: Bool? = nil, group: UInt32? = nil, mtu: UInt32? = nil
    ) -> NetlinkRequest {
        var words = ["ip link set \(index)"]
        if let up { words.append(up ? "up" : "down") }
        if let group { words.append("group \(group)") }
        if let mtu { words.append("mtu \(mtu)") }
        return NetlinkRequest(RTNetlink.RTM_SETLINK, words.joined(separator: " ")) {
            $0.linkHeader(index: index, up: up)
            if let group { $0.attribute(LinkNumbers.IFLA_GROUP, number: group) }
            if let mtu { $0.attribute(LinkNumbers.IFLA_MTU, number: mtu) }
        }
    }

    /// `ip link del INDEX`; a link that is gone is success. Of a veth pair both ends go.
    ///
    /// The kernel holds the caller for 15 to 20 ms, whatever the link; ``deleteLinks(inGroup:)`` shares that wait.
    public static func deleteLink(index: Int32) -> NetlinkRequest {
        NetlinkRequest(RTNetlink.RTM_DELLINK, satisfiedBy: [ENODEV], "ip link del \(index)") {
            $0.linkHeader(index: index)
        }
    }

    /// `ip link del group G`; an empty group is success. Group 0, where every other link is, the kernel refuses.
    public static func deleteLinks(inGroup group: UInt32) -> NetlinkRequest {
        NetlinkRequest(RTNetlink.RTM_DELLINK, satisfiedBy: [ENODEV], "ip link del group \(group)") {
            $0.linkHeader()
            $0.attribute(LinkNumbers.IFLA_GROUP, number: group)
        }
    }

    static func link(named name: InterfaceName) -> NetlinkRequest {
        NetlinkRequest(RTNetlink.RTM_GETLINK, "ip link show dev \(name)") {
            $0.linkHeader()
            $0.attribute(LinkNumbers.IFLA_EXT_MASK, number: LinkNumbers.RTEXT_FILTER_SKIP_STATS)
            $0.attribute(LinkNumbers.IFLA_IFNAME, text: name.text)
        }
    }

    static func link(index: Int32) -> NetlinkRequest {
        NetlinkRequest(RTNetlink.RTM_GETLINK, "ip link show \(index)") {
            $0.linkHeader(index: index)
            $0.attribute(LinkNumbers.IFLA_EXT_MASK, number: LinkNumbers.RTEXT_FILTER_SKIP_STATS)
        }
    }

    static func createVethPair(_ pair: VethPair) -> NetlinkRequest {
        NetlinkRequest(
            RTNetlink.RTM_NEWLINK, flags: Netlink.NLM_F_CREATE | Netlink.NLM_F_EXCL,
            "ip link add \(pair.hostName) type veth peer name \(pair.peerName)"
        ) {
            $0.linkHeader(up: true)
            $0.linkIdentity(pair.hostName, pair.hostMAC, mtu: pair.mtu)
            if pair.hostGroup != 0 { $0.attribute(LinkNumbers.IFLA_GROUP, number: pair.hostGroup) }
            $0.nested(LinkNumbers.IFLA_LINKINFO) {
                $0.attribute(LinkNumbers.IFLA_INFO_KIND, text: "veth")
                $0.nested(LinkNumbers.IFLA_INFO_DATA) {
                    $0.nested(LinkNumbers.VETH_INFO_PEER) {
                        $0.linkHeader()
                        $0.linkIdentity(pair.peerName, pair.peerMAC, mtu: pair.mtu)
                    }
                }
            }
        }
    }

    /// What RTM_NEWLINK ignores while it creates (`rtnl_create_link`, net/core/rtnetlink.c): alias, address generation.
    static func finishVethPair(_ pair: VethPair, index: Int32) -> [NetlinkRequest] {
        var requests: [NetlinkRequest] = []
        if !pair.generatesLinkLocal { requests.append(.suppressLinkLocal(index: index)) }
        if let alias = pair.hostAlias {
            requests.append(
                NetlinkRequest(RTNetlink.RTM_SETLINK, "ip link set \(pair.hostName) alias \"\(alias)\"") {
                    $0.linkHeader(index: index)
                    $0.attribute(LinkNumbers.IFLA_IFALIAS, Array(alias.utf8))
                })
        }
        return requests
    }

    /// `ip link set INDEX addrgenmode none`; success too where the link has no IPv6 (EAFNOSUPPORT).
    public static func suppressLinkLocal(index: Int32) -> NetlinkRequest {
        NetlinkRequest(RTNetlink.RTM_SETLINK, satisfiedBy: [EAFNOSUPPORT], "ip link set \(index) addrgenmode none") {
            $0.linkHeader(index: index)
            $0.nested(LinkNumbers.IFLA_AF_SPEC) {
                $0.nested(UInt16(AF_INET6)) {
                    $0.attribute(LinkNumbers.IFLA_INET6_ADDR_GEN_MODE, number: LinkNumbers.IN6_ADDR_GEN_MODE_NONE)
                }
            }
        }
    }
}

extension MessageBody {
    /// `struct ifinfomsg`. `up` is left as it is where `nil`.
    mutating func linkHeader(index: Int32 = 0, up: Bool? = nil) {
        put(UInt8(0))  // AF_UNSPEC
        put(UInt8(0))
        put(UInt16(0))  // device type
        put(index)
        put(up == true ? LinkNumbers.IFF_UP : 0)
        put(up == nil ? UInt32(0) : LinkNumbers.IFF_UP)  // which flags to change
    }

    mutating func linkIdentity(_ name: InterfaceName, _ mac: MACAddress, mtu: UInt32) {
        attribute(LinkNumbers.IFLA_IFNAME, text: name.text)
        attribute(LinkNumbers.IFLA_ADDRESS, mac.bytes)
        attribute(LinkNumbers.IFLA_MTU, number: mtu)
        // veth has a queue for each processor and then waits for RCU to put all but one out of use.
        attribute(LinkNumbers.IFLA_NUM_TX_QUEUES, number: UInt32(1))
        attribute(LinkNumbers.IFLA_NUM_RX_QUEUES, number: UInt32(1))
    }
}
