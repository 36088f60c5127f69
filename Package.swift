// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import PackageDescription

let settings: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        // CI: a warning of ours is an error.
    ] + (Context.environment["CALICO_LIBNETWORK_STRICT"] == nil ? [] : [.treatAllWarnings(as: .error)])

let package = Package(
    name: "calico-libnetwork",
    products: [.executable(name: "calico-libnetwork", targets: ["calico-libnetwork"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .target(name: "Addressing", swiftSettings: settings),
        .target(name: "BlockingExecutor", swiftSettings: settings),
        .target(
            name: "CalicoModel",
            dependencies: ["Addressing"],
            swiftSettings: settings),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .target(name: "YAML", dependencies: ["CalicoModel", "CYAML"], swiftSettings: settings),
        .systemLibrary(name: "CResolver"),
        .target(name: "DNS", dependencies: ["CResolver"], swiftSettings: settings),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .target(
            name: "Datastore",
            dependencies: [
                "CalicoModel", "BlockingExecutor", "CSQLite",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                .product(name: "Logging", package: "swift-log"),
            ],
            exclude: ["Etcd/etcd.proto"],
            swiftSettings: settings),
        .target(
            name: "IPAM",
            dependencies: [
                "Addressing", "CalicoModel", "Datastore", .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .systemLibrary(name: "CNftables", pkgConfig: "libnftables", providers: [.apt(["libnftables-dev"])]),
        .target(name: "LinuxNetwork", dependencies: ["Addressing", "CNftables"], swiftSettings: settings),
        .target(
            name: "Dataplane",
            dependencies: [
                "Addressing", "BlockingExecutor", "CalicoModel", "LinuxNetwork",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .target(
            name: "LibnetworkPlugin",
            dependencies: [
                "Addressing", "CalicoModel", "Datastore", "IPAM", "Dataplane",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "calico-libnetwork",
            dependencies: [
                "Addressing", "CalicoModel", "Datastore", "DNS", "IPAM", "Dataplane", "LinuxNetwork",
                "LibnetworkPlugin", "YAML",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "calico-libnetwork-bench",
            dependencies: [
                "Addressing", "CalicoModel", "Datastore", "LinuxNetwork",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Benchmarks", swiftSettings: settings),
        // What tests of several targets need: threads, network namespaces, sockets, a ledger.
        .target(
            name: "TestSupport", dependencies: ["LinuxNetwork"], path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(name: "AddressingTests", dependencies: ["Addressing"], swiftSettings: settings),
        .testTarget(name: "YAMLTests", dependencies: ["YAML", "CalicoModel"], swiftSettings: settings),
        .testTarget(name: "DNSTests", dependencies: ["DNS", "TestSupport"], swiftSettings: settings),
        .testTarget(name: "CalicoModelTests", dependencies: ["CalicoModel", "Addressing"], swiftSettings: settings),
        .testTarget(
            name: "DatastoreTests",
            dependencies: [
                // The program for its store that finds etcd's members by DNS.
                "calico-libnetwork", "Datastore", "IPAM", "CalicoModel", "Addressing", "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "IPAM", "Datastore", "CalicoModel", "Addressing", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "IPAMTests",
            dependencies: [
                "IPAM", "Datastore", "CalicoModel", "Addressing", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "LinuxNetworkTests", dependencies: ["LinuxNetwork", "Addressing", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "DataplaneTests",
            dependencies: [
                "Dataplane", "CalicoModel", "LinuxNetwork", "Addressing", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ],
            exclude: ["Golden"], swiftSettings: settings),
        .testTarget(
            name: "LibnetworkPluginTests",
            dependencies: [
                "LibnetworkPlugin", "Datastore", "IPAM", "Dataplane", "CalicoModel", "Addressing",
                "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            exclude: ["Recordings"], swiftSettings: settings),
        .testTarget(
            name: "ProgramTests",
            dependencies: [
                "calico-libnetwork", "LibnetworkPlugin", "Dataplane", "CalicoModel", "Datastore", "DNS", "YAML",
                "Addressing", "LinuxNetwork", "TestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "SystemTests", dependencies: ["Addressing", "Dataplane", "TestSupport"], swiftSettings: settings),
    ]
)
