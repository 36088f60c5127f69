// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Datastore
import FoundationEssentials
import Logging

extension NetworkDriver {
    func createNetwork(_ request: CreateNetworkRequest) async throws -> EmptyReply {
        guard !request.networkID.isEmpty, request.networkID.utf8.allSatisfy(\.isIDByte) else {
            throw PluginError("\"\(request.networkID)\" is not a network id")
        }
        let options = try NetworkOptions(network: request.generic, logger: logger)
        if !request.ipv6.isEmpty { try checkMTU6(options) }
        let record = self.record(
            request.networkID, subnets: try subnets(of: request), options: options, isInternal: request.isInternal)
        defer { nextHops.end(record.id) }
        let creation = creations.begin(record.id)
        await background.end(undoing(network: record.id))
        var isUndone = false
        defer { if !isUndone { creations.end(creation, of: record.id) } }
        var isWritten = false
        try await commit(ifInDoubt: { transaction in
            isUndone = true
            undo(creation, of: record.id, after: transaction)
        }) { state in
            isWritten = false
            let seen = state.networks[record.id]
            guard seen?.value.nextHops[node] == nil else { return nil }
            // A Swarm's network has the same id on every node that runs tasks of it.
            var joined = seen?.value ?? record
            joined.subnets += record.subnets.filter { !joined.subnets.contains($0) }
            let pools = state.poolNames(of: joined.subnets)
            try options.checkPools(pools)
            if !pools.isEmpty { joined.pools = pools }
            joined.nextHops[node] = nextHop(of: record.id, in: state)
            var transaction = Transaction(
                if: [.asSeen(joined.key, seen?.revision)], writes: [.put(joined.key, joined)])
            if let profile = joined.profile.flatMap({ state.profiles[$0] }) {
                transaction.merge(state.adopting(profile, for: joined))
            }
            isWritten = true
            return transaction
        }
        // At the deadline the engine was told that there is no network.
        if isWritten, Task.isCancelled {
            isUndone = true
            undo(creation, of: record.id)
            throw CancellationError()
        }
        if let profile = record.profile, !record.wantsProfile {
            warnOfMissingProfiles(["network": "\(record.id.abbreviated)"]) { _ in [profile] }
        }
        return EmptyReply()
    }

    /// Each start would fail otherwise, with no more than a refusal of the kernel to show for it.
    private func checkMTU6(_ options: NetworkOptions) throws {
        guard let mtu = options.mtu ?? settings.mtu, mtu < EndpointLink.minimumMTU6 else { return }
        let origin = options.mtu == nil ? "CALICO_LIBNETWORK_VETH_MTU" : NetworkOptions.mtuKey
        throw PluginError(
            "\(origin)=\(mtu) is too small for a network with IPv6, which the kernel has from "
                + "\(EndpointLink.minimumMTU6) bytes on; give the network its own with -o "
                + "\(NetworkOptions.mtuKey)=N, or leave IPv6 out")
    }

    /// A new network's record; pools and next hop follow from the state it is added to.
    func record(
        _ id: String, name: String? = nil, subnets: [CIDR], options: NetworkOptions, isInternal: Bool
    ) -> NetworkRecord {
        NetworkRecord(
            id: id, name: name, subnets: subnets, pools: [], profile: options.profile == "none" ? nil : options.profile,
            wantsProfile: settings.createsProfiles && !["none", Profile.builtInName].contains(options.profile),
            isInternal: isInternal,
            options: options.text, labels: options.labels, created: Timestamp.text(.now))
    }

    /// A network's record as the engine has it.
    func record(
        _ id: String, as found: EngineNetwork, _ options: NetworkOptions, in state: borrowing ClusterState
    ) -> NetworkRecord {
        var record = record(
            id, name: found.name, subnets: found.subnets.compactMap { CIDR($0) }, options: options,
            isInternal: found.isInternal)
        record.pools = state.poolNames(of: record.subnets)
        record.learn(from: found)
        return record
    }

    func deleteNetwork(_ request: NetworkRequest) async throws -> EmptyReply {
        try await removeNetwork(request.networkID) { record, _ in record.remainder(without: node) }
        return EmptyReply()
    }

    /// An engine that was told that there is no network never says DeleteNetwork. Yet the record may have been written,
    /// or may yet be. It goes, unless somebody uses it by now.
    ///
    /// - Parameter transaction: what got no answer. Committing it once more decides whether it was carried out.
    private func undo(_ creation: Int, of id: String, after transaction: Transaction? = nil) {
        guard creations.isLatest(creation, of: id) else { return }
        background.run(undoing(network: id)) {
            defer { creations.end(creation, of: id) }
            if let transaction { guard await decide(transaction) else { return } }
            do {
                try await removeNetwork(id) { record, state in
                    guard creations.isLatest(creation, of: id) else { return record }
                    var rest = record
                    rest.nextHops[node] = nil
                    let isUsed = state.endpoints.values.contains { $0.value.networkID == id }
                    return rest.nextHops.isEmpty && !isUsed ? nil : rest
                }
            } catch {
                logger.warning(
                    "the record of a network that could not be made waits for reconciliation",
                    metadata: ["network": "\(id.abbreviated)", "error": "\(error)"])
            }
        }
    }

