// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials

extension ResourceMetadata {
    /// The member `name` of the JSON object in a policy's annotation.
    static func nameMember(of annotation: String) -> String? {
        (try? JSONDecoder().decode(JSONValue.self, from: Data(annotation.utf8)))?["name"]?.string
    }
}
