// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import IPAM

/// The value of `org.projectcalico.pool`: names of pools with commas between them.
struct PoolNames {
    /// At least one, each once, in the order given.
    let names: [String]

    /// - Throws: naming what cannot be a pool's name.
    init(_ text: String) throws {
        var names: [String] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let name = part.trimming(while: { $0 == " " })
            guard Validation.isResourceName(name) else {
                throw PluginError(
                    "\(NetworkOptions.poolKey)=\(text): \"\(name)\" is not a pool's name; "
                        + "give names from 'calico-libnetwork pool list' with commas between them")
            }
            if !names.contains(name) { names.append(name) }
        }
        self.names = names
    }
}

extension Substring {
    fileprivate func trimming(while isDropped: (Character) -> Bool) -> String {
        let head = drop(while: isDropped)
        let last = head.lastIndex { !isDropped($0) }
        return last.map { String(head[...$0]) } ?? ""
    }
}

/// The pools that `--ipam-opt org.projectcalico.pool` names, as far as they are of the family an engine asks for.
///
/// The option is IPAM's: an engine asks for pools before it tells the network driver anything of the new network, and
/// passes `-o` options to the network driver alone.
struct NamedPools {
    /// As the user gave them, of both families.
    let names: [String]
    let family: IPAddress.Family
    let pools: [IPPool]
    /// Pools of the family, for the person who has named none.
    let known: String

    /// Where the network's addresses come from without `--subnet`.
    func scope() throws -> AddressScope {
        guard let first = pools.first else {
            throw PluginError(
                "\(option) names no IPv\(family.number) pool, and the network has IPv\(family.number) addresses; add one: the "
                    + "IPv\(family.number) pools are \(known)")
        }
        return pools.count == 1 ? .pool(name: first.name, subnet: nil, range: nil) : .pools(pools.map(\.name))
    }

    /// - Throws: where `--subnet` and option contradict each other. A family that only has a subnet needs no name.
    func check(_ pool: IPPool, holding subnet: CIDR) throws {
        guard !pools.isEmpty, !pools.contains(where: { $0.name == pool.name }) else { return }
        throw PluginError("the --subnet \(subnet) lies in pool \(pool.name), which \(option) does not name")
    }

    private var option: String { "--ipam-opt \(NetworkOptions.poolKey)=\(names.joined(separator: ","))" }
}

extension IPAMDriver {
    /// `nil` where the user has named no pools.
    func namedPools(_ options: [String: String], _ family: IPAddress.Family) async throws -> NamedPools? {
        guard let text = options[NetworkOptions.poolKey] else { return nil }
        let names = try PoolNames(text).names
        // A pool made a moment ago by a command may not have reached us yet.
        if names.contains(where: { pool($0) == nil }) { await replica.refresh() }
        let pools = try names.map(knownPool).filter { $0.spec.family == family }.map(usable)
        return NamedPools(names: names, family: family, pools: pools, known: poolList(family))
    }

    private func pool(_ name: String) -> IPPool? { replica.read { $0.pools[name]?.value } }

    private func knownPool(_ name: String) throws -> IPPool {
        if let pool = pool(name) { return pool }
        let nearest = Nearest.word(to: name, in: replica.read { $0.pools.keys.sorted() })
        throw PluginError(
            "there is no IP pool \(name)\(nearest.map { " (do you mean \($0)?)" } ?? ""); the pools are \(poolList()). "
                + "Create one with: calico-libnetwork pool create NAME --cidr CIDR")
    }

    /// Names and ranges of the pools there are, for a person who named another one.
    func poolList(_ family: IPAddress.Family? = nil) -> String {
        let pools = replica.read { state in
            state.poolsInOrder.filter { family == nil || $0.spec.family == family }
                .map { "\($0.name) (\($0.spec.cidr))" }
        }
        return pools.isEmpty ? "none" : pools.joined(separator: ", ")
    }
}

extension NetworkOptions {
    /// `-o org.projectcalico.pool` cannot choose pools, because the engine has already asked for them by then. It stands
    /// where it says what is so.
    ///
    /// - Parameter actual: the pools that hold the network's subnets.
    func checkPools(_ actual: [String]) throws {
        guard !pools.isEmpty, Set(pools) != Set(actual) else { return }
        let option = "\(Self.poolKey)=\(pools.joined(separator: ","))"
        throw PluginError(
            "-o \(option) comes too late: the engine asks for a network's pools before it tells the -o options. Give the "
                + "pools to IPAM instead: --ipam-opt \(option) (in Compose: ipam.options instead of driver_opts)")
    }
}
