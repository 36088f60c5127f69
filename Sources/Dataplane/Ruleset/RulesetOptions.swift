// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// What the administrator of a host may choose about its rules.
public struct RulesetOptions: Hashable, Sendable {
    /// What becomes of traffic from a container to the host itself, once the container's egress rules allow it.
    ///
    /// Felix knows a third answer, Accept, which overrules the host's own firewall. nftables cannot express it in a
    /// table of one's own: every base chain of a hook is run, and an accept in one leaves a later one free to drop.
    public enum HostAction: String, Hashable, Sendable, CaseIterable {
        case drop = "Drop"
        case `return` = "Return"
    }

    /// The default is what calico/node writes: the host's own rules decide. Felix's default of Drop would cut
    /// containers off from a published port, a resolver or an agent on their host, which Docker's users expect to
    /// reach.
    public var endpointToHost: HostAction = .return
    /// One bit of the packet mark, set on packets that our chains let through, for the rule in Docker's FORWARD chain.
    /// Felix uses bits of 0xffff0000 on hosts of its own, kube-proxy 0xc000.
    public var acceptMark: UInt32 = 0x0100_0000
    /// One bit of the packet mark, set while the rest of a tier is skipped.
    public var passMark: UInt32 = 0x0200_0000

    public init() {}
}

extension UInt32 {
    /// As nft prints marks: `0x01000000`.
    var mark: String {
        let digits = String(self, radix: 16)
        return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
    }
}
