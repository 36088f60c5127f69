// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Dataplane
import Datastore

extension Configuration {
    /// What the settings and the datastore tell of this host's Felix.
    func felixCircumstances(_ state: borrowing ClusterState) -> FelixCircumstances {
        var circumstances = FelixCircumstances()
        if case .sqlite = datastore {} else { circumstances.canReadDatastore = true }
        circumstances.reportsItself = state.felixHosts.contains(node)
        if let prefixes = state.felixSetting(\.interfacePrefix, of: node) {
            circumstances.interfacePrefixes = prefixes.split(separator: ",").map { $0.filter { $0 != " " } }
        }
        return circumstances
    }
}
