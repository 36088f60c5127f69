// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore
import Logging
import Synchronization
import Testing

@testable import calico_libnetwork

@Suite struct `An etcd that a domain names` {
    private static let member = EtcdSettings.Endpoint(usesTLS: false, host: "127.0.0.1", port: 1)

    @Test func `is looked up with each call until a member is found, and then spoken to`() async throws {
        let lookUps = Mutex(0)
        let store = DiscoveredEtcdStore(EtcdSettings(endpoints: []), lookUpInterval: .seconds(60)) {
            () async throws(StoreError) in
            let count = lookUps.withLock { count in
                count += 1
                return count
            }
            guard count > 2 else { throw .unavailable("no name server") }
            return [Self.member]
        } open: {
            #expect($0.endpoints == [Self.member])
            return EtcdStore($0, logger: Logger(label: "test"), callLimit: .seconds(5))
        }
        for _ in 1...2 {
            await #expect(throws: StoreError.unavailable("no name server")) { try await store.get(Key("/a")) }
        }
        // Nothing listens on port 1, and that is what the caller is told. A refusal is tried again until the time is up;
        // on a crowded machine it may be up before the first.
        var refusal: (any Error)?
        for _ in 1...3 where refusal.map({ "\($0)".contains("no answer") }) ?? true {
            refusal = await #expect(throws: StoreError.self) { try await store.get(Key("/a")) }
        }
        #expect("\(try #require(refusal))".contains("127.0.0.1:1: connection refused"))
        #expect(lookUps.withLock { $0 } == 3)
    }

    /// On an idle host watches alone notice.
    @Test(.timeLimit(.minutes(1))) func `is looked up anew where a watch finds no member`() async throws {
        let (opened, open) = AsyncStream.makeStream(of: [EtcdSettings.Endpoint].self)
        let moved = EtcdSettings.Endpoint(usesTLS: false, host: "127.0.0.1", port: 2)
        let lookUps = Mutex(0)
        let store = DiscoveredEtcdStore(EtcdSettings(endpoints: []), lookUpInterval: .milliseconds(100)) {
            () async throws(StoreError) in
            lookUps.withLock { count in
                count += 1
                return count > 3 ? [moved] : [Self.member]
            }
        } open: {
            open.yield($0.endpoints)
            return EtcdStore($0, logger: Logger(label: "test"))
        }
        // Ends, for whoever follows to begin anew on the members that are known then.
        for try await _ in store.changes(under: Key("/"), after: Revision(1)) {}
        open.finish()
        #expect(await opened.reduce(into: []) { $0.append($1) } == [[Self.member], [moved]])
    }

    @Test func `ends a watch with the reason where nobody names a member`() async throws {
        let store = DiscoveredEtcdStore(EtcdSettings(endpoints: [])) { () async throws(StoreError) in
            throw .unavailable("no name server")
        } open: {
            EtcdStore($0, logger: Logger(label: "test"))
        }
        await #expect(throws: StoreError.unavailable("no name server")) {
            for try await _ in store.changes(under: Key("/"), after: Revision(1)) {}
        }
    }
}
