// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore

/// What the answers promised, and what the store made of it: each request with its fate, judged at every commit.
struct Ledger {
    enum Fate: Equatable {
        /// No answer yet.
        case open
        /// Its caller has been told to stop.
        case cancelled
        /// Answered with an address, which is its until it is given back.
        case held
        /// Being given back.
        case releasing
        /// A release failed without saying whether it was carried out.
        case maybeReleased
        /// Answered, and over: nothing may be allocated for it.
        case over
        /// Nobody was told an address, but one may have been taken: the process died, or the store said nothing.
        case uncertain
    }

    struct Request {
        let host: Int
        let client: Int
        let owner: AllocationAttributes
        var fate: Fate = .open
        var address: IPAddress?
        var releasingClient: Int?
        /// It has been uncertain, so a message of it may still be under way.
        var mayComeLate = false
    }

    private(set) var requests: [String: Request] = [:]
    /// Where the store has allocated an address for a request.
    private(set) var allocated: [String: IPAddress] = [:]

    subscript(id: String) -> Fate? {
        get { requests[id]?.fate }
        set {
            guard let newValue else { return }
            requests[id]?.fate = newValue
            if newValue == .uncertain { requests[id]?.mayComeLate = true }
        }
    }

    mutating func open(_ id: String, _ request: Request) { requests[id] = request }

    // MARK: Answers

    mutating func answer(_ id: String, _ address: IPAddress) -> String? {
        guard allocated[id] == address else { return "\(id) was given \(address), which the store does not say" }
        requests[id]?.address = address
        self[id] = .held
        let holders = requests.filter { $0.value.fate == .held && $0.value.address == address }.keys.sorted()
        return holders.count > 1 ? "\(address) is held by \(holders.joined(separator: " and "))" : nil
    }

    /// - Parameter isUncertain: the error does not tell whether anything was done.
    mutating func refuse(_ id: String, isUncertain: Bool) -> String? {
        self[id] = isUncertain ? .uncertain : .over
        guard !isUncertain, let address = allocated[id] else { return nil }
        return "\(id) was refused and yet \(address) is allocated for it"
    }

    /// - Returns: what it was before; `nil` where there is nothing to give back any more.
    mutating func beginRelease(_ id: String, by client: Int) -> Fate? {
        guard let fate = self[id] else { return nil }
        switch fate {
        case .held: self[id] = .releasing
        // Somebody else releases it at this moment, or may have: either may find it.
        case .releasing: self[id] = .maybeReleased
        case .maybeReleased: break
        default: return nil
        }
        requests[id]?.releasingClient = client
        return fate
    }

    /// Notes that an allocation nobody was told of is known now, and is to be released.
    mutating func adopt(_ id: String, _ address: IPAddress) {
        requests[id]?.address = address
        self[id] = .maybeReleased
    }

    mutating func release(_ id: String, found owner: AllocationAttributes?) -> String? {
        let wasCertain = self[id] == .releasing
        self[id] = .over
        if let address = allocated[id] { return "\(id) has given \(address) back, but it is still allocated" }
        if wasCertain, owner == nil { return "\(id) gave back what it held, and was told that nobody did" }
        return nil
    }

    mutating func failRelease(_ id: String, isUncertain: Bool) -> String? {
        // Another release of the same may have been carried out.
        guard self[id] == .releasing else { return nil }
        guard !isUncertain else {
            self[id] = .maybeReleased
            return nil
        }
        guard allocated[id] != nil else { return "a release of \(id) failed, but was carried out" }
        self[id] = .held
        return nil
    }

    /// A process died: what it was doing has no answer.
    mutating func forsake(client: Int) {
        for (id, request) in requests where request.client == client {
            switch request.fate {
            case .open, .cancelled: self[id] = .uncertain
            default: break
            }
        }
        for (id, request) in requests where request.releasingClient == client && request.fate == .releasing {
            self[id] = .maybeReleased
        }
    }

    // MARK: Commits

    mutating func judge(_ old: IPAMBlock?, _ new: IPAMBlock?) -> String? {
        let before = Self.holders(old)
        let after = Self.holders(new)
        for (address, id) in before where after[address] != id {
            guard let fate = self[id] else { return "\(address) was freed, whose owner nobody knows: \(id)" }
            guard [.cancelled, .releasing, .maybeReleased, .uncertain].contains(fate) else {
                return "\(address) was taken from \(id), which is \(fate)"
            }
            allocated[id] = nil
        }
        for (address, id) in after where before[address] != id {
            // A message may be so late that what it relied on is true again: that its block does not exist.
            if requests[id]?.mayComeLate == true, self[id] == .over { self[id] = .uncertain }
            guard let fate = self[id], [.open, .cancelled, .uncertain].contains(fate) else {
                return "\(address) was allocated for \(id), whose request is \(self[id].map { "\($0)" } ?? "unknown")"
            }
            if let other = allocated[id] { return "\(id) has \(other) and was given \(address) as well" }
            allocated[id] = address
        }
        return nil
    }

    private static func holders(_ block: IPAMBlock?) -> [IPAddress: String] {
        var holders: [IPAddress: String] = [:]
        for (address, owner) in block?.assignments ?? [] where !owner.isCoolingDown {
            holders[address] = owner.secondary["mac"] ?? "without a name"
        }
        return holders
    }

    // MARK: Questions

    /// Requests of `host` whose address its engine believes to hold, in a fixed order.
    func releasable(by host: Int) -> [String] {
        requests.filter { $0.value.host == host && [.held, .maybeReleased].contains($0.value.fate) }.keys.sorted()
    }

    /// Allocations of `host` that nobody will ask to release.
    func orphans(of host: Int) -> [(id: String, address: IPAddress, owner: AllocationAttributes)] {
        allocated.compactMap { id, address in
            guard let request = requests[id], request.host == host,
                [.cancelled, .uncertain, .over, .maybeReleased].contains(request.fate)
            else { return nil }
            return (id, address, request.owner)
        }.sorted { $0.id < $1.id }
    }
}
