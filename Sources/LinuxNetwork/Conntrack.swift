// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import Glibc

/// The connection tracking table of one network namespace.
///
/// Rules that accept established connections never look at an old one again, so its entry goes when its endpoint goes:
/// otherwise the next holder of the address inherits what the last one was allowed.
///
/// Not thread-safe: one actor or thread owns it.
public final class Conntrack {
    private let conversation: NetlinkConversation

    /// A socket in the network namespace of the calling thread.
    /// - Throws: ``NetlinkError``
    public convenience init() throws {
        try self.init(transport: KernelSocket.netfilter())
    }

    public init(transport: any NetlinkTransport) {
        conversation = NetlinkConversation(transport: transport)
    }

    /// `conntrack -D` with each of `-s`, `-d`, `-r`, `-q` for each address: what was sent from or to it, also behind
    /// NAT.
    ///
    /// Reads the whole table of the address families concerned.
    /// - Returns: how many entries were found.
    /// - Throws: ``NetlinkError``
    @discardableResult
    public func deleteEntries(of addresses: Set<IPAddress>) throws -> Int {
        var requests: [NetlinkRequest] = []
        for family in Set(addresses.map(\.family)) {
            let list = NetlinkRequest(ConntrackNumbers.get, "conntrack -L -f \(family.name)") {
                $0.netfilterHeader(family: family.number8)
            }
            let entries = try conversation.dump(list) { !addresses.isDisjoint(with: $0.conntrackAddresses) }
            requests += entries.compactMap { .deleteConntrack($0, family: family) }
        }
        try conversation.perform(requests)
        return requests.count
    }
}

extension NetlinkRequest {
    /// The same tuple and id as the entry listed, so that a newer connection of the same tuple stays.
    fileprivate static func deleteConntrack(_ entry: NetlinkMessage, family: IPAddress.Family) -> NetlinkRequest? {
        let attributes = entry.attributes(after: 4)
        guard let tuple = attributes.bytes(ConntrackNumbers.CTA_TUPLE_ORIG) else { return nil }
        let addresses = attributes.nested(ConntrackNumbers.CTA_TUPLE_ORIG)?.tupleAddresses ?? []
        let words = addresses.map(\.description).joined(separator: " -d ")
        return NetlinkRequest(ConntrackNumbers.delete, satisfiedBy: [ENOENT], "conntrack -D -s \(words)") {
            $0.netfilterHeader(family: family.number8)
            $0.attribute(ConntrackNumbers.CTA_TUPLE_ORIG | Netlink.NLA_F_NESTED, tuple)
            for type in [ConntrackNumbers.CTA_ID, ConntrackNumbers.CTA_ZONE] {
                if let value = attributes.bytes(type) { $0.attribute(type, value) }
            }
        }
    }
}

extension NetlinkMessage {
    /// Source and destination of both directions.
    fileprivate var conntrackAddresses: [IPAddress] {
        let attributes = attributes(after: 4)
        return [ConntrackNumbers.CTA_TUPLE_ORIG, ConntrackNumbers.CTA_TUPLE_REPLY]
            .flatMap { attributes.nested($0)?.tupleAddresses ?? [] }
    }
}

extension NetlinkAttributes {
    /// Source, destination: CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST are 1...4.
    fileprivate var tupleAddresses: [IPAddress] {
        guard let address = nested(ConntrackNumbers.CTA_TUPLE_IP) else { return [] }
        return (1...4).compactMap { address.bytes($0).flatMap { IPAddress(bytes: $0) } }
    }
}

extension MessageBody {
    /// `struct nfgenmsg`
    fileprivate mutating func netfilterHeader(family: UInt8) {
        put(family)
        put(UInt8(0))  // NFNETLINK_V0
        put(UInt16(0))
    }
}
