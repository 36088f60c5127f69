// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// What somebody who mistyped a word probably meant.
public enum Nearest {
    /// The word of `words` with the fewest changes to `mistyped`, if these are few; case makes no difference.
    ///
    /// - Parameter limit: how many changes are few; `nil`: as many as fit the word's length.
    public static func word(to mistyped: String, in words: [String], limit: Int? = nil) -> String? {
        let nearest = words.map { (word: $0, distance: distance(mistyped.lowercased(), $0.lowercased())) }
            .min { $0.distance < $1.distance }
        let limit = limit ?? max(2, mistyped.count / 3)
        return nearest.flatMap { $0.distance <= limit && $0.distance < mistyped.count ? $0.word : nil }
    }

    /// Levenshtein's: how many characters to insert, delete or replace.
    private static func distance(_ a: String, _ b: String) -> Int {
        let b = Array(b)
        var row = Array(0...b.count)
        for (i, character) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for j in b.indices {
                let replaced = diagonal + (character == b[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, diagonal + 1, row[j] + 1)
            }
        }
        return row[b.count]
    }
}
