// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// A table in plain text: the first column to the left, figures to the right.
struct Table {
    let headline: String
    let columns: [String]
    var rows: [[String]] = []
    /// Printed below, at most 98 characters each.
    var remarks: [String] = []

    init(_ headline: String, _ columns: String...) {
        self.headline = headline
        self.columns = columns
    }

    mutating func add(_ cells: String...) { rows.append(cells) }

    var text: String {
        let lines = [columns] + rows
        let widths = columns.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        let body = lines.map { cells in
            "  "
                + zip(cells, widths).enumerated().map { column, cell in
                    let space = String(repeating: " ", count: cell.1 - cell.0.count)
                    return column == 0 ? cell.0 + space : space + cell.0
                }.joined(separator: "   ")
        }
        return ([headline] + body + remarks.map { "  " + $0 }).joined(separator: "\n") + "\n"
    }
}
