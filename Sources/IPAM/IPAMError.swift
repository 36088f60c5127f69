// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Addressing
public import CalicoModel
public import Datastore

/// Why an address could not be had. Each text is meant for the person at `docker run`.
public enum IPAMError: Error, CustomStringConvertible {
    case unknownPool(name: String, known: [String])
    /// - Parameter others: pools of its family that serve.
    case poolDisabled(String, others: [String])
    case noPool(family: IPAddress.Family, node: String)
    case noPoolForUse(String, node: String)
    case notInPool(IPAddress, known: [CIDR])
    case outsideSubnet(IPAddress, CIDR)
    case outsidePools(IPAddress, [CIDR])
    case subnetOutsidePool(CIDR, pool: String, CIDR)
    case wrongFamily(IPAddress, pool: String)
    case taken(IPAddress, by: AllocationAttributes)
    case strictAffinity(IPAddress, block: CIDR, owner: String)
    case overlap(IPAddress, block: CIDR)
    case blockLimit(Int, node: String)
    case blocksNotAllocated(node: String)
    /// - Parameter isAnyPool: whether a further pool would serve at once.
    case exhausted(
        pools: [CIDR], node: String, blocks: Int, foreignBlocks: Int, isStrict: Bool, isAnyPool: Bool)
    case contention(attempts: Int)
    case unreadable(Key, String)
    case locked
    case abandoned
    case store(StoreError)

    public var description: String {
        switch self {
        case .unknownPool(let name, let known):
            "there is no IP pool \(name); the pools are \(known.list). "
                + "Create one with: \(Self.creation)"
        case .poolDisabled(let name, let others):
            "IP pool \(name) is disabled; no new addresses come from it. "
                + "Enable it with: calico-libnetwork pool enable \(name); "
                + "the other enabled pools are \(others.list)"
        case .noPool(let family, let node):
            "no configured \(family.name) pool is enabled for node \(node). Create one with: \(Self.creation)"
        case .noPoolForUse(let use, let node):
            "no pool for node \(node) allows the use \(use). Create one that does with: \(Self.creation)"
        case .notInPool(let address, let known):
            "\(address) is not in a configured and enabled IP pool; the pools are \(known.list)"
        case .outsideSubnet(let address, let subnet): "\(address) is not in this network's subnet \(subnet)"
        case .outsidePools(let address, let pools): "\(address) is in none of this network's pools \(pools.list)"
        case .subnetOutsidePool(let subnet, let pool, let cidr):
            "this network's subnet \(subnet) does not lie in IP pool \(pool), which is \(cidr) now; "
                + "remove the network and create it again"
        case .wrongFamily(let address, let pool): "\(address) is not of the family of \(pool)"
        case .taken(let address, let owner): "address \(address) is already assigned to \(owner.words)"
        case .strictAffinity(let address, let block, let owner):
            "\(address) lies in block \(block) of \(owner), and strict affinity forbids borrowing from it"
        case .overlap(let address, let block):
            "\(address) cannot be assigned: its block \(block) would overlap one of another size, left from an earlier "
                + "pool; release that block's addresses first"
        case .blockLimit(let limit, let node):
            "node \(node) has all \(limit) blocks it may own and they are full; "
                + "raise maxBlocksPerHost or remove containers"
        case .blocksNotAllocated(let node):
            "the blocks of node \(node) are full and the IPAM configuration forbids claiming new ones "
                + "(auto_allocate_blocks is false)"
        case .exhausted(let pools, let node, let blocks, let foreign, let isStrict, let isAnyPool):
            "no free address for node \(node) in \(pools.list): of \(blocks) blocks \(foreign) belong to other hosts"
                + (isStrict ? ", and strict affinity forbids borrowing from them" : " and all are full")
                + Self.relief(isAnyPool)
        case .contention(let attempts):
            "gave up after \(attempts) attempts: others kept changing the same values; try again"
        case .unreadable(let key, let reason): "\(key) cannot be read, so it is left alone: \(reason)"
        case .locked:
            "the datastore is locked (ClusterInformation has datastoreReady: false), perhaps for a migration; "
                + "nothing is written until it is true again"
        case .abandoned: "the request was given up before it was carried out"
        case .store(let error): error.description
        }
    }

    private static let creation = "calico-libnetwork pool create NAME --cidr CIDR"

    private static func relief(_ isAnyPool: Bool) -> String {
        ". Remove containers, or create a pool\(isAnyPool ? "" : ", and the network anew on it,") with: \(creation)"
    }
}

extension [CIDR] {
    fileprivate var list: String { sorted().map(\.description).list }
}

extension [String] {
    fileprivate var list: String { isEmpty ? "none" : joined(separator: ", ") }
}

extension AllocationAttributes {
    /// The owner as far as the allocation tells it.
    public var words: String {
        if let releasedAt { return "nobody, but was released at \(releasedAt) and rests until its cool-down is over" }
        let facts = [
            secondary["container"].map { "container \($0)" }, secondary["pod"].map { "pod \($0)" },
            secondary["type"].map { "\($0)" }, node.map { "node \($0)" }, secondary["mac"].map { "MAC \($0)" },
        ].compactMap(\.self)
        return facts.isEmpty ? handleID.map { "handle \($0)" } ?? "an unnamed owner" : facts.joined(separator: ", ")
    }
}
