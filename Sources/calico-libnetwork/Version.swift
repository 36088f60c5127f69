// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// This program's version, as `--version` prints it.
enum Version {
    static let text = "0.1.0"
}
