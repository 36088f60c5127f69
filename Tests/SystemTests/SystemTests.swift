// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Testing

/// The daemon as its users meet it: a real Docker engine, a real kernel, the built program.
///
/// Each suite has a lab of its own, and each test ends with the check that nothing is left of it. One at a time:
/// `swift test --filter 'SystemTests/Isolation'`, or with a part of a test's title.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct SystemTests {}

extension SystemTests {
    /// The lab that `LabTrait` made for the running suite.
    static var lab: Lab {
        get throws { try #require(Lab.current, "this suite lacks the trait .lab()") }
    }
}
