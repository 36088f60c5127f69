// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import ArgumentParser

@main
struct CalicoLibnetwork: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "calico-libnetwork",
        abstract: "Calico networking for plain Docker hosts: network driver calico, IPAM driver calico-ipam.",
        discussion: """
            Start the daemon, then give Docker a network:

              calico-libnetwork serve &
              docker network create -d calico --ipam-driver calico-ipam web
              docker run --rm --network web busybox ip address

            Settings come from flags, the environment, \(Configuration.path), then defaults; 'config show' lists them.
            Exit status: 0 done, 1 failed, 64 wrong usage.
            """,
        version: Version.text,
        subcommands: [
            Serve.self, PoolCommand.self, IPAMCommand.self, NetworkCommand.self, EndpointCommand.self,
            ConfigCommand.self, DoctorCommand.self,
        ],
        defaultSubcommand: Serve.self)

    /// `-v` has always printed the version (the Go plugin's flag); the parser knows only the long form.
    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if let problem = UnknownCommand.problem(in: arguments, below: Self.self) {
            exit(withError: ValidationError(problem))
        }
        await main(arguments == ["-v"] ? ["--version"] : arguments)
    }
}
