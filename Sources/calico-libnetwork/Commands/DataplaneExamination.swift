// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Dataplane
import Datastore

/// `doctor`'s look at who has containers' interfaces in hand.
struct DataplaneExamination {
    let configuration: Configuration
    let state: ClusterState

    var findings: [Finding] {
        let search = FelixSearch()
        let rules = Result { try FelixRules() }
        let rulesAreThere = (try? rules.get())?.areThere == true
        let verdict = MasterVerdict(
            configuration.dataplane, configuration.felixCircumstances(state), sighting: search.look(),
            isWholeHostSeen: search.seesWholeHost
        ) { rulesAreThere }
        return [inForce(verdict), remainder(verdict, rulesAreThere), sources(verdict)].compactMap(\.self)
    }

    private func inForce(_ verdict: MasterVerdict) -> Finding {
        let wanted = "\(verdict.master.rawValue): \(verdict.reason)"
        if let warning = verdict.warning { return .warning("dataplane", "\(wanted); \(warning)", Self.remedy) }
        switch Result(catching: { try LinuxDataplane.masterInForce() }) {
        case .success(verdict.master): return .passed("dataplane", wanted)
        case .success(nil): return .warning("dataplane", "\(wanted); no rules of ours are loaded", "start the daemon")
        case .success(let master?):
            return .warning(
                "dataplane", "\(wanted); in force is still \(master.rawValue)",
                "wait half a minute; then see the daemon's log, and that Felix's node name and etcd are ours")
        case .failure(let error): return .failed("dataplane", "\(error)", "give the daemon CAP_NET_ADMIN")
        }
    }

    private static let remedy = "set CALICO_LIBNETWORK_DATAPLANE, or start or stop Felix; see docs/felix.md"

    /// Rules that Felix has left behind decide about packets, too.
    private func remainder(_ verdict: MasterVerdict, _ rulesAreThere: Bool) -> Finding? {
        guard verdict.master == .builtin, rulesAreThere else { return nil }
        return .warning(
            "felix", "its rules are in the kernel, and drop packets of containers that it does not know",
            "start Felix, or remove its rules")
    }

    private func sources(_ verdict: MasterVerdict) -> Finding? {
        let setting = state.felixSetting(\.workloadSourceSpoofing, of: configuration.node)
        guard verdict.master == .felix, setting != "Any" else { return nil }
        return .warning(
            "felix",
            "workloadSourceSpoofing is \(setting ?? "Disabled"): a container on several networks answers on one",
            "set workloadSourceSpoofing: Any in the FelixConfiguration, if there are such containers")
    }
}
