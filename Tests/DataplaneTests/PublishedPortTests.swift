// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing
import CalicoModel
import Dataplane
import Foundation
import Testing

/// Who reaches a published port, by which of the host's addresses.
@Suite(.serialized) struct `A published port` {
    @Test func `is open to everybody, over TCP and UDP and in both families, and only by way of the host`() async throws
    {
        let scene = try await Scene()
        defer { scene.end() }
        let (outside, host, server, other) = (scene.outside, scene.lab.host, scene.server, scene.other)
        try await scene.publish([
            .init(protocol: .tcp, port: 80, hostPort: 8080), .init(protocol: .udp, port: 53, hostPort: 8053),
        ])
        for place in [outside, host, server, other] {
            for address in ["172.31.0.1", "2001:db8::1"] {
                #expect(try place.ask("tcp", address, 8080) == .answer, "\(place) at \(address)")
                #expect(try place.ask("udp", address, 8053) == .answer, "\(place) at \(address)")
            }
        }
        #expect(try host.ask("tcp", "127.0.0.1", 8080) == .answer)
        #expect(try host.ask("udp", "127.0.0.1", 8053) == .answer)
        #expect(try outside.ask("tcp", "10.65.0.2", 80, patience: 1) == .nothing)
        #expect(try other.ask("udp", "fd00:65::2", 53, patience: 1) == .nothing)
        try await scene.publish([])
        #expect(try outside.ask("tcp", "172.31.0.1", 8080) == .refusal)
        #expect(try outside.ask("udp", "2001:db8::1", 8053) == .refusal)
        await scene.dataplane.stop()
    }

    @Test func `is open at the one address of the host that it names, and at no other`() async throws {
        let scene = try await Scene()
        defer { scene.end() }
        let (outside, host, other) = (scene.outside, scene.lab.host, scene.other)
        try await scene.publish([
            .init(protocol: .tcp, port: 80, hostPort: 8081, hostIP: "127.0.0.1"),
            .init(protocol: .tcp, port: 80, hostPort: 8082, hostIP: "172.31.0.1"),
            .init(protocol: .tcp, port: 80, hostPort: 8083, hostIP: "2001:db8::1"),
        ])
        for place in [outside, host, other] {
            #expect(try place.ask("tcp", "172.31.0.1", 8082) == .answer)
            #expect(try place.ask("tcp", "2001:db8::1", 8083) == .answer)
            for (address, port) in [
                ("172.31.1.1", 8082), ("172.31.0.1", 8081), ("172.31.0.1", 8083), ("2001:db8::2", 8083),
            ] {
                #expect(try place.ask("tcp", address, port) == .refusal, "\(place) at \(address) port \(port)")
            }
        }
        #expect(try host.ask("tcp", "127.0.0.1", 8081) == .answer)
        #expect(try host.ask("tcp", "127.0.0.1", 8082) == .refusal)
        await scene.dataplane.stop()
    }

    @Test func `refuses what is sent to ::1, instead of leaving it to the socket that holds the port`() async throws {
        let scene = try await Scene()
        defer { scene.end() }
        let host = scene.lab.host
        let holders = [try host.hold("tcp", 8080), try host.hold("udp", 8053)]
        defer { holders.forEach(Lab.end) }
        #expect(try host.ask("tcp", "::1", 8080, patience: 1) == .nothing)
        try await scene.publish([
            .init(protocol: .tcp, port: 80, hostPort: 8080), .init(protocol: .udp, port: 53, hostPort: 8053),
        ])
        for (transport, port) in [("tcp", 8080), ("udp", 8053)] {
            #expect(try host.ask(transport, "::1", port) == .refusal)
            #expect(try host.ask(transport, "2001:db8::1", port) == .answer)
        }
        await scene.dataplane.stop()
    }

    @Test func `carries SCTP both ways`() async throws {
        let scene = try await Scene()
        defer { scene.end() }
        try await scene.publish([.init(protocol: .sctp, port: 90, hostPort: 8090)])
        let server = scene.server
        let arrival = Task.detached { try server.run("timeout 10 perl -e '\(SCTP.server(port: 90))'") }
        let answer = try scene.outside.run("timeout 10 perl -e '\(SCTP.client(to: "172.31.0.1", port: 8090))'")
        #expect(try await arrival.value == "10.65.0.2:90")
        #expect(answer == "172.31.0.1:8090")
        await scene.dataplane.stop()
    }
}

/// A host with a neighbour, and two containers that may not talk to each other. One of them serves TCP on port 80 and
/// UDP on port 53.
private struct Scene {
    let lab: Lab
    let dataplane: LinuxDataplane
    let outside, server, other: Lab.Place
    private let endpoint: WorkloadEndpoint
    private let program: Int32

    init() async throws {
        lab = try Lab()
        outside = try Lab.place()
        dataplane = lab.dataplane()
        try lab.host.run("ip link add up0 type veth peer name out0; ip link set out0 netns \(outside.process)")
        try lab.host.run(
            "for a in 172.31.0.1/24 172.31.1.1/24; do ip addr add $a dev up0; done; ip link set up0 up;"
                + "for a in 2001:db8::1/64 2001:db8::2/64; do ip addr add $a dev up0 nodad; done")
        try outside.run(
            "ip addr add 172.31.0.2/16 dev out0; ip addr add 2001:db8::3/64 dev out0 nodad; ip link set out0 up;"
                + "ip route add 10.65.0.0/16 via 172.31.0.1; ip -6 route add fd00:65::/64 via 2001:db8::1")
        try await dataplane.start(`The Linux dataplane`.base)
        endpoint = `The Linux dataplane`.endpoint("b1aaaaaaaaaa", 2, "blue")
        let stranger = `The Linux dataplane`.endpoint("r1aaaaaaaaaa", 3, "red")
        for endpoint in [endpoint, stranger] {
            try await dataplane.connect(EndpointLink(endpoint: endpoint, nextHop6: IPAddress("fe80::1")))
        }
        (server, other) = (try lab.container(endpoint), try lab.container(stranger))
        program = try server.serve()
    }

