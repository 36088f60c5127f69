// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Requests and answers on one netlink socket, matched by sequence number.
final class NetlinkConversation {
    /// Acknowledgements of one send must fit the receive buffer, so batches are cut here.
    private static let requestsPerSend = 64
    private static let dumpAttempts = 8

    private let transport: any NetlinkTransport
    private var lastSequence: UInt32 = 0

    init(transport: any NetlinkTransport) {
        self.transport = transport
    }

    /// As ``RouteSocket/perform(_:)``.
    func perform(_ requests: [NetlinkRequest]) throws {
        var refusals: [NetlinkError.Refusal] = []
        for start in stride(from: 0, to: requests.count, by: Self.requestsPerSend) {
            refusals += try exchange(requests[start..<min(start + Self.requestsPerSend, requests.count)]).refusals
        }
        if !refusals.isEmpty { throw NetlinkError.refused(refusals) }
    }

    /// Sends the requests in one datagram and waits until each is acknowledged.
    func exchange(_ requests: ArraySlice<NetlinkRequest>) throws -> (
        refusals: [NetlinkError.Refusal], data: [NetlinkMessage]
    ) {
        let first = lastSequence &+ 1
        lastSequence &+= UInt32(requests.count)
        var datagram: [UInt8] = []
        for (offset, request) in requests.enumerated() {
            datagram += request.message(sequence: first &+ UInt32(offset), extraFlags: Netlink.NLM_F_ACK)
        }
        try transport.send(datagram)

        var refusals: [NetlinkError.Refusal] = []
        var data: [NetlinkMessage] = []
        var open = requests.count
        while open > 0 {
            for message in try NetlinkMessage.all(in: transport.receive()) {
                let offset = Int(message.sequence &- first)
                guard offset < requests.count else { continue }  // the rest of an exchange that was given up
                guard message.type == Netlink.NLMSG_ERROR else {
                    data.append(message)
                    continue
                }
                open -= 1
                try message.refusal(of: requests[requests.startIndex + offset]).map { refusals.append($0) }
            }
        }
        return (refusals, data)
    }

    /// Lists what `request` asks for, again from the start if it changed meanwhile.
    /// - Parameter isWanted: of a large listing, what to keep.
    func dump(
        _ request: NetlinkRequest, where isWanted: (NetlinkMessage) -> Bool = { _ in true }
    ) throws -> [NetlinkMessage] {
        for _ in 1...Self.dumpAttempts {
            if let messages = try dumpOnce(request, isWanted) { return messages }
        }
        throw NetlinkError.unsettled(request.description)
    }

    /// `nil` if the listing is inconsistent.
    private func dumpOnce(_ request: NetlinkRequest, _ isWanted: (NetlinkMessage) -> Bool) throws -> [NetlinkMessage]? {
        lastSequence &+= 1
        try transport.send(request.message(sequence: lastSequence, extraFlags: Netlink.NLM_F_DUMP))
        var messages: [NetlinkMessage] = []
        var interrupted = false
        while true {
            for message in try NetlinkMessage.all(in: transport.receive()) where message.sequence == lastSequence {
                interrupted = interrupted || message.flags & Netlink.NLM_F_DUMP_INTR != 0
                switch message.type {
                case Netlink.NLMSG_DONE, Netlink.NLMSG_ERROR:
                    if let refusal = try message.refusal(of: request) { throw NetlinkError.refused([refusal]) }
                    return interrupted ? nil : messages
                default: if isWanted(message) { messages.append(message) }
                }
            }
        }
    }
}

extension NetlinkMessage {
    /// Reads NLMSG_ERROR (`struct nlmsgerr`) or NLMSG_DONE (just the error number); `nil` for success.
    func refusal(of request: NetlinkRequest) throws -> NetlinkError.Refusal? {
        guard let code = payload.number(Int32.self, at: 0) else {
            throw NetlinkError.malformed("an acknowledgement of \(payload.count) bytes holds no error number")
        }
        guard code != 0, !request.satisfiedBy.contains(-code) else { return nil }
        return NetlinkError.Refusal(request: request.description, errno: -code, explanation: explanation)
    }

    private var explanation: String? {
        guard flags & Netlink.NLM_F_ACK_TLVS != 0 else { return nil }
        if type == Netlink.NLMSG_DONE { return attributes(after: 4).text(Netlink.NLMSGERR_ATTR_MSG) }
        let echoed = flags & Netlink.NLM_F_CAPPED != 0 ? 16 : Int(payload.number(UInt32.self, at: 4) ?? 16)
        return attributes(after: 4 + echoed).text(Netlink.NLMSGERR_ATTR_MSG)
    }
}
