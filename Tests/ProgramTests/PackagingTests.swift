// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import ArgumentParser
import Foundation
import Testing
import YAML

@testable import calico_libnetwork

@Suite struct `What is installed` {
    private func text(_ path: String) throws -> String {
        try String(contentsOf: repository.appending(path: "packaging/\(path)"), encoding: .utf8)
    }

    private func settings() throws -> [String] {
        try Configuration(environment: [:], readFile: { _ in nil }, hostName: "host-1").settings.map(\.name)
    }

    /// `pool`, `pool list`, …
    private func commands(below command: any ParsableCommand.Type = CalicoLibnetwork.self) -> [String] {
        command.configuration.subcommands.flatMap { child in
            [child._commandName] + commands(below: child).map { "\(child._commandName) \($0)" }
        }
    }

    @Test func `the man page names every command that does something, and every setting`() throws {
        // Without requests and fonts: 'pool show', not '.BI "pool show " NAME'.
        let page = try text("calico-libnetwork.8").replacing("\\-", with: "-").replacing("\"", with: "")
        let commands = commands()
        #expect(commands.contains("pool enable") && commands.contains("doctor"))
        for command in commands where !commands.contains(where: { $0.hasPrefix(command + " ") }) {
            #expect(page.contains(try Regex("\n\\.B[IR]? \(command)\\b")), "\(command)")
        }
        for setting in try settings() { #expect(page.contains(try Regex("\\b\(setting)\\b")), "\(setting)") }
    }

    @Test func `documents and refusals advise no command that does not exist`() throws {
        let commands = commands()
        let mention = try Regex("calico-libnetwork [a-z]+\\b( [a-z]+\\b)?")
        var count = 0
        for (file, text) in try advisingTexts() {
            for range in text.ranges(of: mention) {
                let words = text[range].split(separator: " ").dropFirst().map { String($0) }
                let isGroup = commands.contains { $0.hasPrefix(words[0] + " ") }
                // What follows `serve` and `doctor` is no command.
                let command = isGroup ? words.joined(separator: " ") : words[0]
                #expect(commands.contains(command), "\(file): \(command)")
                count += 1
            }
        }
        #expect(count > 20)
    }

    /// What tells users what to type, without the copyright's lines.
    private func advisingTexts() throws -> [(file: String, text: String)] {
        let folders = try ["docs", "examples", "packaging", "Sources"].flatMap { folder in
            try FileManager.default.subpathsOfDirectory(atPath: repository.appending(path: folder).path)
                .map { "\(folder)/\($0)" }
        }
        let files = (folders + ["README.md"]).filter { file in
            [".md", ".swift", ".yaml", ".8", ".service"].contains { file.hasSuffix($0) }
        }
        return try files.map { file in
            let text = try String(contentsOf: repository.appending(path: file), encoding: .utf8)
            return (file, text.replacing("the calico-libnetwork authors", with: ""))
        }
    }

    @Test func `the example of the settings sets nothing, and names every key with a value that can be used`() throws {
        let example = try text("libnetwork.yaml")
        let read = { (text: String) in
            try Configuration(
                environment: [:], readFile: { $0 == Configuration.path ? text : nil }, hostName: "host-1")
        }
        #expect(try read(example).settings.allSatisfy { ["default", "host name"].contains($0.origin) })
        let key = try Regex("^#\\w+: ")
        let lines = example.split(separator: "\n").filter { $0.contains(key) }.map { $0.dropFirst() }
        let whole = try SettingFile(lines.joined(separator: "\n"), path: "x")
        let known = try settings().filter { $0 != "CALICO_LIBNETWORK_CONFIG" }.map {
            $0.hasPrefix("etcd") ? $0 : SettingName($0).key
        }
        for key in known { #expect(whole[key] != nil, "\(key)") }
        try whole.refuseUnknownKeys(known)
        // Each by itself: some exclude each other. With SQLite no certificate has to be there.
        for line in lines { _ = try read("\(line)\n" + (line.hasPrefix("etcd") ? "datastoreType: sqlite" : "")) }
    }

    @Test func `make install puts everything where a host looks for it`() throws {
        let folder = try TemporaryFolder()
        let result = try BuiltProgram.execute(
            "/usr/bin/make",
            [
                "-C", repository.path, "install", "BINARY=\(BuiltProgram.path)", "DESTDIR=\(folder.path("root"))",
                "PREFIX=/opt/calico",
            ])
        #expect(result.status == 0, "\(result.output)\(result.errors)")
        let installed = { (file: String) in
            try String(contentsOfFile: folder.path("root/opt/calico/\(file)"), encoding: .utf8)
        }
        #expect(FileManager.default.isExecutableFile(atPath: folder.path("root/opt/calico/bin/calico-libnetwork")))
        #expect(
            try installed("lib/systemd/system/calico-libnetwork.service").contains(
                "=/opt/calico/bin/calico-libnetwork serve"))
        #expect(try installed("share/man/man8/calico-libnetwork.8").contains(".TH CALICO-LIBNETWORK 8"))
        #expect(try installed("share/doc/calico-libnetwork/libnetwork.yaml").contains("#vethMTU: "))
        for (file, words) in [
            ("bash-completion/completions/calico-libnetwork", "complete -"),
            ("zsh/site-functions/_calico-libnetwork", "#compdef calico-libnetwork"),
            ("fish/vendor_completions.d/calico-libnetwork.fish", "complete -c"),
        ] {
            #expect(try installed("share/\(file)").contains(words), "\(file)")
            #expect(try installed("share/\(file)").contains("node-selector"), "\(file)")
        }
    }

    @Test func `the service starts before Docker and is what systemd understands`() throws {
        let service = try text("calico-libnetwork.service")
        for line in ["Before=docker.service", "After=network-online.target", "Restart=always"] {
            #expect(service.contains("\n\(line)\n"))
        }
    }
}
