// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Foundation

/// The engine that labs start, chosen by `LAB_ENGINE`; see `scripts/lab.sh`.
enum LabEngine: String, CustomStringConvertible {
    /// This machine's own, whatever its version.
    case machine = ""
    case v20_10 = "20.10"
    case v26_1 = "26.1"
    case v28_5 = "28.5"

    /// A name that is none of these makes `scripts/lab.sh` fail, and with it every test; so it may pass here.
    static let current =
        LabEngine(rawValue: ProcessInfo.processInfo.environment["LAB_ENGINE"] ?? "") ?? .machine

    /// Debian 12, where the machine's own engine is from, has no Compose v2.
    var hasCompose: Bool { self == .v26_1 || self == .v28_5 }

    /// Docker 23 dropped `--cluster-store`.
    var hasClusterStore: Bool { self == .machine || self == .v20_10 }

    /// Docker 25 brought several `--network` at `docker run`, each with a MAC of its own.
    var takesSeveralNetworks: Bool { self == .v26_1 || self == .v28_5 }

    var description: String { self == .machine ? "of this machine" : rawValue }
}

/// Whether the hosts' new interfaces begin with IPv6, chosen by `LAB_HOST_IPV6`.
let hostBeginsWithIPv6 = ProcessInfo.processInfo.environment["LAB_HOST_IPV6"] != "off"