    func publish(_ ports: [EndpointPort]) async throws {
        var endpoint = endpoint
        endpoint.spec.ports = ports
        await dataplane.apply([ClusterChange(endpoint)])
    }

    func end() {
        Lab.end(program)
        lab.end(outside, server, other)
    }
}

private enum Reply: String { case answer, refusal, nothing }

extension Lab {
    fileprivate static func end(_ process: Int32) {
        kill(process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
    }
}

extension Lab.Place {
    /// What a client meets that connects, or sends a datagram.
    /// - Parameter patience: seconds until it gives up.
    fileprivate func ask(_ transport: String, _ address: String, _ port: Int, patience: Int = 10) throws -> Reply {
        let client =
            "use IO::Socket::IP; my $s = IO::Socket::IP->new(Proto => \"\(transport)\", PeerHost => \"\(address)\","
            + " PeerPort => \(port)) or do { print $@ =~ /refused/ ? \"refusal\" : \"error $@\"; exit };"
            + " $s->send(\"hi\") if \"\(transport)\" eq \"udp\";"
            + " my $text; print defined $s->recv($text, 9) ? $text : $!{ECONNREFUSED} ? \"refusal\" : \"error $!\""
        let output = try run("timeout \(patience) perl -e '\(client)' || { [ $? = 124 ] && echo nothing; }")
        return try #require(Reply(rawValue: output.trimmingCharacters(in: .whitespacesAndNewlines)), "\(output)")
    }

    /// Starts a server, and waits until it is ready.
    fileprivate func serve() throws -> Int32 {
        let program = try start([
            "perl", "-e",
            """
            use IO::Socket::IP; use IO::Select;
            my $tcp = IO::Socket::IP->new(Listen => 9, LocalHost => "::", LocalPort => 80, V6Only => 0) or die;
            my $udp = IO::Socket::IP->new(Proto => "udp", LocalHost => "::", LocalPort => 53, V6Only => 0) or die;
            my $ready = IO::Select->new($tcp, $udp);
            while (my @sockets = $ready->can_read) {
                for (@sockets) {
                    if ($_ == $tcp) { my $client = $tcp->accept; print $client "answer"; close $client; next }
                    my $client = $udp->recv(my $text, 9);
                    $udp->send("answer", 0, $client);
                }
            }
            """,
        ])
        try awaitSocket("udp", 53)
        return program
    }

    /// Starts a program that has a port and never answers there.
    fileprivate func hold(_ transport: String, _ port: Int) throws -> Int32 {
        let listen = transport == "tcp" ? "Listen => 1" : "Proto => \"udp\""
        let socket = "IO::Socket::IP->new(\(listen), LocalHost => \"::\", LocalPort => \(port), V6Only => 1)"
        let program = try start(["perl", "-e", "use IO::Socket::IP; my $s = \(socket) or die; sleep 600"])
        try awaitSocket(transport, port)
        return program
    }

    private func awaitSocket(_ transport: String, _ port: Int) throws {
        try run(
            "for i in $(seq 500); do ss -Hln --\(transport) 'sport = :\(port)' | grep -q . && exit; sleep 0.02; done; exit 1"
        )
    }
}

/// Both ends of an SCTP handshake's first half, on raw sockets: the kernel may have no SCTP of its own.
private enum SCTP {
    /// INIT is chunk 1, its answer chunk 2 (RFC 9260, 3.3.2 and 3.3.3). A wrong checksum, CRC32c, is refused by conntrack.
    private static let packets = """
        use Socket;
        sub crc32c {
            my $sum = 0xffffffff;
            for my $byte (unpack "C*", $_[0]) {
                $sum ^= $byte;
                $sum = $sum & 1 ? $sum >> 1 ^ 0x82f63b78 : $sum >> 1 for 1..8;
            }
            ~$sum & 0xffffffff;
        }
        sub packet {
            my ($from, $to, $tag, $chunk) = @_;
            my $packet = pack "nnNN CCnNNnnN", $from, $to, $tag, 0, $chunk, 0, 20, 7, 65536, 1, 1, 1;
            substr($packet, 8, 4) = pack "V", crc32c($packet);
            $packet;
        }
        sub parts {
            my $header = 4 * (15 & ord $_[0]);
            (inet_ntoa(substr $_[0], 16, 4), unpack "nnNNC", substr $_[0], $header);
        }
        socket my $socket, PF_INET, SOCK_RAW, 132 or die "socket: $!";

        """

    /// Answers one INIT; prints where that went.
    static func server(port: Int) -> String {
        packets + """
            while (my $from = recv $socket, my $packet, 999, 0) {
                my ($address, $source, $port, $tag, $sum, $chunk) = parts($packet);
                next unless $chunk == 1 && $port == \(port);
                send $socket, packet($port, $source, 7, 2), 0, $from;
                print "$address:$port";
                exit;
            }
            """
    }

    /// Sends INIT until something comes back; prints from where.
    static func client(to address: String, port: Int) -> String {
        packets + """
            for (1..50) {
                send $socket, packet(5000, \(port), 0, 1), 0, sockaddr_in(0, inet_aton("\(address)")) or die "send: $!";
                my $ready = "";
                vec($ready, fileno $socket, 1) = 1;
                next unless select $ready, undef, undef, 0.2;
                my $from = recv $socket, my $packet, 999, 0;
                my (undef, $source) = parts($packet);
                print inet_ntoa((sockaddr_in $from)[1]) . ":$source";
                exit;
            }
            """
    }
}
