// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Datastore
import Foundation
import TestSupport
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

    @Test func `a pool is made, switched on and off, and deleted, and programs read each answer`() throws {
        let made = try object(run("pool", "create", "blue", "--cidr", "10.65.0.0/24", "--disabled", "-o", "json"))
        #expect(made["name"] == .string("blue") && made["disabled"] == .bool(true))
        #expect(try object(run("pool", "enable", "blue", "-o", "yaml"))["disabled"] == .bool(false))
        let shown = try object(run("pool", "show", "blue", "-o", "json"))
        #expect(shown["capacity"] == .string("256") && shown["inUse"] == .integer(0) && shown["free"] == .string("256"))
        for _ in 1...2 { #expect(try run("pool", "disable", "blue").output == "pool blue is disabled\n") }
        #expect(try run("pool", "list").output.contains("disabled"))
        #expect(
            try run("pool", "delete", "blue", "--dry-run").output == "would delete pool blue and its 0 empty blocks\n")
        #expect(try object(run("pool", "delete", "blue", "-o", "json"))["cidr"] == .string("10.65.0.0/24"))
        #expect(try run("pool", "enable", "blue").errors.contains("there is no pool blue; the pools are none"))
    }

    @Test func `a pool is stored so that Calico's Go clients can update it, and switching it keeps its uid`()
        async throws
    {
        var seen: [StoredResource.Metadata] = []
        let commands = [
            ["pool", "create", "blue", "--cidr", "10.65.0.0/24"], ["pool", "disable", "blue"],
            ["pool", "enable", "blue"],
        ]
        for command in commands {
            #expect(try BuiltProgram.run(command, on: file).status == 0)
            let entry = try await SQLiteStore(path: file).get(Key.resource(IPPoolSpec.self, name: "blue"))
            let pool = try StoredResource(#require(entry?.value))
            #expect(pool.isUpdatable && pool.kind == "IPPool", "\(pool)")
            seen.append(pool.metadata)
        }
        #expect(Set(seen.map(\.uid)).count == 1 && Set(seen.map(\.creationTimestamp)).count == 1)
    }

    @Test func `addresses in blocks that no pool holds are counted`() async throws {
        _ = try run("pool", "create", "blue", "--cidr", "10.65.0.0/24")
        #expect(try !run("ipam", "show").output.contains("orphaned"))
        var block = IPAMBlock(cidr: try #require(CIDR("10.66.0.0/30")), host: "host-1", now: .now)
        _ = block.assign(block.cidr.address, to: AllocationAttributes(handleID: "h", secondary: [:]))
        _ = try await SQLiteStore(path: file).commit(Transaction(writes: [.put(Key.block(block.cidr), block)]))
        let pools = try object(run("ipam", "show", "-o", "json"))["pools"]?.array ?? []
        #expect(pools.map { $0["name"]?.string } == ["blue", "orphaned allocation blocks"])
        #expect(pools.map { $0["inUse"] } == [0, 1] && pools.last?["free"] == "3")
    }

    @Test func `encapsulation is not promised`() throws {
        let words = "VXLAN is stored with the pool and not carried out yet"
        #expect(try run("pool", "create", "a", "--cidr", "10.1.0.0/16", "--vxlan", "always").output.contains(words))
        #expect(try !run("pool", "create", "b", "--cidr", "10.2.0.0/16").output.contains(words))
    }

    @Test(arguments: [
        ["pool", "create", "a", "--cidr", "10.0.0.0"], ["pool", "create", "a", "--cidr", "10.0.0.1/16"],
        ["pool", "create", "a", "--cidr", "10.0.0.0/16", "--vxlan", "some"],
        ["pool", "create", "a", "--cidr", "10.0.0.0/16", "--block-size", "33"],
        ["pool", "create", "a", "--cidr", "10.0.0.0/16", "--node-selector", "a ==="],
        ["pool", "create", "A_B", "--cidr", "10.0.0.0/16"], ["ipam", "show", "--ip", "nowhere"],
        ["pool", "list", "--nodename", "A_B"], ["pool", "list", "--log-level", "loud"], ["pool", "show"],
        ["pool", "lst"], ["help", "nosuch"],
    ])
    func `an argument that cannot be used is wrong usage`(_ arguments: [String]) throws {
        #expect(FileManager.default.createFile(atPath: file, contents: nil))
        let outcome = try BuiltProgram.run(arguments, on: file)
        #expect(outcome.status == 64 && outcome.errors.hasPrefix("Error: "), "\(outcome.status) \(outcome.errors)")
    }

    /// Were it to go on in spite of it, `serve` would end where it cannot make the folder of its sockets.
    @Test(arguments: [["config", "show"], ["doctor"], ["serve"]])
    func `an unusable etcd setting is named, and nothing is opened`(_ command: [String]) throws {
        #expect(FileManager.default.createFile(atPath: folder.path("occupied"), contents: nil))
        let surroundings = ["NODENAME": "host-1", "CALICO_LIBNETWORK_SOCKET_DIR": folder.path("occupied/sockets")]
        let words = #""10.0.0.1:2379" is no URL; write http://10.0.0.1:2379 or https://10.0.0.1:2379"#
        let byVariable = try BuiltProgram.run(
            command, on: file, environment: surroundings.merging(["ETCD_ENDPOINTS": "10.0.0.1:2379"]) { $1 })
        #expect(byVariable.status == 1 && byVariable.output.isEmpty)
        #expect(byVariable.errors.hasPrefix("Error: ETCD_ENDPOINTS: \(words)"), "\(byVariable.errors)")
        let byFlag = try BuiltProgram.run(
            command + ["--etcd-endpoints", "10.0.0.1:2379"], on: file, environment: surroundings)
        #expect(byFlag.status == 64 && byFlag.output.isEmpty)
        #expect(byFlag.errors.hasPrefix("Error: --etcd-endpoints: \(words)"), "\(byFlag.errors)")
        #expect(!FileManager.default.fileExists(atPath: file))
    }

    @Test func `a full disk is no success`() throws {
        let outcome = try run("config", "show", output: "/dev/full")
        #expect(outcome.status == 1)
        #expect(outcome.errors == "Error: cannot write to standard output: No space left on device\n")
    }

    @Test func `switching a pool keeps what we do not know, and proves that nobody else changed it`() throws {
        var state = ClusterState()
        let text =
            #"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"blue"},"#
            + #""spec":{"cidr":"10.65.0.0/16","disabled":true,"future":[1]}}"#
        let key = IPPool(metadata: .init(name: "blue"), spec: try IPPoolSpec(cidr: #require(CIDR("10.65.0.0/16")))).key
        state.apply(Change(key: key, value: Data(text.utf8), revision: Revision(7)))
        let transaction = try state.setting("blue", disabled: false)
        let written = try JSONDecoder().decode(IPPool.self, from: #require(transaction.writes.first?.value))
        #expect(!written.spec.disabled && written.spec.unknown["future"] == .array([.integer(1)]))
        #expect(transaction.preconditions == [.unchanged(key, since: Revision(7))])
        #expect(try state.setting("blue", disabled: true).writes.isEmpty)
    }
}
