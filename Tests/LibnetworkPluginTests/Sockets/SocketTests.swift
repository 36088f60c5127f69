// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import LibnetworkPlugin

@Suite struct `A plugin socket` {
    /// As engines up to 20.10.25 send it: an empty Host, no Content-Type, keep-alive.
    private static func request(_ method: String, _ body: String = "") -> String {
        "POST /\(method) HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: \(body.utf8.count)\r\n"
            + "Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n\(body)"
    }

    private func serving(
        _ plugin: Plugin, limit: Duration = .seconds(10), _ body: @escaping @Sendable (String) async throws -> Void
    ) async throws {
        try await withTemporaryFolder { folder in
            let path = folder + "/calico.sock"
            try await serve(plugin, at: path, limit: limit) { try await body(path) }
        }
    }

    private func serve(
        _ plugin: Plugin, at path: String, limit: Duration = .seconds(10),
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let responder = PluginResponder(
            routes: .networkDriver(plugin.network), gate: plugin.gate, limit: limit, on: EventLoopTaskExecutor(),
            logger: .silent)
        try await serve(PluginServer(socket: path, responder: responder), at: path, body)
    }

    private func serve(
        _ server: some Service, at path: String, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await ServiceGroup(services: [server], logger: .silent).run() }
            try await eventually { (try? UnixSocket.connect(path)) != nil }
            try await body()
            group.cancelAll()
            // Cancelled, as asked.
            while (try? await group.next()) != nil {}
        }
    }

    /// Each change of threads would cost a request a tenth of its time.
    @Test func `a request is carried out on the thread that reads it`() async throws {
        let executor = EventLoopTaskExecutor()
        let handler = PluginRoutes.Handler(needsState: true) { _ in
            await Task.yield()
            return .init(body: Data("\(executor.loop.inEventLoop)".utf8), facts: [:])
        }
        let gate = Gate()
        await gate.open()
        try await withTemporaryFolder { folder in
            let path = folder + "/calico.sock"
            let responder = PluginResponder(
                routes: PluginRoutes(handlers: ["/Plugin.Where": handler]), gate: gate, limit: .seconds(5),
                on: executor,
                logger: .silent)
            try await serve(PluginServer(socket: path, responder: responder), at: path) {
                try await onThread {
                    let socket = try UnixSocket.connect(path)
                    try socket.write(Self.request("Plugin.Where", "{}"))
                    #expect(try socket.readReply().text == "true")
                }
            }
        }
    }

    @Test func `3: one connection serves request after request, an empty Host included`() async throws {
        try await serving(try await Plugin.fresh()) { path in
            try await onThread {
                let socket = try UnixSocket.connect(path)
                try socket.write(Self.request("Plugin.Activate"))
                #expect(try socket.readReply().text == #"{"Implements":["NetworkDriver"]}"#)
                try socket.write(Self.request("NetworkDriver.CreateNetwork", Sample.create() + "\n"))
                #expect(try socket.readReply().json == .object([:]))
            }
        }
    }

    /// Engines keep connections for later, and repeat a request whose connection broke without its arguments.
    @Test(.timeLimit(.minutes(2))) func `5: a connection that was idle for a minute still serves`() async throws {
        try await serving(try await Plugin.fresh()) { path in
            try await onThread {
                let socket = try UnixSocket.connect(path)
                for pause in [0.0, 61] {
                    Thread.sleep(forTimeInterval: pause)
                    try socket.write(Self.request("NetworkDriver.EndpointOperInfo", Sample.ids))
                    #expect(try socket.readReply().text == #"{"Value":{}}"#)
                }
            }
        }
    }

    @Test func `14: a chunked body is read whole`() async throws {
        let plugin = try await Plugin.fresh()
        try await serving(plugin) { path in
            try await onThread {
                let socket = try UnixSocket.connect(path)
                let body = Sample.create()
                let (one, two) = (body.prefix(40), body.dropFirst(40))
                try socket.write(
                    "POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                for part in [one, two] { try socket.write("\(String(part.utf8.count, radix: 16))\r\n\(part)\r\n") }
                try socket.write("0\r\n\r\n")
                #expect(try socket.readReply().status == 200)
            }
            #expect(plugin.record(Sample.network) != nil)
        }
    }

    @Test func `15: a connection stays usable after a request that took too long`() async throws {
        let plugin = try await Plugin.fresh()
        try await serving(plugin, limit: .seconds(4)) { path in
            try await onThread {
                let socket = try UnixSocket.connect(path)
                plugin.faults.hang()
                try socket.write(Self.request("NetworkDriver.CreateNetwork", Sample.create()))
                #expect(try socket.readReply().refusal?.contains("took longer than") == true)
                plugin.faults.hang(false)
                try socket.write(Self.request("NetworkDriver.CreateNetwork", Sample.create(Sample.other)))
                #expect(try socket.readReply().status == 200)
            }
        }
    }

    @Test func `4: two connections with 25 requests each get their own answers`() async throws {
        try await serving(try await Plugin.fresh()) { path in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for connection in 0..<2 {
                    group.addTask {
                        try await onThread {
                            let socket = try UnixSocket.connect(path)
                            for number in 0..<25 {
                                let body = #"{"NetworkID":"n","Options":{"a":"\#(connection)-\#(number)"}}"#
                                try socket.write(Self.request("NetworkDriver.AllocateNetwork", body))
                                #expect(try socket.readReply()["Options"]?["a"]?.string == "\(connection)-\(number)")
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `a body over 4 MiB is refused`() async throws {
        try await serving(try await Plugin.fresh()) { path in
            try await onThread {
                let socket = try UnixSocket.connect(path)
                let body = #"{"NetworkID":""# + String(repeating: "a", count: 4 << 20) + #""}"#
                try? socket.write(Self.request("NetworkDriver.DeleteNetwork", body))
                let reply = try socket.readReply()
                #expect(reply.status == 413 && reply.refusal?.contains("larger than 4 MiB") == true, "\(reply)")
            }
        }
    }

    @Test func `requests that come at once are answered in turn`() async throws {
        try await serving(try await Plugin.fresh()) { path in
            try await onThread {
                let socket = try UnixSocket.connect(path)
                let numbers = 0..<5
                let requests = numbers.map {
                    Self.request("NetworkDriver.AllocateNetwork", #"{"NetworkID":"n","Options":{"a":"\#($0)"}}"#)
                }
                try socket.write(requests.joined())
                let text = try socket.read {
                    $0.components(separatedBy: "HTTP/1.1 200").count > 5 && $0.hasSuffix("}}")
                }
                let answers = text.split(separator: "\r\n").filter { $0.hasPrefix("{") }
                #expect(answers.map { $0.prefix(21) } == numbers.map { #"{"Options":{"a":"\#($0)"}}"# })
            }
        }
    }

    /// As netcat does at the end of its input.
    @Test(arguments: ["", "Connection: close\r\n"])
    func `a client that will ask no more is answered, and its connection ends`(header: String) async throws {
        try await serving(try await Plugin.fresh()) { path in
            try await onThread {
                let socket = try UnixSocket.connect(path)
                try socket.write("POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\n\(header)Content-Length: 0\r\n\r\n")
                if header.isEmpty { socket.finishWriting() }
                let text = try socket.read { _ in false }
                #expect(
                    text.hasPrefix("HTTP/1.1 200") && text.hasSuffix(#"{"Implements":["NetworkDriver"]}"#), "\(text)")
            }
        }
    }

    @Test func `what is no HTTP is refused, and its connection ends`() async throws {
        try await serving(try await Plugin.fresh()) { path in
            try await onThread {
                let socket = try UnixSocket.connect(path)
                try socket.write("docker, are you there?\r\n\r\n")
                let text = try socket.read { _ in false }
                #expect(text.hasPrefix("HTTP/1.1 400") && text.contains("this is no HTTP"), "\(text)")
            }
        }
    }

    @Test(arguments: ["", "no HTTP\r\n\r\n", "POST /Plugin.Activate HT"])
    func `what follows a request does not cost it its answer`(rest: String) async throws {
        let plugin = try await Plugin.fresh()
        try await serving(plugin) { path in
            plugin.faults.hang()
            async let text = onThread {
                let socket = try UnixSocket.connect(path)
                try socket.write(Self.request("NetworkDriver.CreateNetwork", Sample.create()))
                while plugin.faults.held == 0 { Thread.sleep(forTimeInterval: 0.005) }
                try socket.write(rest)
                socket.finishWriting()
                Thread.sleep(forTimeInterval: 0.05)
                plugin.faults.hang(false)
                return try socket.read { _ in false }
            }
            let answer = try await text
            #expect(answer.hasPrefix("HTTP/1.1 200"), "\(answer)")
        }
    }

    @Test func `a request whose client is gone is carried out before the process ends`() async throws {
        let plugin = try await Plugin.fresh()
        try await ending(plugin, grace: .seconds(60)) { path in
            plugin.faults.hang()
            let socket = try UnixSocket.connect(path)
            try socket.write(Self.request("NetworkDriver.CreateNetwork", Sample.create()))
            while plugin.faults.held == 0 { Thread.sleep(forTimeInterval: 0.005) }
        } meanwhile: {
            try await Task.sleep(for: .milliseconds(100))
            #expect(plugin.record(Sample.network) == nil)
            plugin.faults.hang(false)
        }
        #expect(plugin.record(Sample.network) != nil)
    }

    @Test func `a request that never comes whole holds nobody up`() async throws {
        let kept = Mutex<UnixSocket?>(nil)
        let start = ContinuousClock.now
        try await ending(try await Plugin.fresh(), grace: .milliseconds(100)) { path in
            let socket = try UnixSocket.connect(path)
            try socket.post("Plugin.Activate", "")
            _ = try socket.readReply()
            try socket.write("POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            kept.withLock { $0 = socket }
            Thread.sleep(forTimeInterval: 0.05)
        }
        #expect(kept.withLock { $0 } != nil && start.duration(to: .now) < .seconds(30))
    }

    /// Serves, and is told to stop after `before`; returns once the server has ended.
    private func ending(
        _ plugin: Plugin, grace: Duration, after before: @escaping @Sendable (String) throws -> Void,
        meanwhile: @Sendable () async throws -> Void = {}
    ) async throws {
        try await withTemporaryFolder { folder in
            let path = folder + "/calico.sock"
            let responder = PluginResponder(
                routes: .networkDriver(plugin.network), gate: plugin.gate, limit: .seconds(60),
                on: EventLoopTaskExecutor(), logger: .silent)
            let server = PluginServer(socket: path, responder: responder, grace: grace)
            let group = ServiceGroup(services: [server], logger: .silent)
            async let end: Void = group.run()
            try await eventually { (try? UnixSocket.connect(path)) != nil }
            try await onThread { try before(path) }
            await group.triggerGracefulShutdown()
            try await meanwhile()
            try await end
        }
    }

    @Test func `a socket that cannot be is named`() async throws {
        let plugin = try await Plugin.fresh()
        let responder = PluginResponder(
            routes: .networkDriver(plugin.network), gate: plugin.gate, limit: .seconds(1), on: EventLoopTaskExecutor(),
            logger: .silent)
        let error = await #expect(throws: PluginError.self) {
            try await PluginServer(socket: "/nowhere/calico.sock", responder: responder).run()
        }
        #expect(error?.description.hasPrefix("cannot listen on /nowhere/calico.sock: ") == true)
    }

    @Test func `98: a stale socket file is replaced, and the socket is removed at the end`() async throws {
        let plugin = try await Plugin.fresh()
        try await withTemporaryFolder { folder in
            let path = folder + "/calico.sock"
            _ = try UnixSocket.listen(path)
            #expect(FileManager.default.fileExists(atPath: path))
            try await serve(plugin, at: path) {
                try await onThread {
                    let socket = try UnixSocket.connect(path)
                    try socket.write(Self.request("Plugin.Activate"))
                    #expect(try socket.readReply().status == 200)
                }
            }
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    private enum Obstacle { case none, datastore, gate }

    @Test(arguments: [(Obstacle.none, nil), (.datastore, "is stopping"), (.gate, "is stopping")])
    private func `whoever has asked is answered when the process is told to stop`(obstacle: Obstacle, refusal: String?)
        async throws
    {
        let plugin = try await Plugin.fresh()
        try await withTemporaryFolder { folder in
            let path = folder + "/calico.sock"
            let gate = obstacle == .gate ? Gate() : plugin.gate
            let responder = PluginResponder(
                routes: .networkDriver(plugin.network), gate: gate, limit: .seconds(60), on: EventLoopTaskExecutor(),
                logger: .silent)
            let grace = Duration.seconds(obstacle == .datastore ? 1 : 60)
            let group = ServiceGroup(
                services: [PluginServer(socket: path, responder: responder, grace: grace)], logger: .silent)
            async let end: Void = group.run()
            try await eventually { (try? UnixSocket.connect(path)) != nil }
            plugin.faults.hang()
            async let reply = onThread {
                let socket = try UnixSocket.connect(path)
                try socket.write(Self.request("NetworkDriver.CreateNetwork", Sample.create()))
                return try socket.readReply()
            }
            try await eventually { await !gate.waiting.isEmpty || plugin.faults.held > 0 }
            await group.triggerGracefulShutdown()
            if obstacle == .none { plugin.faults.hang(false) }
            let answer = try await reply
            #expect(answer.status == (refusal == nil ? 200 : 500))
            if let refusal { #expect(answer.refusal?.contains(refusal) == true, "\(answer)") }
            plugin.faults.hang(false)
            try await end
        }
    }

    @Test func `requests wait for the daemon's state, capabilities do not`() async throws {
        let plugin = try await Plugin.fresh()
        let gate = Gate()
        let status = { (method: String, body: String, limit: Duration) in
            let responder = PluginResponder(
                routes: .networkDriver(plugin.network), gate: gate, limit: limit, on: .init(), logger: .silent)
            let request = PluginRequest(verb: "POST", path: "/" + method, body: Data(body.utf8))
            return await responder.respond(to: request).status
        }
        #expect(await status("NetworkDriver.GetCapabilities", "", .seconds(60)) == 200)
        #expect(await status("NetworkDriver.DeleteNetwork", Sample.networkID, .milliseconds(300)) == 500)
        async let answer = status("NetworkDriver.DeleteNetwork", Sample.networkID, .seconds(60))
        try await eventually { await !gate.waiting.isEmpty }
        await gate.open()
        #expect(await answer == 200)
    }
}
