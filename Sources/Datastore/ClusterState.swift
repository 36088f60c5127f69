// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing
public import CalicoModel
import FoundationEssentials

/// A value and when it was written.
public struct Versioned<Value: Sendable>: Sendable {
    public let value: Value
    public let revision: Revision

    public init(_ value: Value, _ revision: Revision) {
        self.value = value
        self.revision = revision
    }
}

/// What this program needs to know of the datastore, decoded: the state that drivers and IPAM decide on.
public struct ClusterState: ReplicaState {
    public private(set) var pools: [String: Versioned<IPPool>] = [:]
    public private(set) var reservations: [String: [CIDR]] = [:]
    public private(set) var nodes: [String: Versioned<Node>] = [:]
    public private(set) var clusterInformation: Versioned<ClusterInformation>?
    public private(set) var profiles: [String: Versioned<Profile>] = [:]
    public private(set) var endpoints: [Key: Versioned<WorkloadEndpoint>] = [:]
    /// The endpoint that uses an address: of several that name it the one that was written last.
    public private(set) var endpointsByAddress: [IPAddress: Key] = [:]
    /// The others. Any of them may be a remnant, and when it goes, the address is still in use.
    private var earlierEndpointsByAddress: [IPAddress: [Key]] = [:]
    public private(set) var networks: [String: Versioned<NetworkRecord>] = [:]
    public private(set) var ipamConfiguration: Versioned<IPAMConfiguration>?
    public private(set) var blocks: [CIDR: Versioned<IPAMBlock>] = [:]
    /// Blocks by the text of their affinity: `host:<name>`.
    public private(set) var blocksByAffinity: [String: Set<CIDR>] = [:]
    public private(set) var affinities: [Key: Versioned<BlockAffinity>] = [:]
    /// Blocks that a host's affinities name, whatever the blocks say.
    public private(set) var claims: [String: Set<CIDR>] = [:]
    public private(set) var handles: [String: Versioned<IPAMHandle>] = [:]
    public private(set) var tiers: [String: Versioned<Tier>] = [:]
    public private(set) var felixConfigurations: [String: Versioned<FelixConfiguration>] = [:]
    /// Hosts whose Felix reports, in this datastore, that it lives.
    public private(set) var felixHosts: Set<String> = []
    /// Keys whose value cannot be read, with the reason. They are left alone.
    public private(set) var unreadable: [Key: String] = [:]

    /// Key ranges this state is made of.
    public static let ranges = [Key("/calico/")]

    public init() {}

    public mutating func apply(_ change: Change) {
        unreadable[change.key] = nil
        do {
            try take(change)
        } catch {
            unreadable[change.key] = "\(error)"
        }
    }

    private mutating func take(_ change: Change) throws(StoreError) {
        let key = change.key
        if Key.ipam.isPrefix(of: key) {
            try takeIPAM(change)
        } else if Key.resources(WorkloadEndpointSpec.self).isPrefix(of: key) {
            try takeEndpoint(change)
        } else if Key.networks.isPrefix(of: key) {
            try update(\.networks, key.lastSegment, change)
        } else if Key.resources(IPPoolSpec.self).isPrefix(of: key) {
            try update(\.pools, key.lastSegment, change)
        } else if Key.resources(ProfileSpec.self).isPrefix(of: key) {
            try update(\.profiles, key.lastSegment, change)
        } else if Key.resources(NodeSpec.self).isPrefix(of: key) {
            try update(\.nodes, key.lastSegment, change)
        } else if Key.resources(IPReservationSpec.self).isPrefix(of: key) {
            reservations[key.lastSegment] = nil
            let reservation = try change.decoded(IPReservation.self)
            reservations[key.lastSegment] = reservation?.spec.reservedCIDRs.compactMap {
                CIDR(lenient: $0.filter { $0 != " " })
            }
        } else if Key.resources(ClusterInformationSpec.self).isPrefix(of: key) {
            clusterInformation = nil
            clusterInformation = try change.versioned()
        } else if Key.resources(FelixConfigurationSpec.self).isPrefix(of: key) {
            try update(\.felixConfigurations, key.lastSegment, change)
        } else if Key.resources(TierSpec.self).isPrefix(of: key) {
            try update(\.tiers, key.lastSegment, change)
        } else if let host = key.livingFelixHost {
            if change.value == nil { felixHosts.remove(host) } else { felixHosts.insert(host) }
        }
    }

    private mutating func takeIPAM(_ change: Change) throws(StoreError) {
        let key = change.key
        if Key.blocks.isPrefix(of: key), let cidr = (change.model as? IPAMBlock)?.cidr ?? key.blockCIDR {
            try takeBlock(cidr, change)
        } else if Key.affinities.isPrefix(of: key) {
            try takeAffinity(change)
        } else if Key.handles.isPrefix(of: key) {
            try update(\.handles, key.lastSegment, change)
        } else if key == .ipamConfiguration {
            ipamConfiguration = nil
            ipamConfiguration = try change.versioned()
        }
    }

    private mutating func takeAffinity(_ change: Change) throws(StoreError) {
        guard let host = change.key.affinityHost, let cidr = change.key.blockCIDR else { return }
        affinities[change.key] = nil
        claims[host]?.remove(cidr)
        // Very old data has empty values; they mean confirmed.
        let isEmpty = change.value?.isEmpty == true
        let affinity = isEmpty ? Versioned(BlockAffinity(.confirmed), change.revision) : try change.versioned()
        guard let affinity else { return }
        affinities[change.key] = affinity
        claims[host, default: []].insert(cidr)
    }

