// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Foundation
import Testing

extension EtcdTests {
    @Suite struct `A watch on etcd` {
        private func write(_ store: EtcdStore, _ numbers: Range<Int>) async throws -> Revision {
            var last = Revision(0)
            for number in numbers {
                let outcome = try await store.commit(put("/t/\(number)", "\(number)"))
                last = try #require(outcome.revision)
            }
            return last
        }

        private func expectAll(_ count: Int, in changes: [Change]) {
            #expect(changes.map(\.key.path) == (0..<count).map { "/t/\($0)" })
            #expect(changes.map(\.revision) == changes.map(\.revision).sorted())
        }

        @Test func `goes on after a restart, without loss or repetition`() async throws {
            let cluster = try await EtcdCluster.start()
            let (store, writer) = (cluster.store(), cluster.store())
            let start = try await store.list(under: Key("/t/")).revision
            let stream = store.changes(under: Key("/t/"), after: start)
            async let changes = collect(stream, until: { $0.count >= 60 })
            _ = try await write(writer, 0..<20)
            cluster.members[0].kill()
            try await cluster.start(0)
            _ = try await write(writer, 20..<40)
            cluster.members[0].stop()
            try await cluster.start(0)
            _ = try await write(writer, 40..<60)
            expectAll(60, in: try await changes)
            await store.close()
            await writer.close()
        }

        @Test func `goes on when the leader dies, and when its member freezes`() async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            let leader = try await cluster.leader()
            let store = cluster.store { $0.endpoints.swapAt(0, leader) }
            let start = try await store.list(under: Key("/t/")).revision
            let stream = store.changes(under: Key("/t/"), after: start)
            async let changes = collect(stream, until: { $0.count >= 40 })
            let writer = cluster.store { $0.endpoints.swapAt(0, (leader + 1) % 3) }
            _ = try await write(writer, 0..<10)
            cluster.members[leader].kill()
            _ = try await write(writer, 10..<20)
            try await cluster.start(leader)
            try await cluster.awaitReady()
            // Wherever the watch is now, it moves on as each member in turn freezes.
            for (turn, member) in [(leader + 1) % 3, (leader + 2) % 3].enumerated() {
                let numbers = 20 + turn * 10..<30 + turn * 10
                cluster.members[member].freeze()
                let other = cluster.store(callLimit: .seconds(10)) { $0.endpoints.remove(at: member) }
                _ = try await write(other, numbers)
                try await Task.sleep(for: .milliseconds(2_000))
                cluster.members[member].thaw()
                await other.close()
            }
            expectAll(40, in: try await changes)
            await store.close()
            await writer.close()
        }

