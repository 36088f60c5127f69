// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Dataplane
import Testing

@Suite struct `Who is the master of containers' interfaces` {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var choice = DataplaneChoice.auto
        var readsEtcd = true
        var prefixes = ["cali"]
        var sighting: FelixSearch.Sighting?
        var isWholeHostSeen = true
        var reportsItself = false
        var rulesAreThere = false
        let master: Master
        var warns = false
    }

    private static let felix = FelixSearch.Sighting(process: 4711, readsKubernetes: false)
    private static let kubernetes = FelixSearch.Sighting(process: 4711, readsKubernetes: true)

    @Test(arguments: [
        Case(testDescription: "nobody else is here", master: .builtin),
        Case(testDescription: "Felix runs", sighting: felix, master: .felix),
        Case(testDescription: "Felix is gone and its rules stay", rulesAreThere: true, master: .builtin),
        Case(testDescription: "nothing is seen of a Felix", isWholeHostSeen: false, master: .builtin),
        Case(
            testDescription: "Felix reports, unseen", isWholeHostSeen: false, reportsItself: true, master: .felix),
        Case(testDescription: "Felix has rules, unseen", isWholeHostSeen: false, rulesAreThere: true, master: .felix),
        Case(testDescription: "Felix's last report outlives it", reportsItself: true, master: .builtin),
        Case(
            testDescription: "Felix cannot read SQLite", readsEtcd: false, sighting: felix, master: .builtin,
            warns: true),
        Case(
            testDescription: "rules of Felix, with SQLite", readsEtcd: false, isWholeHostSeen: false,
            rulesAreThere: true, master: .builtin),
        Case(testDescription: "Felix reads Kubernetes", sighting: kubernetes, master: .builtin, warns: true),
        Case(
            testDescription: "Felix cares for other interfaces", prefixes: ["tap"], sighting: felix, master: .builtin,
            warns: true),
        Case(testDescription: "Felix cares for ours too", prefixes: ["tap", "cali"], sighting: felix, master: .felix),
        Case(testDescription: "told to be it", choice: .builtin, sighting: felix, master: .builtin, warns: true),
        Case(testDescription: "told to be it, alone", choice: .builtin, master: .builtin),
        Case(testDescription: "told that Felix is", choice: .felix, sighting: felix, master: .felix),
        Case(testDescription: "told that Felix is, which is not here", choice: .felix, master: .felix, warns: true),
    ])
    func `follows from the setting and from what is seen`(of situation: Case) {
        var circumstances = FelixCircumstances()
        circumstances.canReadDatastore = situation.readsEtcd
        circumstances.interfacePrefixes = situation.prefixes
        circumstances.reportsItself = situation.reportsItself
        let verdict = MasterVerdict(
            situation.choice, circumstances, sighting: situation.sighting, isWholeHostSeen: situation.isWholeHostSeen
        ) { situation.rulesAreThere }
        #expect(verdict.master == situation.master)
        #expect((verdict.warning != nil) == situation.warns)
        #expect(!verdict.reason.isEmpty)
    }
}
