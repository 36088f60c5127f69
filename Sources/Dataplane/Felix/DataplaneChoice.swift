// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Who is to be the master of containers' interfaces: the setting `CALICO_LIBNETWORK_DATAPLANE`.
public enum DataplaneChoice: String, Hashable, Sendable, CaseIterable {
    case builtin
    case felix
    /// Felix where one runs on this host and reads our datastore, else ourselves.
    case auto
}

/// What is known of a host's Felix beside its process and its rules.
public struct FelixCircumstances: Sendable {
    /// Felix reads etcd. What lies in a file of ours it does not know.
    public var canReadDatastore = false
    /// It says, in the datastore, that it lives. It says so only where it is told to.
    public var reportsItself = false
    /// Which interfaces it takes for endpoints', as its configuration in the datastore has it.
    public var interfacePrefixes = ["cali"]

    public init() {}
}

/// Who should be the master of containers' interfaces, and why.
public struct MasterVerdict: Hashable, Sendable {
    public let master: Master
    /// Goes on after "because".
    public let reason: String
    /// What is wrong with that, for the person who runs the host.
    public var warning: String?

    /// - Parameters:
    ///   - sighting: the Felix among this host's processes.
    ///   - isWholeHostSeen: one that ran would have been found.
    ///   - rulesAreThere: Felix's rules are in the kernel; asked only where nothing else tells.
    public init(
        _ choice: DataplaneChoice, _ circumstances: FelixCircumstances, sighting: FelixSearch.Sighting?,
        isWholeHostSeen: Bool, rulesAreThere: () -> Bool
    ) {
        switch choice {
        case .builtin:
            self.init(.builtin, "the setting says builtin")
            if sighting != nil {
                warning = "a Felix runs on this host, and drops packets of interfaces that it does not know"
            }
        case .felix:
            self.init(.felix, "the setting says felix")
            if sighting == nil, isWholeHostSeen {
                warning = "no Felix runs on this host; until one does, new containers have no connection"
            }
        case .auto:
            if let obstacle = Self.obstacle(sighting, circumstances) {
                self.init(.builtin, obstacle)
                if sighting != nil {
                    warning = "a Felix of no use to us runs here, and drops packets of interfaces that begin as its do"
                }
            } else if let sighting {
                self.init(.felix, "Felix runs on this host, process \(sighting.process)")
            } else if isWholeHostSeen {
                self.init(.builtin, "no Felix runs on this host")
            } else if circumstances.reportsItself {
                self.init(.felix, "Felix reports from this node; its process cannot be seen from here")
            } else if rulesAreThere() {
                self.init(.felix, "Felix's rules are in the kernel; its process cannot be seen from here")
            } else {
                self.init(.builtin, "nothing is to be seen of a Felix")
            }
        }
    }

    private init(_ master: Master, _ reason: String) {
        self.master = master
        self.reason = reason
    }

    /// Why a Felix would be of no use.
    private static func obstacle(_ sighting: FelixSearch.Sighting?, _ circumstances: FelixCircumstances) -> String? {
        if !circumstances.canReadDatastore { return "the datastore is not etcd, which Felix reads" }
        if sighting?.readsKubernetes == true { return "this host's Felix reads Kubernetes' API, not our etcd" }
        guard circumstances.interfacePrefixes.contains(where: { "cali".hasPrefix($0) }) else {
            return "Felix's interfacePrefix leaves out interfaces that begin with \"cali\""
        }
        return nil
    }
}
