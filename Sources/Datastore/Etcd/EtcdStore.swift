// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

public import CalicoModel
import FoundationEssentials
public import Logging
public import NIOCore
public import NIOPosix

/// Calico's datastore in etcd v3: keys, values and revisions are etcd's own, shared with Calico's other programs.
///
/// Speaks gRPC itself, over one HTTP/2 connection to one member at a time. Calls are repeated, elsewhere if need be,
/// until they are answered or their time is up; watches go on for ever. Nothing is connected before the first call.
public final class EtcdStore: KeyValueStore {
    let client: EtcdClient
    private let eventLoop: any EventLoop

    /// Keys read by one call of a list.
    static let pageSize: Int64 = 1_000
    /// How long ``close()`` waits for goodbyes.
    static let closeLimit = TimeAmount.milliseconds(500)

    /// - Parameter callLimit: How long a call may take, over all its attempts; for a list, each page of 1,000 keys.
    public init(
        _ settings: EtcdSettings, eventLoopGroup: any EventLoopGroup = .singletonMultiThreadedEventLoopGroup,
        logger: Logger, callLimit: Duration = .seconds(3)
    ) {
        precondition(!settings.endpoints.isEmpty, "etcd settings without an endpoint")
        eventLoop = eventLoopGroup.next()
        let limit = TimeAmount.nanoseconds(Int64(callLimit / .nanoseconds(1)))
        client = EtcdClient(settings, on: eventLoop, limit: limit, logger: logger)
    }

    deinit { _ = client.endpoints.close() }

    /// Whether no member answers, although somebody waits for one.
    public var isLost: Bool { client.endpoints.isSearching }

    /// Ends watches and calls. Returns within half a second, whatever state the peer is in; further calls fail.
    public func close() async {
        guard let connection = client.endpoints.close() else { return }
        let over = eventLoop.makePromise(of: Void.self)
        connection.closed.cascade(to: over)
        let timer = eventLoop.scheduleTask(in: EtcdStore.closeLimit) { over.succeed(()) }
        try? await over.futureResult.get()
        timer.cancel()
    }

    public func get(_ key: Key) async throws(StoreError) -> Entry? {
        let answer: EtcdRangeResponse = try await client.read(.range, EtcdRangeRequest(key), about: key.path)
        client.saw(answer.header)
        return answer.kvs.first.flatMap(Entry.init)
    }

    /// Pages are read at the first one's revision. Where that is compacted meanwhile, the list begins anew.
    public func list(under prefix: Key) async throws(StoreError) -> Snapshot {
        for _ in 0..<3 {
            do throws(StoreError) { return try await pages(under: prefix) } catch {
                guard case .compacted = error else { throw error }
            }
        }
        throw .unavailable("etcd compacts its history faster than \(prefix) can be listed")
    }

    private func pages(under prefix: Key) async throws(StoreError) -> Snapshot {
        var entries: [Entry] = []
        var request = EtcdRangeRequest(prefix)
        if request.key.isEmpty { request.key = Data([0]) }
        request.rangeEnd = prefix.endOfRange
        request.limit = EtcdStore.pageSize
        while true {
            let answer: EtcdRangeResponse = try await client.read(.range, request, about: prefix.path)
            client.saw(answer.header)
            entries += answer.kvs.compactMap(Entry.init)
            if request.revision == 0 { request.revision = answer.header.revision }
            guard answer.more, let last = answer.kvs.last else {
                return Snapshot(entries: entries, revision: Revision(request.revision))
            }
            request.key = last.key + [0]
        }
    }

    public func commit(_ transaction: Transaction) async throws(StoreError) -> CommitOutcome {
        try await client.commit(transaction)
    }

    public func changes(under prefix: Key, after revision: Revision) -> AsyncThrowingStream<[Change], any Error> {
        AsyncThrowingStream { [client] continuation in
            let watch = Task {
                var watch = EtcdWatch(client, under: prefix, after: revision)
                await watch.run(continuation)
            }
            continuation.onTermination = { _ in watch.cancel() }
        }
    }
}
