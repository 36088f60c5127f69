// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import CalicoModel
public import Datastore

// What holds for every write to Calico's data, be it of addresses or of endpoints and networks.

extension ClusterState {
    /// A value that exists but says nothing to us is nobody's to overwrite.
    public func checkReadable(_ key: @autoclosure () -> Key) throws(IPAMError) {
        guard !unreadable.isEmpty else { return }
        let key = key()
        if let reason = unreadable[key] { throw .unreadable(key, reason) }
    }

    /// The proof that the datastore was not locked meanwhile: every transaction contains it.
    ///
    /// - Throws: `IPAMError.locked`, or `.unreadable` where nobody can say.
    public func provingUnlocked() throws(IPAMError) -> Transaction.Precondition {
        let key = Key.resource(ClusterInformationSpec.self, name: "default")
        try checkReadable(key)
        guard isReady else { throw .locked }
        return .asSeen(key, clusterInformation?.revision)
    }
}
