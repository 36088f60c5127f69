// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Foundation
import LinuxNetwork
import Logging
import Testing

/// With a stand-in for Felix (`Tests/FelixStandIn`), since the real one cannot be had as a package: a process of its
/// name that programs the kernel as it does.
@Suite(.serialized) struct `Beside Felix, the Linux dataplane` {
    private static let base = `The Linux dataplane`.base
    private static let (one, two) = (
        `The Linux dataplane`.endpoint("b1aaaaaaaaaa", 2, "blue"),
        `The Linux dataplane`.endpoint("b2aaaaaaaaaa", 3, "blue")
    )

    @Test func `makes interfaces and nothing else where the setting says so`() async throws {
        let lab = try Lab()
        defer { lab.end() }
        let dataplane = lab.dataplane(choice: .felix)
        try await dataplane.start(Self.base)
        #expect(try await connect(dataplane, Self.one).master == .felix)
        let link = try lab.host.run("ip -d link show calib1aaaaaaaaa")
        #expect(link.contains("ee:ee:ee:ee:ee:ee") && link.contains("state LOWERLAYERDOWN"))
        #expect(try lab.host.run("ip link show tempb1aaaaaaaaa").contains("02:00:00:00:00:02"))
        #expect(try lab.host.run("ip -6 addr show dev calib1aaaaaaaaa").contains("fe80::1/64"), "the next hop")
        #expect(try !lab.host.run("ip route; ip -6 route; ip neigh").contains(/10.65.0.2|fd00:65::2/))
        #expect(try lab.setting("conf/calib1aaaaaaaaa/proxy_arp") == "0")
        #expect(try lab.setting("ip_forward") == "0")
        let table = try lab.host.run("nft list table inet calico-libnetwork")
        #expect(table.contains("chain publish-incoming") && !table.contains("drop") && !table.contains("forward"))
        // Felix takes routes with Calico's protocol number for its own.
        #expect(try lab.host.run("ip route show 169.254.1.0/24").contains("proto static"))
        try await dataplane.disconnect(interfaceName: Self.one.spec.interfaceName)
        await dataplane.stop()
        #expect(try !lab.host.run("ip link").contains("calib1"))
    }

    @Test(arguments: [(0, "nft"), (1024, "nft"), (0, "legacy")])
    func `hands over to Felix and takes over again, and no connection notices`(metric: Int, iptables: String)
        async throws
    {
        let lab = try Lab()
        try lab.host.run("iptables-\(iptables) -P FORWARD DROP; ip6tables-\(iptables) -P FORWARD DROP")
        let dataplane = lab.dataplane(choice: .auto, circumstances: .readingEtcd)
        try await dataplane.start(Self.base)
        for endpoint in [Self.one, Self.two] { try await connect(dataplane, endpoint) }
        let (a, b) = (try lab.container(Self.one), try lab.container(Self.two))
        defer { lab.end(a, b) }
        #expect(await dataplane.master == .builtin)
        try a.run("timeout 60 perl -e '\(Self.echoServer)' >/dev/null 2>&1 & sleep 0.3")
        let connection = try Background(b, "timeout 60 perl -e '\(Self.echoClient)'")
        let pings = try ["10.65.0.3", "fd00:65::3"].map { try Background(a, "ping -i 0.005 -c 1200 -W 1 -q \($0)") }

        let felix = try FelixStandIn(lab, metric: metric, iptables: iptables)
        defer { felix.end() }
        try await Task.sleep(for: .seconds(0.5))
        #expect(await dataplane.master == .builtin, "Felix has no rules yet")
        try felix.tell([Self.one, Self.two])
        try await eventually { await dataplane.master == .felix }
        try await eventually { try !lab.host.run("iptables-\(iptables) -S FORWARD").contains("0x1000000") }
        #expect(try !lab.host.succeeds("nft list chain inet calico-libnetwork forward-from"))
        try await eventually { try !lab.host.run("ip route show dev calib1aaaaaaaaa").contains("proto 80") }
        #expect(try lab.host.run("ip route show 169.254.1.0/24").contains("dev lo"))

        felix.end()
        try await eventually { await dataplane.master == .builtin }
        try await eventually { try lab.host.run("iptables-\(iptables) -S FORWARD").contains("0x1000000") }
        #expect(try lab.host.run("ip route show dev calib1aaaaaaaaa").contains("10.65.0.2 proto 80"))
        #expect(try lab.host.succeeds("nft list chain inet calico-libnetwork forward-from"))
        for ping in pings {
            try await eventually { ping.output.contains("packet loss") }
            #expect(ping.output.contains(" 0% packet loss"), "\(ping.output)")
        }
        try await eventually { connection.output == "80 answers" }
        await dataplane.stop()
    }

    @Test func `a container that starts under Felix is connected by Felix, and its ports are published by us`()
        async throws
    {
        let lab = try Lab()
        try lab.host.run("ip addr add 172.31.0.1/24 dev lo")
        let felix = try FelixStandIn(lab)
        defer { felix.end() }
        try felix.tell([])
        try await eventually { try lab.host.succeeds("iptables-nft -S cali-FORWARD") }
        let dataplane = lab.dataplane(choice: .auto, circumstances: .readingEtcd)
        try await dataplane.start(Self.base)
        #expect(await dataplane.master == .felix)
        var published = Self.one
        published.spec.ports = [.init(protocol: .tcp, port: 80, hostPort: 8080)]
        for endpoint in [published, Self.two] { try await connect(dataplane, endpoint) }
        try felix.tell([Self.one, Self.two])
        let (a, b) = (try lab.container(Self.one), try lab.container(Self.two))
        defer { lab.end(a, b) }
        try await eventually { try b.reaches("10.65.0.2") }
        try await eventually { try b.reaches("fd00:65::2") }
        try a.run("timeout 20 perl -e '\(Self.echoServer)' >/dev/null 2>&1 & sleep 0.3")
        for (place, target) in [(lab.host, "172.31.0.1:8080"), (lab.host, "127.0.0.1:8080"), (b, "172.31.0.1:8080")] {
            let client = Self.client(target, count: 1)
            #expect(try place.run("timeout 5 perl -e '\(client)'", expect: nil) == "1 answers", "\(target)")
        }
        try await dataplane.disconnect(interfaceName: Self.two.spec.interfaceName)
        try await eventually { try !lab.host.succeeds("ip link show calib2aaaaaaaaa") }
        await dataplane.stop()
    }

