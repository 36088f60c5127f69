// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// The names of a setting. The variable's is the first one; those of its flag and of its key in a file follow from it.
struct SettingName: Hashable {
    /// `CALICO_LIBNETWORK_SQLITE_PATH`
    let variable: String

    init(_ variable: String) { self.variable = variable }

    /// The variables that are looked at, in this order: Calico's clients read these with the prefix `CALICO_` first
    /// (libcalico-go `apiconfig`).
    var variables: [String] {
        let isCalicos = variable.hasPrefix("ETCD_") || ["DATASTORE_TYPE", "NODENAME"].contains(variable)
        return isCalicos ? ["CALICO_" + variable, variable] : [variable]
    }

    /// `--sqlite-path`
    var flag: String { "--" + words.map { $0.lowercased() }.joined(separator: "-") }

    /// `sqlitePath`; Calico's own spelling for what `calicoctl.cfg` has too.
    var key: String {
        let (first, others) = (words[0], words.dropFirst())
        return (Self.compounds[first] ?? first.lowercased()) + others.map(Self.capitalized).joined()
    }

    private var words: [String] {
        let own = ["CALICO_LIBNETWORK_", "CALICO_"].first(where: variable.hasPrefix) ?? ""
        return variable.dropFirst(own.count).split(separator: "_").map(String.init)
    }

    private static let acronyms: Set<String> = ["CA", "CIDR", "MTU", "NAT", "VXLAN"]
    private static let compounds = ["IFPREFIX": "ifPrefix", "IPV4POOL": "ipv4Pool", "IPV6POOL": "ipv6Pool"]

    private static func capitalized(_ word: String) -> String {
        acronyms.contains(word) ? word : word.prefix(1) + word.dropFirst().lowercased()
    }
}

/// Where a setting's value came from.
enum SettingOrigin: Hashable, CustomStringConvertible {
    case flag(String)
    case variable(String)
    case file(String, line: Int, key: String)
    case standard
    /// Neither a setting nor a default: the host's name, for example.
    case elsewhere(String)

    var description: String {
        switch self {
        case .flag(let name): "flag \(name)"
        case .variable(let name): "environment (\(name))"
        case .file(let path, let line, _): "\(path), line \(line)"
        case .standard: "default"
        case .elsewhere(let place): place
        }
    }

    /// The setting with its value, as its author wrote it.
    func stating(_ value: String) -> String {
        switch self {
        case .flag(let name): "\(name) \(value)"
        case .variable(let name): "\(name)=\(value)"
        case .file(let path, let line, let key): "\(key): \(value) (\(path), line \(line))"
        case .standard, .elsewhere: "\(value) (\(self))"
        }
    }

    /// The setting without its value.
    var naming: String {
        switch self {
        case .flag(let name), .variable(let name): name
        case .file(let path, let line, let key): "\(key) (\(path), line \(line))"
        case .standard, .elsewhere: description
        }
    }

    /// What is given nearer to the command counts more.
    var rank: Int {
        switch self {
        case .flag: 0
        case .variable: 1
        case .file: 2
        case .standard, .elsewhere: 3
        }
    }
}
