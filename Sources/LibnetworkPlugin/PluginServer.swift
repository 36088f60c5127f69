// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Hummingbird
public import Logging
public import ServiceLifecycle

/// One plugin socket.
public enum PluginServer {
    /// A server on a unix socket, replacing a stale socket file. The file's mode is the umask's business: set it before
    /// this runs, so that there is no moment with another mode.
    ///
    /// Requests are read and answered on the executor that carries them out.
    public static func make(socket path: String, responder: PluginResponder, logger: Logger) -> some Service {
        var quiet = logger
        // Its own lines about start and stop say nothing that ours do not.
        quiet.logLevel = max(logger.logLevel, .warning)
        let server = Application(
            responder: responder, configuration: .init(address: .unixDomainSocket(path: path), serverName: nil),
            eventLoopGroupProvider: .shared(responder.executor.loop), logger: quiet)
        return Placed(service: server, executor: responder.executor)
    }
}

/// A service whose tasks prefer an executor.
private struct Placed<Base: Service>: Service {
    let service: Base
    let executor: EventLoopTaskExecutor

    func run() async throws {
        try await withTaskExecutorPreference(executor) { try await service.run() }
    }
}
