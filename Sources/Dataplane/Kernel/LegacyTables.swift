// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import FoundationEssentials

/// The tables of iptables in its old form.
enum LegacyTables {
    /// Whether the calling thread's network namespace has the table `filter`. Asked before `iptables-legacy` is run,
    /// because the program itself brings the table into being.
    private static func areInUse(_ family: IPAddress.Family) -> Bool {
        let file = "/proc/thread-self/net/\(family == .v4 ? "ip" : "ip6")_tables_names"
        guard let names = try? Data(contentsOf: URL(filePath: file)) else { return false }
        return String(decoding: names, as: UTF8.self).split(separator: "\n").contains("filter")
    }

    /// The program for these tables, where they are in use and it is there.
    static func program(_ family: IPAddress.Family) -> HostCommand? {
        guard areInUse(family) else { return nil }
        return HostCommand(family == .v4 ? "iptables-legacy" : "ip6tables-legacy")
    }

    /// First arguments of each call: two seconds for others who change these tables to finish.
    static let waiting = ["-w", "2"]
}
