// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Reads settings one by one, each from the first that gives it: flag, environment, file. Remembers what it said.
struct SettingReader {
    /// A setting that somebody gave.
    struct Found: Hashable {
        let text: String
        let origin: SettingOrigin
    }

    let flags: [String: String]
    let environment: [String: String]
    /// `/etc/calico/libnetwork.yaml`, or the one named instead.
    var file: SettingFile?
    /// `/etc/calico/calicoctl.cfg`, where nothing else names a datastore.
    var calicoctl: SettingFile?
    private(set) var settings: [Configuration.Setting] = []
    /// Every key that may stand in the file.
    private(set) var keys: [String] = []

    /// - Parameters:
    ///   - flags: values by the name of the setting's variable.
    ///   - environment: variables by name.
    init(flags: [String: String] = [:], environment: [String: String], file: SettingFile? = nil) {
        self.flags = flags
        self.environment = environment
        self.file = file
    }

    // MARK: One setting

    /// A setting's value, without telling. An empty one counts as none.
    func find(_ variable: String) -> Found? {
        let name = SettingName(variable)
        if let text = flags[variable], !text.isEmpty { return Found(text: text, origin: .flag(name.flag)) }
        // A variable that is set but empty hides the one without prefix, as in Calico's clients.
        if let given = name.variables.first(where: { environment[$0] != nil }), let text = environment[given],
            !text.isEmpty
        {
            return Found(text: text, origin: .variable(given))
        }
        return find(key: name.key)
    }

    /// What has no variable.
    func find(key: String) -> Found? {
        for file in [file, calicoctl].compactMap({ $0 }) {
            if let value = file[key], !value.text.isEmpty {
                return Found(text: value.text, origin: .file(file.path, line: value.line, key: key))
            }
        }
        return nil
    }

    /// A setting that may be absent.
    /// - Parameter shown: how its value is told; secrets are not.
    mutating func optional(_ variable: String, shown: (String) -> String = { $0 }) -> Found? {
        allow(variable)
        let found = find(variable)
        tell(variable, found.map { shown($0.text) } ?? "", found?.origin ?? .standard)
        return found
    }

    /// A setting that only a file can hold.
    mutating func optional(key: String, shown: (String) -> String) -> Found? {
        keys.append(key)
        let found = find(key: key)
        tell(key, found.map { shown($0.text) } ?? "", found?.origin ?? .standard)
        return found
    }

    /// A setting that is read in another way.
    mutating func allow(_ variable: String) { keys.append(SettingName(variable).key) }

    mutating func tell(_ name: String, _ value: String, _ origin: SettingOrigin) {
        settings.append(.init(name: name, value: value, origin: origin.description))
    }

    mutating func text(_ variable: String, default fallback: String) -> String {
        value(variable, default: fallback).text
    }

    private mutating func value(_ variable: String, default fallback: String) -> Found {
        allow(variable)
        let found = find(variable) ?? Found(text: fallback, origin: .standard)
        tell(variable, found.text, found.origin)
        return found
    }

    // MARK: Kinds of values

    mutating func parsed<Value>(
        _ variable: String, default fallback: String, _ parse: (String) -> Value?, wants: String
    ) throws -> Value {
        let found = value(variable, default: fallback)
        guard let value = parse(found.text) else { throw found.problem("wants \(wants)") }
        return value
    }

    mutating func flag(_ variable: String, default fallback: Bool) throws -> Bool {
        try parsed(
            variable, default: String(fallback),
            { text in
                switch text.lowercased() {
                case "true", "1", "yes", "on": true
                case "false", "0", "no", "off": false
                default: nil
                }
            }, wants: "true or false")
    }

    /// Go's form: `10s`, `500ms`, `2m`. `range` is in seconds.
    mutating func duration(
        _ variable: String, default fallback: String, _ range: ClosedRange<Double>
    ) throws -> Duration {
        try parsed(
            variable, default: fallback,
            { text in
                let units: [(String, Double)] = [("ms", 0.001), ("s", 1), ("m", 60)]
                for (unit, factor) in units where text.hasSuffix(unit) {
                    guard let number = Double(text.dropLast(unit.count)) else { continue }
                    return range.contains(number * factor) ? .milliseconds(Int(number * factor * 1000)) : nil
                }
                return nil
            }, wants: "a duration such as 10s, between \(range.lowerBound.text) and \(range.upperBound.text) seconds")
    }
}

extension SettingReader.Found {
    /// - Parameter shown: the value as it may be told, where it may hold a secret.
    func problem(_ reason: String, shown: String? = nil) -> Configuration.Problem {
        complaint("\(origin.stating(shown ?? text)): \(reason)")
    }

    /// A problem in words of its own.
    func complaint(_ text: String) -> Configuration.Problem {
        var problem = Configuration.Problem(description: text)
        if case .flag = origin { problem.isWrongUsage = true }
        return problem
    }
}

extension Double {
    /// Without a fraction of zero.
    fileprivate var text: String { self == rounded() ? "\(Int(self))" : "\(self)" }
}
