// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import DNS
import TestSupport
import Testing

@Suite struct `Looking up service records` {
    private func lookUp(
        _ reply: @escaping @Sendable (String) -> NameServer.Reply, limit: Duration = .seconds(20)
    ) async throws -> [ServiceRecord] {
        let server = try NameServer(reply)
        defer { server.stop() }
        let resolver = Resolver(server: .init(address: 0x7f00_0001, port: server.port), limit: limit)
        let records = try await resolver.serviceRecords(of: "_etcd-client._tcp.example.org")
        #expect(server.names == ["_etcd-client._tcp.example.org"])
        return records
    }

    @Test func `yields what the name server says`() async throws {
        let records = try await lookUp { _ in
            .records([NameServer.srv(10, 5, 2379, "etcd-1.example.org"), NameServer.srv(0, 65_535, 65_535, "b")])
        }
        #expect(
            records == [
                .init(priority: 10, weight: 5, port: 2379, target: "etcd-1.example.org"),
                .init(priority: 0, weight: 65_535, port: 65_535, target: "b"),
            ])
    }

    @Test func `passes over an alias before the records`() async throws {
        let records = try await lookUp { _ in
            .records([NameServer.alias("x.example.org"), NameServer.srv(0, 0, 1, "")])
        }
        #expect(records == [.init(priority: 0, weight: 0, port: 1, target: "")])
    }

    @Test(arguments: [true, false])
    func `finds none where there is no such name, or it has no such records`(_ exists: Bool) async throws {
        #expect(try await lookUp { _ in exists ? .records([]) : .failure(3) }.isEmpty)
    }

    @Test func `fails where the name server cannot answer`() async {
        await #expect {
            _ = try await lookUp { _ in .failure(2) }
        } throws: {
            "\($0)" == "cannot look up _etcd-client._tcp.example.org: Host name lookup failure"
        }
    }

    @Test(arguments: [[], [0, 0, 0, 0, 0], [0, 0, 0, 0, 9, 75, 63, 65]] as [[UInt8]])
    func `fails where a record is broken`(_ data: [UInt8]) async {
        await #expect {
            _ = try await lookUp { _ in .records([NameServer.record(33, data)]) }
        } throws: {
            "\($0)".hasSuffix("the name server's answer cannot be understood")
        }
    }

    @Test func `fails where the answer ends early`() async {
        await #expect(throws: ResolverError.self) { try await lookUp { _ in .garbage } }
    }

    @Test func `ends in time where nobody answers`() async throws {
        await #expect {
            _ = try await lookUp({ _ in .silence }, limit: .milliseconds(300))
        } throws: {
            "\($0)".contains("no name server answered within 0.3 seconds")
        }
    }
}

@Suite struct `The order of service records` {
    private struct Sequence: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state
        }
    }

    private func record(_ priority: Int, _ weight: Int, _ target: String) -> ServiceRecord {
        .init(priority: priority, weight: weight, port: 1, target: target)
    }

    @Test func `is by priority first, and loses none`() {
        var random = Sequence(state: 1)
        let records = [record(2, 900, "c"), record(1, 0, "b"), record(0, 1, "a"), record(2, 0, "d")]
        for _ in 0..<50 {
            let ordered = ServiceRecord.order(records, using: &random)
            #expect(ordered.prefix(2).map(\.target) == ["a", "b"])
            #expect(Set(ordered) == Set(records))
        }
        #expect(ServiceRecord.order([], using: &random).isEmpty)
    }

    @Test func `within a priority follows the weights`() {
        var random = Sequence(state: 2)
        let records = [record(0, 10, "seldom"), record(0, 90, "often"), record(0, 0, "hardly")]
        let first = (0..<2_000).map { _ in ServiceRecord.order(records, using: &random)[0].target }
        let count = { (target: String) in first.count { $0 == target } }
        #expect((1_650...1_850).contains(count("often")))
        #expect((130...300).contains(count("seldom")))
        #expect((1...60).contains(count("hardly")))
    }
}
