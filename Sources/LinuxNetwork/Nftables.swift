// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CNftables
import Glibc

/// Commands to nftables through libnftables, in the network namespace of the thread that made this object.
///
/// Text in nft's language, as `nft -f` takes it. Names that come from outside go through ``NftIdentifier`` or
/// ``InterfaceName`` first. Some words of the language (`fwd`, `dup`, `log` …) cannot be names of chains or sets even
/// though they are legal identifiers: a prefix of one's own avoids them all.
///
/// Not thread-safe: one actor or thread owns it.
public final class Nftables {
    private let context: OpaquePointer
    private let commandFile: CommandFile

    /// Output flags, `enum` of `<nftables/libnftables.h>`
    private enum Output {
        static let handle: UInt32 = 1 << 3
        static let json: UInt32 = 1 << 4
        /// Protocols and priorities as numbers: no look-up in /etc/protocols, no names that vary with the version.
        static let numeric: UInt32 = 1 << 7 | 1 << 8
        static let terse: UInt32 = 1 << 11
    }

    /// - Throws: ``NftablesError`` if the library cannot open its netlink socket or there is no memory.
    public init() throws {
        commandFile = try CommandFile()
        guard let context = nft_ctx_new(UInt32(NFT_CTX_DEFAULT)) else {
            throw NftablesError(messages: [.init(text: "libnftables could not be set up")])
        }
        self.context = context
        // Without buffers of its own the library writes to this process's standard output and standard error.
        guard nft_ctx_buffer_output(context) == 0, nft_ctx_buffer_error(context) == 0 else {
            nft_ctx_free(context)
            throw NftablesError(messages: [.init(text: "libnftables could not buffer its output")])
        }
    }

    deinit { nft_ctx_free(context) }

    /// `nft -f -`: all commands in one transaction; if one fails, none has happened.
    /// - Throws: ``NftablesError``
    public func run(_ commands: String) throws {
        _ = try execute(commands, flags: 0)
    }

    /// `nft -j -a COMMAND`, e.g. `list table inet x`.
    /// - Parameter elements: whether sets and maps come with their elements; large ones are slow without need.
    /// - Returns: JSON, schema libnftables-json(5).
    /// - Throws: ``NftablesError``; ``NftablesError/isAbsent`` tells that what was asked for does not exist.
    public func query(_ command: String, elements: Bool = true) throws -> String {
        try execute(command, flags: Output.json | Output.handle | Output.numeric | (elements ? 0 : Output.terse))
    }

    /// `nft -c -f -`: parses and checks against the kernel, changes nothing.
    /// - Throws: ``NftablesError``
    public func check(_ commands: String) throws {
        nft_ctx_set_dry_run(context, true)
        defer { nft_ctx_set_dry_run(context, false) }
        _ = try execute(commands, flags: 0)
    }

    private func execute(_ commands: String, flags: UInt32) throws -> String {
        try commandFile.replace(with: commands)
        nft_ctx_output_set_flags(context, flags)
        let status = nft_run_cmd_from_filename(context, commandFile.path)
        // Reading rewinds a buffer, so both are read each time, or the next answer would carry this one's.
        let output = String(cString: nft_ctx_get_output_buffer(context))
        let errors = String(cString: nft_ctx_get_error_buffer(context))
        guard status == 0 else { throw NftablesError(report: errors, commands: commands) }
        return output
    }
}

/// Commands in a file in memory. From a file and not from a buffer, because only then do libnftables' complaints name
/// the line (1.0.6: for a buffer it quotes the first line, whichever is at fault).
private final class CommandFile {
    private let descriptor: Int32
    var path: String { "/proc/self/fd/\(descriptor)" }

    init() throws {
        descriptor = cnftables_memory_file("nft-commands")
        guard descriptor >= 0 else { throw Self.error("create") }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func replace(with commands: String) throws {
        guard ftruncate(descriptor, 0) == 0 else { throw Self.error("empty") }
        var commands = commands
        try commands.withUTF8 { bytes in
            var written = 0
            while written < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[written...])
                let count = retryingInterrupts { pwrite(descriptor, rest.baseAddress, rest.count, off_t(written)) }
                guard count > 0 else { throw Self.error("fill") }
                written += count
            }
        }
    }

    private static func error(_ action: String) -> NftablesError {
        NftablesError(messages: [.init(text: "cannot \(action) the command file: \(describe(errno: errno))")])
    }
}
