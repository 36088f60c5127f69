// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import ArgumentParser
import LibnetworkPlugin

/// Commands that do not exist. The parser takes their names for arguments of the default command instead.
enum UnknownCommand {
    /// What to say of `arguments`; `nil` where their first words are commands below `root`.
    static func problem(in arguments: [String], below root: any ParsableCommand.Type) -> String? {
        var command = root
        var path = root._commandName
        for word in arguments {
            let children = command.configuration.subcommands
            guard !children.isEmpty, !word.hasPrefix("-") else { return nil }
            // The parser's own command, which names another.
            if word == "help", command == root { continue }
            guard let child = children.first(where: { $0._commandName == word }) else {
                return sentence(word, path, children.map { $0._commandName })
            }
            command = child
            path += " " + word
        }
        return nil
    }

    private static func sentence(_ word: String, _ path: String, _ names: [String]) -> String {
        let nearest = Nearest.word(to: word, in: names).map { "do you mean '\(path) \($0)'?" }
        return "unknown command '\(word)'; "
            + (nearest ?? "'\(path)' knows \(names.joined(separator: ", ")); see '\(path) --help'")
    }
}
