// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Crypto
import FoundationEssentials

/// The name of a network's profile, which is also the label its members carry.
enum ProfileName {
    /// A label key's limit (Kubernetes).
    private static let limit = 63

    /// The network's name where Calico accepts it; else its nearest legal form with `-` and the first 8 hex digits of
    /// the SHA-256 of the original, so that two networks never share a profile by accident.
    static func make(network name: String) -> String {
        if Validation.isResourceName(name), name.utf8.count <= limit, name != Profile.builtInName { return name }
        let digest = SHA256.hash(data: Data(name.utf8)).prefix(4).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
        let legal = legalForm(name).prefix(limit - 9)
        return trimmed(String(legal)).isEmpty ? "network-" + digest : trimmed(String(legal)) + "-" + digest
    }

    /// Lower case; whatever Calico does not know becomes `-`. A `.` must stand between letters or digits.
    private static func legalForm(_ name: String) -> String {
        String(
            name.lowercased().map { character in
                character.isASCII && (character.isLetter || character.isNumber) ? character : "-"
            })
    }

    private static func trimmed(_ name: String) -> String {
        let isDash = { (character: Character) in character == "-" }
        return String(name.drop(while: isDash).reversed().drop(while: isDash).reversed())
    }
}
