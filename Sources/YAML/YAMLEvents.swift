// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CYAML

/// What libyaml reads, piece by piece. Owns its parser and the text.
final class YAMLEvents {
    enum Event {
        case documentStart, documentEnd, streamEnd
        case alias(String)
        case scalar(String, isPlain: Bool, tag: String?, anchor: String?)
        case sequenceStart(tag: String?, anchor: String?)
        case mappingStart(tag: String?, anchor: String?)
        case collectionEnd
    }

    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    private let text: UnsafeMutableBufferPointer<UInt8>

    init(_ text: String) {
        let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]
        let bytes = Array(text.utf8)
        let start = bytes.starts(with: byteOrderMark) ? byteOrderMark.count : 0
        self.text = .allocate(capacity: bytes.count - start)
        _ = self.text.initialize(from: bytes[start...])
        // Fails only where malloc does.
        guard yaml_parser_initialize(parser) == 1 else { fatalError("out of memory") }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        // An empty buffer may have no address, which libyaml asserts.
        let address =
            UnsafePointer(self.text.baseAddress) ?? UnsafeRawPointer(parser).assumingMemoryBound(to: UInt8.self)
        yaml_parser_set_input_string(parser, address, self.text.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        text.deallocate()
    }

    /// - Throws: `YAMLError` where the text is no YAML.
    func next() throws(YAMLError) -> (event: Event, position: YAMLPosition) {
        var raw = yaml_event_t()
        while true {
            guard yaml_parser_parse(parser, &raw) == 1 else { throw problem() }
            defer { yaml_event_delete(&raw) }
            if let event = Self.event(raw) { return (event, YAMLPosition(raw.start_mark)) }
        }
    }

    private static func event(_ raw: yaml_event_t) -> Event? {
        switch raw.type {
        case YAML_STREAM_START_EVENT: return nil
        case YAML_DOCUMENT_START_EVENT: return .documentStart
        case YAML_DOCUMENT_END_EVENT: return .documentEnd
        case YAML_ALIAS_EVENT: return .alias(string(raw.data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT: return scalar(raw.data.scalar)
        case YAML_SEQUENCE_START_EVENT:
            let start = raw.data.sequence_start
            return .sequenceStart(tag: string(start.tag), anchor: string(start.anchor))
        case YAML_MAPPING_START_EVENT:
            let start = raw.data.mapping_start
            return .mappingStart(tag: string(start.tag), anchor: string(start.anchor))
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return .collectionEnd
        default: return .streamEnd
        }
    }

    private static func scalar(_ scalar: yaml_event_s.__Unnamed_union_data.__Unnamed_struct_scalar) -> Event {
        .scalar(
            String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self),
            isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE, tag: string(scalar.tag), anchor: string(scalar.anchor))
    }

    private static func string(_ text: UnsafeMutablePointer<UInt8>?) -> String? {
        text.map { String(cString: UnsafePointer($0)) }
    }

    private func problem() -> YAMLError {
        let state = parser.pointee
        let reason = state.problem.map { String(cString: $0) } ?? "not YAML"
        switch state.error {
        case YAML_READER_ERROR:
            return YAMLError(at: position(ofByte: state.problem_offset), reason)
        case YAML_MEMORY_ERROR:
            return YAMLError(at: YAMLPosition(line: 1, column: 1), "out of memory")
        default:
            let context = state.context.map { " " + String(cString: $0) } ?? ""
            return YAMLError(at: YAMLPosition(state.problem_mark), reason + context)
        }
    }

    private func position(ofByte offset: Int) -> YAMLPosition {
        let lines = text.prefix(offset).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let column = lines.last.map { String(decoding: $0, as: UTF8.self).count } ?? 0
        return YAMLPosition(line: lines.count, column: column + 1)
    }
}

extension YAMLPosition {
    fileprivate init(_ mark: yaml_mark_t) { self.init(line: Int(mark.line) + 1, column: Int(mark.column) + 1) }
}
