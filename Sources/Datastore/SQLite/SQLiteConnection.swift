// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CSQLite
import FoundationEssentials

/// SQLite's C interface, as far as one key-value table needs it. Not thread-safe; an actor owns it.
final class SQLiteConnection {
    private let handle: OpaquePointer
    private var statements: [String: OpaquePointer] = [:]

    /// Opens or creates the file.
    init(path: String) throws(StoreError) {
        var handle: OpaquePointer?
        // NOMUTEX: the owning actor serialises all use (sqlite.org/threadsafe.html, "multi-thread").
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
        let code = sqlite3_open_v2(path, &handle, flags, nil)
        guard code == SQLITE_OK, let handle else {
            let reason = handle.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close_v2(handle)
            throw .unavailable("cannot open \(path): \(reason); check that its folder exists and is writable")
        }
        self.handle = handle
        // A second process of ours (a command beside the daemon) holds the lock for milliseconds at most.
        sqlite3_busy_timeout(handle, 5_000)
    }

    deinit {
        for statement in statements.values { sqlite3_finalize(statement) }
        sqlite3_close_v2(handle)
    }

    /// A column's or parameter's value.
    enum Value {
        case integer(Int64)
        case text(String)
        case blob(Data)
        case null

        var integer: Int64? { if case .integer(let value) = self { value } else { nil } }
        var text: String? { if case .text(let value) = self { value } else { nil } }
        var blob: Data? { if case .blob(let value) = self { value } else { nil } }
    }

    /// Runs one statement, prepared once and kept, and returns its rows.
    @discardableResult
    func run(_ sql: String, _ parameters: Value...) throws(StoreError) -> [[Value]] {
        let statement = try prepared(sql)
        defer {
            sqlite3_reset(statement)
            sqlite3_clear_bindings(statement)
        }
        for (index, parameter) in parameters.enumerated() { try bind(parameter, at: Int32(index + 1), of: statement) }
        var rows: [[Value]] = []
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW: rows.append((0..<sqlite3_column_count(statement)).map { column($0, of: statement) })
            case SQLITE_DONE: return rows
            default: throw failure()
            }
        }
    }

    /// The only column of the only row of a PRAGMA.
    func pragma(_ text: String) throws(StoreError) -> Value { try run("PRAGMA \(text)").first?.first ?? .null }

    private func prepared(_ sql: String) throws(StoreError) -> OpaquePointer {
        if let statement = statements[sql] { return statement }
        var statement: OpaquePointer?
        guard sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil) == SQLITE_OK,
            let statement
        else { throw failure() }
        statements[sql] = statement
        return statement
    }

    private func bind(_ value: Value, at index: Int32, of statement: OpaquePointer) throws(StoreError) {
        // SQLITE_TRANSIENT: SQLite copies before the pointer dies.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        let code: Int32 =
            switch value {
            case .integer(let number): sqlite3_bind_int64(statement, index, number)
            case .text(let text): sqlite3_bind_text(statement, index, text, -1, transient)
            case .blob(let data):
                data.withUnsafeBytes {
                    // A null pointer would bind NULL; a zero-length blob needs any other address.
                    sqlite3_bind_blob64(
                        statement, index, $0.baseAddress ?? UnsafeRawPointer(bitPattern: 1), UInt64($0.count), transient
                    )
                }
            case .null: sqlite3_bind_null(statement, index)
            }
        guard code == SQLITE_OK else { throw failure() }
    }

    private func column(_ index: Int32, of statement: OpaquePointer) -> Value {
        switch sqlite3_column_type(statement, index) {
        case SQLITE_INTEGER: return .integer(sqlite3_column_int64(statement, index))
        case SQLITE_TEXT: return .text(String(cString: sqlite3_column_text(statement, index)))
        case SQLITE_BLOB:
            let count = Int(sqlite3_column_bytes(statement, index))
            return .blob(sqlite3_column_blob(statement, index).map { Data(bytes: $0, count: count) } ?? Data())
        default: return .null
        }
    }

    private func failure() -> StoreError {
        let reason = String(cString: sqlite3_errmsg(handle))
        switch sqlite3_errcode(handle) & 0xff {
        case SQLITE_FULL: return .full(reason)
        case SQLITE_BUSY: return .unavailable("another process has held the database for more than 5 s (\(reason))")
        case SQLITE_CORRUPT, SQLITE_NOTADB: return .corrupt(reason)
        default: return .unavailable("SQLite: \(reason) (\(sqlite3_extended_errcode(handle)))")
        }
    }
}