        @Test func `says when the history it needs is gone`() async throws {
            let cluster = try await EtcdCluster.start()
            let store = cluster.store()
            let start = try await store.list(under: Key("/t/")).revision
            let last = try await write(store, 0..<10)
            try await cluster.etcdctl("compact", "\(last)")
            await #expect(throws: StoreError.compacted) {
                for try await _ in store.changes(under: Key("/t/"), after: start) {}
            }
            await store.close()
        }

        /// Its only member dies, the others go on and compact what it has missed, and it comes back.
        @Test func `says when the history it needs was compacted during an interruption`() async throws {
            let cluster = try await EtcdCluster.start(members: 3)
            let store = cluster.store { $0.endpoints.removeLast(2) }
            let start = try await store.list(under: Key("/t/")).revision
            let writer = cluster.store(callLimit: .seconds(10)) { $0.endpoints.removeFirst() }
            var told = store.changes(under: Key("/t/"), after: start).makeAsyncIterator()
            _ = try await write(writer, 0..<1)
            #expect(try await told.next()?.map(\.key.path) == ["/t/0"])
            cluster.members[0].kill()
            let last = try await write(writer, 1..<10)
            try await cluster.etcdctl("compact", "\(last)")
            try await cluster.start(0)
            await #expect(throws: StoreError.compacted) { while try await told.next() != nil {} }
            await store.close()
            await writer.close()
        }

        /// As above, and what comes of it: nothing is missed, nothing told twice.
        @Test func `that lost history leaves a replica that holds what etcd holds, and told each change once`()
            async throws
        {
            let cluster = try await EtcdCluster.start(members: 3)
            let store = cluster.store { $0.endpoints.removeLast(2) }
            let writer = cluster.store(callLimit: .seconds(10)) { $0.endpoints.removeFirst() }
            _ = try await write(writer, 0..<5)
            let replica = Replica<Texts>(of: store, under: [Key("/t/")], logger: .silent)
            try await replica.load()
            let news = replica.news(under: Key("/t/"))
            let following = Task { await replica.follow() }
            let seen = try await write(writer, 5..<6)
            for _ in 0..<1_000 where replica.read({ $0.values[Key("/t/5")] }) == nil {
                try await Task.sleep(for: .milliseconds(10))
            }
            cluster.members[0].kill()
            _ = try await writer.commit(put("/t/5", "changed", since: seen))
            _ = try await writer.commit(Transaction(writes: [.delete(Key("/t/0"))]))
            let last = try await write(writer, 6..<7)
            try await cluster.etcdctl("compact", "\(last)")
            try await cluster.start(0)
            var expected = Texts()
            for entry in try await writer.list(under: Key("/t/")).entries { expected.apply(Change(entry)) }
            for _ in 0..<2_000 where replica.snapshot.values != expected.values {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(replica.snapshot.values == expected.values)
            following.cancel()
            await following.value
            // Ends the news before.
            _ = replica.news(under: Key("/t/"))
            let told = await news.reduce(into: []) { $0 += $1 }
            #expect(told.filter { $0.value == nil }.map(\.key.path) == ["/t/0"])
            #expect(told.first?.key.path == "/t/5")
            #expect(told.dropFirst().map(\.key.path).sorted() == ["/t/0", "/t/5", "/t/6"])
            await store.close()
            await writer.close()
        }

        @Test func `says when etcd was set up anew and is behind`() async throws {
            let cluster = try await EtcdCluster.start()
            let store = cluster.store()
            let last = try await store.list(under: Key("/t/")).revision
            await #expect(throws: StoreError.compacted) {
                for try await _ in store.changes(under: Key("/t/"), after: Revision(last.number + 1_000)) {}
            }
            await store.close()
        }

        @Test func `delivers a transaction's changes together`() async throws {
            let cluster = try await EtcdCluster.start()
            let store = cluster.store()
            let start = try await store.list(under: Key("/t/")).revision
            let stream = store.changes(under: Key("/t/"), after: start)
            for _ in 0..<20 {
                let writes = (0..<100).map { Transaction.Write.put(Key("/t/\($0)"), bytes: Data(count: 2_000)) }
                _ = try await store.commit(Transaction(writes: writes))
            }
            var revisions: [Revision] = []
            for try await batch in stream {
                for revision in Set(batch.map(\.revision)).sorted() {
                    #expect(batch.count { $0.revision == revision } == 100)
                    revisions.append(revision)
                }
                if revisions.count == 20 { break }
            }
            #expect(Set(revisions).count == 20)
            await store.close()
        }

        @Test func `ends with its consumer, and with its store`() async throws {
            let cluster = try await EtcdCluster.start()
            let store = cluster.store()
            let start = try await store.list(under: Key("/t/")).revision
            let consumer = Task { for try await _ in store.changes(under: Key("/t/"), after: start) {} }
            let other = Task { for try await _ in store.changes(under: Key("/t/"), after: start) {} }
            try await cluster.expectWatchers(2)
            consumer.cancel()
            try await consumer.value
            try await cluster.expectWatchers(1)
            await store.close()
            try await other.value
            try await cluster.expectWatchers(0)
        }
    }
}

extension EtcdCluster {
    /// What the member itself counts.
    fileprivate func expectWatchers(_ count: Int) async throws {
        let port = members[0].port
        var seen = ""
        for _ in 0..<50 {
            let text = try await inside { try NamespaceThread.run(["curl", "-s", "http://127.0.0.1:\(port)/metrics"]) }
            seen =
                text.split(separator: "\n").last { $0.hasPrefix("etcd_debugging_mvcc_watcher_total ") }
                .map { String($0.split(separator: " ")[1]) } ?? "none"
            if seen == "\(count)" { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("etcd has \(seen) watchers instead of \(count)")
    }
}

/// What a watch tells until it is enough, or for 30 s.
private func collect(
    _ stream: AsyncThrowingStream<[Change], any Error>, until isEnough: @escaping @Sendable ([Change]) -> Bool
) async throws -> [Change] {
    try await withThrowingTaskGroup(of: [Change]?.self) { group in
        group.addTask {
            var changes: [Change] = []
            for try await batch in stream {
                changes += batch
                if isEnough(changes) { break }
            }
            return changes
        }
        group.addTask {
            try await Task.sleep(for: .seconds(30))
            return nil
        }
        defer { group.cancelAll() }
        guard let changes = try await group.next() ?? nil else { throw TestFailure("the watch fell silent") }
        return changes
    }
}
