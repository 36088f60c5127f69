// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// One change asked of the kernel, as a value: build several, and let ``RouteSocket/perform(_:)`` carry them over
/// together.
public struct NetlinkRequest: Sendable, Equatable, CustomStringConvertible {
    let type: UInt16
    /// Besides NLM_F_REQUEST and NLM_F_ACK.
    let flags: UInt16
    let body: [UInt8]
    /// Errors that mean the state asked for is already there.
    let satisfiedBy: [Int32]
    /// The request as a person would type it; error messages quote it.
    public let description: String

    init(
        _ type: UInt16, flags: UInt16 = 0, satisfiedBy: [Int32] = [], _ description: String,
        _ fill: (inout MessageBody) -> Void
    ) {
        self.type = type
        self.flags = flags
        self.satisfiedBy = satisfiedBy
        self.description = description
        var body = MessageBody()
        fill(&body)
        self.body = body.bytes
    }

    /// Header and body, padded to 4 bytes.
    func message(sequence: UInt32, extraFlags: UInt16) -> [UInt8] {
        var message = MessageBody()
        message.put(UInt32(Netlink.headerLength + body.count))
        message.put(type)
        message.put(flags | extraFlags | Netlink.NLM_F_REQUEST)
        message.put(sequence)
        message.put(UInt32(0))  // port id: the kernel fills it in
        return message.bytes + body + Array(repeating: 0, count: -body.count & 3)
    }
}
