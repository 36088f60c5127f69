// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Logging

/// The option keys that are known at one place, for the person who typed another one.
struct OptionKeys {
    private let keys: [String]
    /// What may be followed by anything.
    private let prefix: String?

    init(_ keys: [String], prefix: String? = nil) {
        self.keys = keys
        self.prefix = prefix
    }

    /// What was probably meant: a key that ends like the one given, or is some letters off.
    func nearest(to key: String) -> String? {
        var candidates = keys
        if let prefix {
            let name = key.split(separator: ".").last.map(String.init) ?? key
            if name != key { candidates.append(prefix + name) }
        }
        return candidates.first { $0.hasSuffix(".\(key.lowercased())") }
            ?? Nearest.word(to: key, in: candidates, limit: 3)
    }

    /// Answers for keys that are not known. Those of Docker's own name space may be meant for other drivers, and engines
    /// add some with every release: they are logged, without effect.
    ///
    /// - Parameters:
    ///   - place: where they were found, `network option`.
    ///   - refusal: begins a sentence that refuses so many others, `Calico driver does not support the flags`.
    /// - Throws: naming all others.
    func settle(_ unknown: [String], in place: String, refusal: (Int) -> String, _ logger: Logger) throws {
        let isDockers = { (key: String) in key.hasPrefix("com.docker.network.") }
        ignore(unknown.filter(isDockers), in: place, logger)
        let others = unknown.filter { !isDockers($0) }
        guard others.isEmpty else {
            throw PluginError("\(refusal(others.count)) \(self.refusal(of: others))")
        }
    }

    /// Logs keys that are accepted and have no effect.
    func ignore(_ unknown: [String], in place: String, _ logger: Logger) {
        for key in unknown.sorted() {
            var metadata: Logger.Metadata = ["option": "\(key)"]
            metadata["nearest"] = nearest(to: key).map { "\($0)" }
            logger.info("\(place) has no effect here", metadata: metadata)
        }
    }

    /// The end of a sentence that refuses `unknown`, sorted, each with what was probably meant, and what is known.
    func refusal(of unknown: [String]) -> String {
        let refused = unknown.sorted().map { key in key + (nearest(to: key).map { " (do you mean \($0)?)" } ?? "") }
        let known = keys + (prefix.map { ["\($0)KEY"] } ?? [])
        let list =
            known.count == 1 ? known[0] : known.dropLast().joined(separator: ", ") + " and \(known[known.count - 1])"
        return "\(refused.joined(separator: ", ")); it knows \(list)"
    }
}