    @Test func `a restarted daemon stays with Felix, and one that says builtin takes everything back`() async throws {
        let lab = try Lab()
        let felix = try FelixStandIn(lab)
        defer { felix.end() }
        try felix.tell([Self.one])
        let state = Self.base + [ClusterChange(Self.one)]
        try await eventually { try lab.host.succeeds("iptables-nft -S cali-tw-calib1aaaaaaaaa") }
        let first = lab.dataplane(choice: .auto, circumstances: .readingEtcd)
        try await first.start(state)
        try await connect(first, Self.one)
        let a = try lab.container(Self.one)
        defer { lab.end(a) }
        await first.stop()
        let second = lab.dataplane(choice: .auto, circumstances: .readingEtcd)
        try await second.start(state)
        #expect(await second.master == .felix)
        #expect(try lab.host.succeeds("ip link show calib1aaaaaaaaa"))
        await second.stop()
        let third = lab.dataplane(choice: .builtin, circumstances: .readingEtcd)
        try await third.start(state)
        #expect(await third.master == .builtin)
        #expect(try lab.host.succeeds("nft list chain inet calico-libnetwork forward-from"))
        await third.stop()
    }

    @Test func `a Felix of another network or of no use changes nothing`() async throws {
        let (lab, elsewhere) = (try Lab(), try Lab())
        defer { lab.end(elsewhere.host) }
        let stranger = try FelixStandIn(elsewhere)
        defer { stranger.end() }
        #expect(FelixSearch(namespace: lab.namespace).look() == nil)
        try await eventually { FelixSearch(namespace: elsewhere.namespace).look()?.process == stranger.process }
        let kubernetes = try FelixStandIn(lab, environment: "DATASTORE_TYPE=kubernetes")
        defer { kubernetes.end() }
        try await eventually { FelixSearch(namespace: lab.namespace).look()?.readsKubernetes == true }
        let dataplane = lab.dataplane(choice: .auto, circumstances: .readingEtcd)
        try await dataplane.start(Self.base)
        #expect(await dataplane.master == .builtin)
        await dataplane.stop()
    }

    // MARK: Means

    @discardableResult
    private func connect(_ dataplane: LinuxDataplane, _ endpoint: WorkloadEndpoint) async throws -> Connection {
        try await dataplane.connect(EndpointLink(endpoint: endpoint, nextHop6: IPAddress("fe80::1")))
    }

    private static let echoServer =
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 9, LocalPort => 80, ReuseAddr => 1) or die;"
        + " while (my $c = $s->accept) { while (<$c>) { print $c $_; $c->flush } close $c }"
    /// One connection that says something ten times a second.
    private static let echoClient = client("10.65.0.2:80", count: 80)

    private static func client(_ target: String, count: Int) -> String {
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => \"\(target)\", Timeout => 2) or exit 1;"
            + " my $n = 0; for (1..\(count)) { print $s \"hello\\n\"; $s->flush; $n++ if <$s> eq \"hello\\n\";"
            + " select(undef, undef, undef, 0.1) } print \"$n answers\""
    }

    private func eventually(_ condition: () async throws -> Bool) async throws {
        for _ in 0..<400 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("did not come true within twenty seconds")
    }
}

/// A command that runs on its own. Waiting for it in a task would keep one of the few threads that tests share.
private final class Background: Sendable {
    private let file = "/tmp/calico-lab-output-\(UUID().uuidString)"

    init(_ place: Lab.Place, _ command: String) throws { try place.run("\(command) >\(file) 2>&1 &") }

    deinit { unlink(file) }

    var output: String { (try? String(contentsOfFile: file, encoding: .utf8)) ?? "" }
}

/// The stand-in, as a process of a lab's host.
private final class FelixStandIn: Sendable {
    let process: Int32
    private let file: String

    init(_ lab: Lab, metric: Int = 0, iptables: String = "nft", environment: String = "A=b") throws {
        file = "/tmp/calico-lab-felix-\(UUID().uuidString)"
        let program = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "FelixStandIn/calico-felix").path(percentEncoded: false)
        process = try lab.host.start(["env", environment, program, "\(metric)", iptables, "cat", file])
    }

    /// The endpoints it finds in its datastore from now on.
    func tell(_ endpoints: [WorkloadEndpoint]) throws {
        let lines = endpoints.map { endpoint in
            ([endpoint.spec.interfaceName, endpoint.spec.mac ?? ""] + endpoint.spec.addresses.map(\.description))
                .joined(separator: " ")
        }
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(filePath: file), options: .atomic)
    }

    func end() {
        kill(process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
        unlink(file)
    }
}

extension FelixCircumstances {
    fileprivate static var readingEtcd: FelixCircumstances {
        var circumstances = FelixCircumstances()
        circumstances.canReadDatastore = true
        return circumstances
    }
}

extension Lab {
    fileprivate func setting(_ path: String) throws -> String {
        try host.run("cat /proc/sys/net/ipv4/\(path)").trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
