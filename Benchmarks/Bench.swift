// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc

/// Measures the daemon in a lab (see `scripts/bench`) and prints tables.
@main
struct Bench {
    static func main() async {
        do {
            let plan = try Plan(CommandLine.arguments)
            try await Bench(plan: plan).run()
        } catch {
            progress("\(error)")
            exit(1)
        }
    }

    let plan: Plan

    func run() async throws {
        let began = ContinuousClock.now
        try Lab.require()
        mkdir(plan.folder, 0o700)
        print("calico-libnetwork, measured\(plan.isQuick ? " (quick: a smoke test, the figures mean little)" : "")\n")
        for part in plan.parts { try await print(part) }
        print(try Lab.description(seconds: began.duration(to: .now) / .seconds(1)))
    }

    private func print(_ part: Plan.Part) async throws {
        switch part {
        case .requests:
            for kind in StoreKind.allCases { print(try await Requests(plan: plan, kind: kind).measure().text) }
        case .throughput:
            for kind in StoreKind.allCases {
                for table in try await Throughput(plan: plan, kind: kind).measure() { print(table.text) }
            }
        case .containers: print(try ContainerStarts(plan: plan).measure().text)
        case .memory: print(try await Memory(plan: plan).measure().text)
        case .starts: print(try DaemonStarts(plan: plan).measure().text)
        }
    }

    private func print(_ text: String) { Swift.print(text) }
}

/// How much is measured.
struct Plan {
    /// What can be measured by itself, in the order in which all of it is.
    enum Part: String, CaseIterable {
        case requests, throughput, containers, memory, starts
    }

    let program: String
    let isQuick: Bool
    let parts: [Part]
    /// For stores and logs; must be on a disk.
    let folder = "/var/lib/bench"

    init(_ arguments: [String]) throws {
        let words = arguments.dropFirst().filter { $0 != "--quick" && Part(rawValue: $0) == nil }
        guard words.count == 1, let program = words.first, !program.hasPrefix("-") else {
            let parts = Part.allCases.map(\.rawValue).joined(separator: "|")
            throw BenchmarkError(
                "usage: calico-libnetwork-bench [--quick] [\(parts)]… PROGRAM; scripts/bench runs it in a lab")
        }
        self.program = program
        isQuick = arguments.contains("--quick")
        let chosen = arguments.compactMap(Part.init)
        parts = chosen.isEmpty ? Part.allCases : chosen
    }

    var rounds: Int { isQuick ? 10 : 300 }
    var seconds: Double { isQuick ? 0.3 : 3 }
    var clients: [Int] { isQuick ? [1, 32] : [1, 8, 32, 128] }
    var containers: Int { isQuick ? 2 : 15 }
    var allocations: Int { isQuick ? 100 : 1000 }
    var starts: Int { isQuick ? 2 : 10 }
}