    private func undoing(network: String) -> String { "undo network \(network)" }

    /// - Parameter remainder: what remains of the record; `nil` where it goes, with profiles that nobody else uses.
    private func removeNetwork(
        _ id: String, leaving remainder: (NetworkRecord, borrowing ClusterState) -> NetworkRecord?
    ) async throws {
        var sightings = ProfileSightings()
        try await commit { state in
            guard let seen = state.networks[id] else { return nil }
            let key = seen.value.key
            if let rest = remainder(seen.value, state) {
                guard rest != seen.value else { return nil }
                return Transaction(if: [.unchanged(key, since: seen.revision)], writes: [.put(key, rest)])
            }
            var transaction = Transaction(if: [.unchanged(key, since: seen.revision)], writes: [.delete(key)])
            for profile in seen.value.profilesToRemove where sightings.isUnchanged(profile, in: state) {
                transaction.merge(state.removing(profile, besidesNetwork: seen.value.id))
            }
            return transaction
        }
    }

    /// The network's subnets, all of our own IPAM.
    private func subnets(of request: CreateNetworkRequest) throws -> [CIDR] {
        try (request.ipv4 + request.ipv6).map { data in
            guard data.addressSpace.isEmpty || data.addressSpace.hasPrefix("Calico") else {
                throw PluginError(
                    "Non-Calico IPAM driver is used. A calico network needs Calico's addresses: docker network create "
                        + "-d calico --ipam-driver calico-ipam NAME; with the managed plugin its name stands for both")
            }
            guard let subnet = CIDR(data.pool) else {
                throw PluginError("the engine sent \"\(data.pool)\" as the network's subnet, which is none")
            }
            return subnet
        }
    }

    /// What is known of a network, looked up at the engine where CreateNetwork never came here: the plugin's data was
    /// lost, or the network was made on another host.
    func knownNetwork(_ id: String) async throws -> NetworkRecord {
        // The name is waited for only while the profile's name depends on it: an engine that hangs must not delay every
        // endpoint of the network.
        if let record = network(id)?.value, record.hasProfileName || record.isProvisional {
            return record
        }
        let found: EngineNetwork?
        do { found = try await engine.lookUp(id) } catch {
            return network(id)?.value ?? guess(id, because: error)
        }
        if let record = network(id)?.value {
            var named = record
            if let found { named.learn(from: found) }
            return named
        }
        let options = try NetworkOptions(network: (found?.options ?? [:]).mapValues(JSONValue.string), logger: logger)
        guard let found else { return record(id, subnets: [], options: options, isInternal: false) }
        return replica.read { record(id, as: found, options, in: $0) }
    }

    /// Learns the name of a network that was just made, off the engine's path: during CreateNetwork the engine does not
    /// know it yet.
    public func learnName(of id: String) async {
        for attempt in 1...6 {
            try? await Task.sleep(for: .milliseconds(100 * attempt))
            guard let record = network(id)?.value, record.name == nil else { return }
            guard let found = await engine.network(id) else { continue }
            try? await commit { state in
                guard let seen = state.networks[id], seen.value.name == nil else { return nil }
                var named = seen.value
                named.learn(from: found)
                return Transaction(
                    if: [.unchanged(named.key, since: seen.revision)], writes: [.put(named.key, named)])
            }
            return
        }
    }
}

extension ClusterState {
    func poolNames(of subnets: [CIDR]) -> [String] {
        var names: [String] = []
        for subnet in subnets where subnet.prefixLength > 0 {
            if let name = pool(containing: subnet)?.name, !names.contains(name) { names.append(name) }
        }
        return names
    }

    /// The proof that a profile is there. One of ours is written again where the network has not used it before:
    /// whoever is about to remove it may not know of the network yet, but notices that.
    func adopting(_ present: Versioned<Profile>, for network: NetworkRecord) -> Transaction {
        var profile = present.value
        var transaction = Transaction(if: [.unchanged(profile.key, since: present.revision)])
        // That of a guess was closed, until an endpoint showed that the network is not internal.
        if network.isProvisional, !network.isInternal { profile.open() }
        if profile.isOurs, profile != present.value || networks[network.id]?.value.profile != profile.name {
            transaction.writes.append(.put(profile.key, profile))
        }
        return transaction
    }

