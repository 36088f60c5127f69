// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Where something stands in a text. Both count from 1; the column in characters.
public struct YAMLPosition: Hashable, Sendable, CustomStringConvertible {
    public let line: Int
    public let column: Int

    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    public var description: String { "line \(line), column \(column)" }
}

/// A text that is not YAML, or not the part of YAML that is understood here.
public struct YAMLError: Error, Hashable, CustomStringConvertible {
    public let position: YAMLPosition
    public let reason: String

    public init(at position: YAMLPosition, _ reason: String) {
        self.position = position
        self.reason = reason
    }

    public var description: String { "\(position): \(reason)" }
}