    private mutating func takeBlock(_ cidr: CIDR, _ change: Change) throws(StoreError) {
        // This process writes no other keys than the right ones.
        guard change.model != nil || change.key == Key.block(cidr) else {
            if change.value == nil { return }
            throw .corrupt("\(change.key): the key's network has host bits set or is not written as Go writes it")
        }
        if let affinity = blocks[cidr]?.value.affinity { blocksByAffinity[affinity]?.remove(cidr) }
        blocks[cidr] = nil
        guard let block: Versioned<IPAMBlock> = try change.versioned() else { return }
        guard block.value.cidr == cidr else {
            throw .corrupt("\(change.key): the value is of block \(block.value.cidr)")
        }
        if let affinity = block.value.affinity { blocksByAffinity[affinity, default: []].insert(cidr) }
        blocks[cidr] = block
    }

    private mutating func takeEndpoint(_ change: Change) throws(StoreError) {
        for address in endpoints[change.key]?.value.spec.addresses ?? [] { leave(address, change.key) }
        endpoints[change.key] = nil
        guard let endpoint: Versioned<WorkloadEndpoint> = try change.versioned() else { return }
        endpoints[change.key] = endpoint
        for address in endpoint.value.spec.addresses { use(address, change.key) }
    }

    private mutating func use(_ address: IPAddress, _ endpoint: Key) {
        if let earlier = endpointsByAddress[address], earlier != endpoint {
            earlierEndpointsByAddress[address, default: []].append(earlier)
        }
        endpointsByAddress[address] = endpoint
    }

    private mutating func leave(_ address: IPAddress, _ endpoint: Key) {
        var earlier = earlierEndpointsByAddress[address] ?? []
        if endpointsByAddress[address] == endpoint { endpointsByAddress[address] = earlier.popLast() }
        earlier.removeAll { $0 == endpoint }
        earlierEndpointsByAddress[address] = earlier.isEmpty ? nil : earlier
    }

    private mutating func update<Value: Decodable & Sendable>(
        _ member: WritableKeyPath<ClusterState, [String: Versioned<Value>]>, _ name: String, _ change: Change
    ) throws(StoreError) {
        self[keyPath: member][name] = nil
        if let value: Versioned<Value> = try change.versioned() { self[keyPath: member][name] = value }
    }
}

extension Change {
    /// The value, taken over from its writer where that was this process; `nil` for a deletion.
    public func decoded<Value: Decodable & Sendable>(_ type: Value.Type) throws(StoreError) -> Value? {
        if let model = model as? Value { return model }
        guard let value else { return nil }
        return try StoreJSON.decode(type, value, at: key)
    }

    fileprivate func versioned<Value: Decodable & Sendable>() throws(StoreError) -> Versioned<Value>? {
        try decoded(Value.self).map { Versioned($0, revision) }
    }
}

// MARK: - Questions

extension ClusterState {
    /// Pools in name order: the order in which Calico tries them.
    public var poolsInOrder: [IPPool] { pools.values.map(\.value).sorted { $0.name < $1.name } }

    /// The pool whose range holds `address`; pools never overlap.
    public func pool(containing address: IPAddress) -> IPPool? {
        pools.values.first { $0.value.spec.cidr.contains(address) }?.value
    }

    public func pool(containing cidr: CIDR) -> IPPool? {
        pools.values.first { $0.value.spec.cidr.contains(cidr) }?.value
    }

    /// The most that the pools of `addresses` add to a packet, in bytes.
    public func encapsulationOverhead(of addresses: [IPAddress]) -> Int {
        addresses.compactMap { pool(containing: $0)?.spec.encapsulationOverhead }.max() ?? 0
    }

    /// The block that holds `address`, of whatever size.
    public func block(containing address: IPAddress) -> Versioned<IPAMBlock>? {
        for length in IPPoolSpec.blockSizes(address.family).reversed() {
            if let cidr = CIDR(address, prefixLength: length), let block = blocks[cidr] { return block }
        }
        return nil
    }

    /// Who holds `address`; `nil` where it is free.
    public func owner(of address: IPAddress) -> AllocationAttributes? {
        block(containing: address)?.value.owner(of: address)
    }

    public func isReserved(_ address: IPAddress) -> Bool {
        reservations.values.contains { $0.contains { $0.contains(address) } }
    }

    public func endpoint(using address: IPAddress) -> Versioned<WorkloadEndpoint>? {
        endpointsByAddress[address].flatMap { endpoints[$0] }
    }

    /// What the configuration of `node`'s Felix says in the datastore: its own word, else the one for all. (Felix's
    /// environment and file come before both, and nobody else knows them.)
    public func felixSetting(
        _ setting: KeyPath<FelixConfigurationSpec, String?>, of node: String
    ) -> String? {
        ["node.\(node)", "default"].lazy.compactMap { felixConfigurations[$0]?.value.spec[keyPath: setting] }.first
    }

    /// An explicit false locks the datastore, e.g. during a migration. Absent means nobody has decided: go on.
    public var isReady: Bool { clusterInformation?.value.spec.datastoreReady ?? true }
}
