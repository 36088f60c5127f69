// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Builds nodes from libyaml's events: anchors, limits, names.
struct YAMLComposer {
    /// Values that aliases may add to a text. Ten lines of aliases to aliases otherwise stand for a billion.
    static let aliasedValueLimit = 10_000
    /// Far above any manifest, far below the end of a thread's stack.
    static let depthLimit = 64

    private let events: YAMLEvents
    private var anchors: [String: (node: YAMLNode, size: Int)] = [:]
    private var aliasedValues = 0

    init(_ text: String) { events = YAMLEvents(text) }

    mutating func documents() throws(YAMLError) -> [YAMLNode] {
        var documents: [YAMLNode] = []
        while true {
            guard case .documentStart = try events.next().event else { return documents }
            anchors = [:]
            documents.append(try node(events.next(), depth: 0).node)
            _ = try events.next()  // the document's end
        }
    }

    /// The node that begins with `start`, and how many values it is made of.
    private mutating func node(
        _ start: (event: YAMLEvents.Event, position: YAMLPosition), depth: Int
    ) throws(YAMLError) -> (node: YAMLNode, size: Int) {
        guard depth < Self.depthLimit else {
            throw YAMLError(at: start.position, "nested deeper than \(Self.depthLimit) levels")
        }
        let position = start.position
        switch start.event {
        case .alias(let name): return try repeated(name, at: position)
        case .scalar(let text, let isPlain, let tag, let anchor):
            let scalar = try YAMLNode.Scalar(text, isPlain: isPlain, tag: tag, at: position)
            return remember((YAMLNode(content: .scalar(scalar), position: position), 1), as: anchor)
        case .sequenceStart(let tag, let anchor):
            try refuse(tag, unless: "seq", at: position)
            let (content, size) = try sequence(depth)
            return remember((YAMLNode(content: content, position: position), size), as: anchor)
        case .mappingStart(let tag, let anchor):
            try refuse(tag, unless: "map", at: position)
            let (content, size) = try mapping(depth)
            return remember((YAMLNode(content: content, position: position), size), as: anchor)
        case .documentStart, .documentEnd, .streamEnd, .collectionEnd:
            throw YAMLError(at: position, "a value is missing")
        }
    }

    private mutating func sequence(_ depth: Int) throws(YAMLError) -> (YAMLNode.Content, size: Int) {
        var elements: [YAMLNode] = []
        var size = 1
        while true {
            let next = try events.next()
            if case .collectionEnd = next.event { return (.sequence(elements), size) }
            let element = try node(next, depth: depth + 1)
            elements.append(element.node)
            size += element.size
        }
    }

    private mutating func mapping(_ depth: Int) throws(YAMLError) -> (YAMLNode.Content, size: Int) {
        var members: [(name: YAMLNode.Name, value: YAMLNode)] = []
        var lines: [String: Int] = [:]
        var size = 1
        while true {
            let next = try events.next()
            if case .collectionEnd = next.event { return (.mapping(members), size) }
            let name = try name(next)
            if let line = lines.updateValue(name.position.line, forKey: name.text) {
                throw YAMLError(at: name.position, "the key \"\(name.text)\" occurs twice; it is on line \(line) too")
            }
            let value = try node(events.next(), depth: depth + 1)
            members.append((name, value.node))
            size += value.size
        }
    }

    private func name(_ start: (event: YAMLEvents.Event, position: YAMLPosition)) throws(YAMLError) -> YAMLNode.Name {
        guard case .scalar(let text, let isPlain, let tag, nil) = start.event, tag == nil else {
            throw YAMLError(at: start.position, "a key is a simple text, without anchor, alias or tag")
        }
        guard !isPlain || !text.isEmpty else { throw YAMLError(at: start.position, "a key is missing before ':'") }
        guard !isPlain || text != "<<" else {
            throw YAMLError(at: start.position, "merge keys (<<) are not understood; write the members out")
        }
        return YAMLNode.Name(text: text, position: start.position)
    }

    private mutating func remember(
        _ result: (node: YAMLNode, size: Int), as anchor: String?
    ) -> (node: YAMLNode, size: Int) {
        if let anchor { anchors[anchor] = result }
        return result
    }

    private mutating func repeated(
        _ name: String, at position: YAMLPosition
    ) throws(YAMLError) -> (node: YAMLNode, size: Int) {
        guard let (node, size) = anchors[name] else {
            throw YAMLError(at: position, "the alias *\(name) has no anchor before it")
        }
        aliasedValues += size
        guard aliasedValues <= Self.aliasedValueLimit else {
            throw YAMLError(at: position, "aliases repeat more than \(Self.aliasedValueLimit) values")
        }
        return (node, size)
    }

    private func refuse(_ tag: String?, unless kind: String, at position: YAMLPosition) throws(YAMLError) {
        guard let tag, tag != "!", tag != YAMLNode.Scalar.coreTag + kind else { return }
        throw YAMLError(at: position, "the tag \(tag) is not understood here")
    }
}
