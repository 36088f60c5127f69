// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

// Numbers of the kernel's netlink interface that this module uses, under their kernel names. The import of Glibc does
// not carry these headers.

/// `<linux/netlink.h>`
enum Netlink {
    static let NETLINK_ROUTE: Int32 = 0
    static let NETLINK_NETFILTER: Int32 = 12
    static let SOL_NETLINK: Int32 = 270

    static let NETLINK_ADD_MEMBERSHIP: Int32 = 1
    static let NETLINK_CAP_ACK: Int32 = 10
    static let NETLINK_EXT_ACK: Int32 = 11
    static let NETLINK_GET_STRICT_CHK: Int32 = 12

    static let NLMSG_ERROR: UInt16 = 2
    static let NLMSG_DONE: UInt16 = 3
    static let headerLength = 16

    static let NLM_F_REQUEST: UInt16 = 0x001
    static let NLM_F_ACK: UInt16 = 0x004
    static let NLM_F_DUMP_INTR: UInt16 = 0x010
    static let NLM_F_REPLACE: UInt16 = 0x100
    static let NLM_F_EXCL: UInt16 = 0x200
    static let NLM_F_DUMP: UInt16 = 0x300
    static let NLM_F_CREATE: UInt16 = 0x400
    /// On NLMSG_ERROR: the refused request's payload was left out.
    static let NLM_F_CAPPED: UInt16 = 0x100
    /// On NLMSG_ERROR: attributes follow.
    static let NLM_F_ACK_TLVS: UInt16 = 0x200
    static let NLMSGERR_ATTR_MSG: UInt16 = 1

    static let NLA_F_NESTED: UInt16 = 0x8000
    /// Strips NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    static let attributeTypeMask: UInt16 = 0x3fff
}

/// `<linux/rtnetlink.h>`
enum RTNetlink {
    static let RTM_NEWLINK: UInt16 = 16
    static let RTM_DELLINK: UInt16 = 17
    static let RTM_GETLINK: UInt16 = 18
    static let RTM_SETLINK: UInt16 = 19
    static let RTM_NEWADDR: UInt16 = 20
    static let RTM_DELADDR: UInt16 = 21
    static let RTM_GETADDR: UInt16 = 22
    static let RTM_NEWROUTE: UInt16 = 24
    static let RTM_DELROUTE: UInt16 = 25
    static let RTM_GETROUTE: UInt16 = 26
    static let RTM_NEWNEIGH: UInt16 = 28
    static let RTM_DELNEIGH: UInt16 = 29
    static let RTM_GETNEIGH: UInt16 = 30

    static let RTNLGRP_LINK: Int32 = 1
    static let RTNLGRP_IPV4_ROUTE: Int32 = 7
    static let RTNLGRP_IPV6_ROUTE: Int32 = 11

    static let RTA_DST: UInt16 = 1
    static let RTA_OIF: UInt16 = 4
    static let RTA_GATEWAY: UInt16 = 5
    static let RTA_PRIORITY: UInt16 = 6
    static let RTA_TABLE: UInt16 = 15

    static let RTNH_F_ONLINK: UInt32 = 4
    static let RTM_F_CLONED: UInt32 = 0x200
}

/// `<linux/if_link.h>`, `<linux/if.h>`, `<linux/veth.h>`
enum LinkNumbers {
    static let IFLA_ADDRESS: UInt16 = 1
    static let IFLA_IFNAME: UInt16 = 3
    static let IFLA_MTU: UInt16 = 4
    static let IFLA_LINK: UInt16 = 5
    static let IFLA_LINKINFO: UInt16 = 18
    static let IFLA_IFALIAS: UInt16 = 20
    static let IFLA_AF_SPEC: UInt16 = 26
    static let IFLA_GROUP: UInt16 = 27
    static let IFLA_EXT_MASK: UInt16 = 29
    static let IFLA_NUM_TX_QUEUES: UInt16 = 31
    static let IFLA_NUM_RX_QUEUES: UInt16 = 32
    static let RTEXT_FILTER_SKIP_STATS: UInt32 = 8
    static let IFLA_INFO_KIND: UInt16 = 1
    static let IFLA_INFO_DATA: UInt16 = 2
    static let VETH_INFO_PEER: UInt16 = 1
    static let IFLA_INET6_ADDR_GEN_MODE: UInt16 = 8
    static let IN6_ADDR_GEN_MODE_NONE: UInt8 = 1

    static let IFF_UP: UInt32 = 1
    static let IFF_LOWER_UP: UInt32 = 0x10000
}

/// `<linux/if_addr.h>`, `<linux/neighbour.h>`
enum AddressNumbers {
    static let IFA_ADDRESS: UInt16 = 1
    static let IFA_LOCAL: UInt16 = 2
    static let IFA_FLAGS: UInt16 = 8
    static let IFA_F_NODAD: UInt32 = 0x02

    static let NDA_DST: UInt16 = 1
    static let NDA_LLADDR: UInt16 = 2
    static let NUD_PERMANENT: UInt16 = 0x80
    static let NTF_SELF: UInt8 = 0x02
}

/// `<linux/netfilter/nf_tables.h>`, `<linux/netfilter/nfnetlink.h>`
enum NetfilterNumbers {
    static let NFNLGRP_NFTABLES: Int32 = 7
    static let NFNL_SUBSYS_NFTABLES: UInt16 = 10
    static let NFT_MSG_NEWGEN: UInt16 = 15
    static let NFTA_GEN_ID: UInt16 = 1
    static let NFTA_GEN_PROC_PID: UInt16 = 2
    static let NFTA_GEN_PROC_NAME: UInt16 = 3
}

/// `<linux/if_link.h>`
enum VXLANNumbers {
    static let IFLA_VXLAN_ID: UInt16 = 1
    static let IFLA_VXLAN_LINK: UInt16 = 3
    static let IFLA_VXLAN_LOCAL: UInt16 = 4
    static let IFLA_VXLAN_LEARNING: UInt16 = 7
    static let IFLA_VXLAN_PORT: UInt16 = 15
    static let IFLA_VXLAN_LOCAL6: UInt16 = 17
}

/// `<linux/netfilter/nfnetlink_conntrack.h>`
enum ConntrackNumbers {
    /// NFNL_SUBSYS_CTNETLINK and IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE
    static let get: UInt16 = 1 << 8 | 1
    static let delete: UInt16 = 1 << 8 | 2
    static let CTA_TUPLE_ORIG: UInt16 = 1
    static let CTA_TUPLE_REPLY: UInt16 = 2
    static let CTA_ID: UInt16 = 12
    static let CTA_ZONE: UInt16 = 18
    static let CTA_TUPLE_IP: UInt16 = 1
}
