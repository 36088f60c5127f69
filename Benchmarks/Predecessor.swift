// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// What was published for the plugin in Go that this one succeeds: another machine with 2 cores, etcd 3.4, Docker 20.10.
enum Predecessor {
    /// Medians of sequential calls.
    static let milliseconds: [Call: Double] = [
        .getCapabilities: 0.2, .requestPool: 0.65, .requestAddress: 3.0, .createEndpoint: 1.8, .join: 2.4,
        .leave: 18.5, .deleteEndpoint: 1.7, .releaseAddress: 1.5,
    ]
    /// RequestAddress and ReleaseAddress per second, by clients.
    static let pairs = [1: 250.0, 8: 300, 32: 155]
    /// Whole container lives per second, by clients.
    static let lives = [1: 32.0, 8: 133, 32: 104]
    /// `docker run`, milliseconds by network.
    static let runs = ["calico": 333.0, "bridge": 306, "none": 239]
}
