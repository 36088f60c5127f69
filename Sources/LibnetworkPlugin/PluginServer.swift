// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import Hummingbird
public import Logging

/// One plugin socket.
public enum PluginServer {
    /// A server on a unix socket, replacing a stale socket file. The file's mode is the umask's business: set it before
    /// this runs, so that there is no moment with another mode.
    public static func make(
        socket path: String, responder: PluginResponder, logger: Logger
    ) -> some ApplicationProtocol {
        var quiet = logger
        // Its own lines about start and stop say nothing that ours do not.
        quiet.logLevel = max(logger.logLevel, .warning)
        return Application(
            responder: responder, configuration: .init(address: .unixDomainSocket(path: path), serverName: nil),
            logger: quiet)
    }
}
