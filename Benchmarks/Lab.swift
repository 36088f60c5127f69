// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// The host of `scripts/lab.sh` that this runs in.
enum Lab {
    /// The daemon changes links, routes and rules: nothing starts outside a lab, and no store lies in memory.
    static func require() throws {
        guard let directory = getenv("LAB_DIR").map({ String(cString: $0) }), !directory.isEmpty,
            try contents(of: "/proc/1/cmdline").contains(directory)
        else { throw BenchmarkError("this is not a lab; use 'make bench' or scripts/bench") }
        guard try filesystem != "tmpfs" else {
            throw BenchmarkError("the lab is in memory, where syncing is free; set TMPDIR to a folder on a disk")
        }
    }

    /// What the stores lie on.
    private static var filesystem: Substring {
        get throws {
            let mounts = try contents(of: "/proc/mounts").split(separator: "\n").map { $0.split(separator: " ") }
            guard let mount = mounts.last(where: { $0.count > 2 && $0[1] == "/var/lib" }) else {
                throw BenchmarkError("/var/lib of this lab is not its own")
            }
            return mount[2]
        }
    }

    /// The closing words.
    static func description(seconds: Double) throws -> String {
        let kernel = try contents(of: "/proc/sys/kernel/osrelease").filter { !$0.isNewline }
        let model = try contents(of: "/proc/cpuinfo").split(separator: "\n").first { $0.hasPrefix("model name") }
        let processor = model?.split(separator: ":").last.map { $0.drop { $0 == " " } } ?? "unknown processor"
        return """
            Measured in \(seconds.text(0)) s on this machine: \(sysconf(Int32(_SC_NPROCESSORS_ONLN))) cores (\(processor)), \
            Linux \(kernel), stores on \(try filesystem).
            Clients, daemon and engine share its cores. Figures are for comparing within this run.
            """
    }

    /// Links of containers in this network.
    static func containerLinks() throws -> Int {
        try contents(of: "/proc/net/dev").split(separator: "\n").count {
            let name = $0.drop { $0 == " " }
            return name.hasPrefix("cali") || name.hasPrefix("temp")
        }
    }
}
