// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import Testing
import YAML

@testable import calico_libnetwork

@Suite struct `Commands on a datastore` {
    let folder: TemporaryFolder
    let file: String

    init() throws {
        folder = try TemporaryFolder()
        file = folder.path("calico.sqlite")
    }

    private func run(_ arguments: String..., output: String? = nil) throws -> BuiltProgram.Outcome {
        try BuiltProgram.run(arguments, on: file, output: output)
    }

    private func object(_ outcome: BuiltProgram.Outcome) throws -> JSONValue {
        #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
        return try JSONValue(yaml: outcome.output)
    }

    @Test(arguments: [
        ["pool", "list"], ["pool", "show", "blue"], ["pool", "enable", "blue"], ["pool", "delete", "blue"],
        ["ipam", "show"], ["network", "list"], ["endpoint", "list"], ["endpoint", "show", "x"],
    ])
    func `a mistyped path is no empty cluster`(_ arguments: [String]) throws {
        let outcome = try BuiltProgram.run(arguments, on: file)
        #expect(outcome.status == 1 && outcome.output.isEmpty)
        #expect(outcome.errors.hasPrefix("Error: there is no \(file); the daemon makes it when it starts, or "))
        #expect(!FileManager.default.fileExists(atPath: file))
    }

    @Test func `a full disk is no success`() throws {
        let outcome = try run("config", "show", output: "/dev/full")
        #expect(outcome.status == 1)
        #expect(outcome.errors == "Error: cannot write to standard output: No space left on device\n")
    }
}
