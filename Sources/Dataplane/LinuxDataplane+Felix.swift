// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import LinuxNetwork
import Logging

// Felix beside us: who has routes, settings and rules in hand, and how they change hands without a packet lost.
//
// Two masters do no harm for a while, since a packet then has to please both. So whoever leaves goes only when the
// other's rules are in force, and takes along nothing but its own rules. Connections live in the kernel's connection
// tracking, and both masters let known ones pass.

/// How soon changes of Felix are noticed and acted upon.
public struct FelixTiming: Sendable {
    /// Between two looks.
    public var interval = Duration.seconds(5)
    /// How long Felix may be away before we take over. It is, for some seconds, each time it is upgraded or its
    /// configuration changes, and its rules hold meanwhile.
    public var absence = Duration.seconds(30)
    /// How long Felix may be here without rules for our interfaces before somebody is told.
    public var patience = Duration.seconds(60)

    public init() {}
}

extension LinuxDataplane {
    /// Who is the master from the start. Where Felix should be but has no rules yet, we are until it has: with our
    /// own rules of an earlier process still there, or as long as nobody has said that Felix alone should be.
    func firstMaster(for endpoints: [WorkloadEndpoint]) async -> Master {
        let verdict = await felix.verdict()
        note(verdict)
        guard verdict.master == .felix else { return announced(.builtin) }
        let names = endpoints.compactMap { InterfaceName($0.spec.interfaceName) }
        if await missing(names)?.isEmpty == true { return announced(.felix) }
        let isAwaited = (try? await rules.isPolicing()) != false
        return announced(felix.choice == .felix && !isAwaited ? .felix : .builtin)
    }

    /// Who has containers' interfaces in hand on this host, as the kernel's rules tell; `nil` where no daemon of ours
    /// has loaded any.
    /// - Throws: `NftablesError`
    public static func masterInForce() throws -> Master? { try RulesetTable.masterInForce() }

    func watchFelix() async {
        while felix.isOfUse, !Task.isCancelled {
            try? await Task.sleep(for: felixTiming.interval)
            guard !Task.isCancelled else { return }
            await reviewMaster()
        }
    }

    private func reviewMaster() async {
        let verdict = await felix.verdict()
        note(verdict)
        guard verdict.master != master else {
            changeIsDueSince = nil
            return
        }
        let since = changeIsDueSince ?? .now
        changeIsDueSince = since
        do {
            switch verdict.master {
            case .felix: try await handOver(waitingSince: since)
            case .builtin where since.duration(to: .now) >= felixTiming.absence: try await takeOver()
            case .builtin: break
            }
        } catch {
            logger.error("the change between Felix and us failed, and is tried again", metadata: ["error": "\(error)"])
        }
    }

    /// Leaves the host to Felix, once it has rules for every interface. Routes and settings stay: they are what Felix
    /// sets too, and it makes them its own.
    private func handOver(waitingSince since: ContinuousClock.Instant) async throws {
        guard let missing = await missing(interfaces.names), missing.isEmpty else {
            wasFelixReady = false
            tellOfWaiting(since)
            return
        }
        // Seen twice: where its rules for IPv6 are to come, they come soon after those for IPv4.
        guard wasFelixReady else {
            wasFelixReady = true
            return
        }
        wasFelixReady = false
        try await rules.setMaster(.felix)
        master = announced(.felix)
        await interfaces.setMaster(.felix)
        await forwardRule.remove()
    }

    /// Takes the host from a Felix that is gone. Its rules stay in the kernel, as it leaves them.
    private func takeOver() async throws {
        try await rules.setMaster(.builtin)
        master = announced(.builtin)
        await interfaces.setMaster(.builtin)
        await forwardRule.ensure()
        guard try await felix.rules().areThere else { return }
        logger.warning(
            "Felix is gone but has left its rules, which drop packets of containers that start from now on; start it again, or remove its rules"
        )
    }

    func settleForwardRule() async {
        if master == .builtin { await forwardRule.ensure() } else { await forwardRule.remove() }
    }

    /// Interfaces that Felix has no rules for; `nil` where it has no rules at all, or they cannot be read.
    private func missing(_ names: [InterfaceName]) async -> [InterfaceName]? {
        do {
            let rules = try await felix.rules()
            return rules.areThere ? rules.interfacesWithout(names) : nil
        } catch {
            logger.warning("Felix's rules could not be read", metadata: ["error": "\(error)"])
            return nil
        }
    }

    private func tellOfWaiting(_ since: ContinuousClock.Instant) {
        let waited = since.duration(to: .now)
        guard waited >= felixTiming.patience, waited < felixTiming.patience + felixTiming.interval else { return }
        logger.warning(
            "Felix has no rules for our containers' interfaces, so ours stay; does it read our etcd, and is its node's name ours?"
        )
    }

    private func note(_ new: MasterVerdict) {
        if new.warning != verdict?.warning, let warning = new.warning {
            logger.warning("\(warning)", metadata: ["reason": "\(new.reason)"])
        }
        verdict = new
    }

    private func announced(_ master: Master) -> Master {
        let waits = master != verdict?.master
        logger.notice(
            "dataplane in force: \(master.rawValue)",
            metadata: ["reason": "\(waits ? "Felix has no rules for our interfaces yet" : verdict?.reason ?? "")"])
        return master
    }
}
