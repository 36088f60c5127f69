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
        let inForce: Master?
        do { inForce = try LinuxDataplane.masterInForce() } catch {
            return .failed("dataplane", "\(error)", "give the daemon CAP_NET_ADMIN")
        }
        guard let inForce else {
            return .warning("dataplane", "no rules of ours are loaded", "start the daemon: calico-libnetwork serve")
        }
        guard inForce == verdict.master else {
            return .warning(
                "dataplane",
                "\(inForce.rawValue) is in force; \(verdict.master.rawValue) should be, because \(verdict.reason)",
                "wait half a minute; then look into the daemon's log, and whether Felix's node name and etcd are ours")
        }
        let found = "\(inForce.rawValue) is in force, because \(verdict.reason)"
        guard let warning = verdict.warning else { return .passed("dataplane", found) }
        return .warning("dataplane", "\(found); \(warning)", Self.remedy)
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