    /// The end of a profile that goes with the last network and endpoint that use it; only of one that we made. Where one
    /// still uses it, the proof that it does: it may be ending at this moment, and would leave the profile to us.
    func removing(_ name: String, besidesNetwork network: String? = nil, besidesEndpoints others: Set<Key> = [])
        -> Transaction
    {
        guard let profile = profiles[name], profile.value.isOurs else { return Transaction() }
        if let user = networks.values.first(where: { $0.value.id != network && $0.value.profile == name }) {
            return Transaction(if: [.unchanged(user.value.key, since: user.revision)])
        }
        if let (key, user) = endpoints.first(where: { key, endpoint in
            !others.contains(key) && endpoint.value.ownProfiles.contains(name)
        }) {
            return Transaction(if: [.unchanged(key, since: user.revision)])
        }
        let key = profile.value.key
        return Transaction(if: [.unchanged(key, since: profile.revision)], writes: [.delete(key)])
    }

    /// An endpoint that outlived its network, after a crash, kept the network's profile: it goes with it. A network that
    /// is there must still be when the endpoint ends.
    func removingProfiles(
        withLast endpoint: WorkloadEndpoint, _ sightings: inout ProfileSightings
    ) -> Transaction {
        guard let id = endpoint.networkID else { return Transaction() }
        if let network = networks[id] {
            return Transaction(if: [.unchanged(network.value.key, since: network.revision)])
        }
        var transaction = Transaction()
        for name in endpoint.spec.profiles where sightings.isUnchanged(name, in: self) {
            transaction.merge(removing(name, besidesEndpoints: [endpoint.key]))
        }
        return transaction
    }
}

/// Profiles as a deletion's first attempt met them. One that has changed since is in use by somebody whose record may
/// not have come here yet.
struct ProfileSightings {
    private var revisions: [String: Revision?] = [:]

    mutating func isUnchanged(_ name: String, in state: borrowing ClusterState) -> Bool {
        let revision = state.profiles[name]?.revision
        guard let first = revisions[name] else {
            revisions.updateValue(revision, forKey: name)
            return true
        }
        return first == revision
    }
}

extension NetworkRecord {
    /// What remains of it when a node's engine has removed it; `nil` where it is gone.
    ///
    /// A Swarm's network comes and goes on each node by itself. Any other is gone everywhere: of one engine, or of a
    /// cluster store.
    fileprivate func remainder(without node: String) -> NetworkRecord? {
        guard isOfSwarm else { return nil }
        var rest = self
        rest.nextHops[node] = nil
        return rest.nextHops.isEmpty ? nil : rest
    }

    /// What only the engine's API tells: the name, and `--ipam-opt`, which IPAM is given for no network in particular.
    mutating func learn(from network: EngineNetwork) {
        name = network.name
        guard pools.isEmpty, let text = network.ipamOptions[NetworkOptions.poolKey] else { return }
        pools = (try? PoolNames(text).names) ?? []
    }

    /// Whether asking for the network's name would change nothing for its profile.
    fileprivate var hasProfileName: Bool { name != nil || profile != nil || !wantsProfile }

    /// What its profile is called, there or not; `nil` where it has none.
    var profileName: String? {
        profile ?? (wantsProfile ? name.map(ProfileName.make(network:)) ?? namelessProfile : nil)
    }

    /// What its profile is called while nobody knows its name.
    var namelessProfile: String { "network-\(id.abbreviated)" }

    /// Those that may go with it: its own, and what is left of a guess.
    fileprivate var profilesToRemove: Set<String> { Set([profile, namelessProfile].compactMap(\.self)) }

    /// With what `other`, of the same network, knows and this does not.
    func filled(from other: NetworkRecord) -> NetworkRecord {
        var record = self
        record.name = name ?? other.name
        if pools.isEmpty { record.pools = other.pools }
        if isProvisional, !other.isInternal { record.isInternal = false }
        return record
    }

    /// The profile that comes with the network's first endpoint.
    ///
    /// One that the user has named may be shared with networks that are not internal; there the dataplane's rule about
    /// internal endpoints has to do.
    func newProfile(_ name: String) -> Profile {
        .network(name, isClosed: isInternal && NetworkOptions(of: self).profile == nil)
    }
}

extension Profile {
    private static let creatorAnnotation = "libnetwork.projectcalico.org/created-by"

    /// Members reach each other, and anything outside unless the network is closed; nobody else reaches them. The label
    /// is what makes a member.
    fileprivate static func network(_ name: String, isClosed: Bool) -> Profile {
        var metadata = ResourceMetadata(name: name)
        metadata.annotations[creatorAnnotation] = "calico-libnetwork"
        // A profile's name may have 253 bytes, a label's key 63.
        let label = ProfileName.make(network: name)
        let members = EntityRule(selector: "has(\(label))")
        return Profile(
            metadata: metadata.asCreated(),
            spec: ProfileSpec(
                ingress: [Rule(action: .allow, source: members)],
                egress: [isClosed ? Rule(action: .allow, destination: members) : Rule(action: .allow)],
                labelsToApply: [label: ""]))
    }

    /// Lets members out to anywhere.
    fileprivate mutating func open() { spec.egress = [Rule(action: .allow)] }

    var isOurs: Bool { metadata.annotations[Self.creatorAnnotation] == "calico-libnetwork" }
}
