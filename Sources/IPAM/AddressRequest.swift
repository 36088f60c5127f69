// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing
public import CalicoModel

/// One address, wanted by one owner.
public struct AddressRequest: Sendable {
    public let family: IPAddress.Family
    /// Where it may come from.
    public let scope: AddressScope
    /// A particular address; `nil` for any.
    public let address: IPAddress?
    public let owner: AllocationAttributes
    /// True for a holder that is gone, so that the address may pass to the new owner.
    public let mayReplace: @Sendable (IPAddress, AllocationAttributes) -> Bool

    public init(
        family: IPAddress.Family, scope: AddressScope = .anyPool, address: IPAddress? = nil,
        owner: AllocationAttributes,
        mayReplace: @escaping @Sendable (IPAddress, AllocationAttributes) -> Bool = { _, _ in false }
    ) {
        self.family = family
        self.scope = scope
        self.address = address
        self.owner = owner
        self.mayReplace = mayReplace
    }

    /// The same request, by one who knows that `holder` is gone.
    public func takingOver(from holder: AllocationAttributes) -> AddressRequest {
        AddressRequest(family: family, scope: scope, address: address, owner: owner) { $1 == holder }
    }
}

/// The addresses a request may be served from.
public enum AddressScope: Hashable, Sendable {
    /// Any pool that selects the node.
    case anyPool
    /// One pool, whatever its selectors say: the user named it. Both ranges lie inside the pool.
    case pool(name: String, subnet: CIDR?, range: CIDR?)
    /// Several pools of one family, tried in this order, whatever their selectors say: the user named them.
    case pools([String])

    /// What automatic assignment is confined to.
    var range: CIDR? {
        if case .pool(_, let subnet, let range) = self { range ?? subnet } else { nil }
    }

    /// What a particular address is confined to.
    var subnet: CIDR? {
        if case .pool(_, let subnet, _) = self { subnet } else { nil }
    }
}
