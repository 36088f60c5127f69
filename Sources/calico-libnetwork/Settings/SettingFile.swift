// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import LibnetworkPlugin
import YAML

/// The settings in a file: a flat YAML map, or Calico's `CalicoAPIConfig` with a datastore only.
struct SettingFile {
    struct Value: Hashable {
        /// Scalars as they are written; lists with commas.
        let text: String
        let line: Int
        /// As it is written.
        let key: String
    }

    let path: String
    /// Whether it is Calico's, and may hold only what Calico knows.
    let isCalicoctls: Bool
    private var values: [String: Value] = [:]

    /// Case, `-` and `_` make no difference: Calico's clients read `etcdCaCertFile` as well as `etcdCACertFile`.
    private static func normal(_ key: String) -> String { key.lowercased().filter { $0 != "_" && $0 != "-" } }

    subscript(key: String) -> Value? { values[Self.normal(key)] }

    /// - Throws: `Configuration.Problem` naming file, line and key.
    init(_ text: String, path: String) throws {
        self.path = path
        let members = try Self.members(of: text, path)
        isCalicoctls = members.contains { ["apiVersion", "kind"].contains($0.name.text) }
        for (name, node) in isCalicoctls ? try Self.spec(of: members, path) : members {
            guard let text = try Self.text(node, of: name, path) else { continue }
            let value = Value(text: text, line: name.position.line, key: name.text)
            if let other = values.updateValue(value, forKey: Self.normal(name.text)) {
                throw Self.problem(path, name, "\(name.text) is the same setting as \(other.key) on line \(other.line)")
            }
        }
    }

    /// - Throws: `Configuration.Problem` for a key that is none of `known`, with the nearest one.
    func refuseUnknownKeys(_ known: [String]) throws {
        let allowed = Set((isCalicoctls ? Self.calicoctlKeys : known).map(Self.normal))
        let unknown = values.filter { !allowed.contains($0.key) }.map(\.value)
        guard let first = unknown.min(by: { $0.line < $1.line }) else { return }
        let known = isCalicoctls ? Self.etcdKeys : known
        let nearest = Nearest.word(to: first.key, in: known)
        throw Configuration.Problem(
            description: "\(path), line \(first.line): unknown setting \(first.key); "
                + (nearest.map { "do you mean \($0)?" } ?? "it may hold \(known.joined(separator: ", "))"))
    }

    static let etcdKeys = [
        "datastoreType", "etcdEndpoints", "etcdDiscoverySrv", "etcdUsername", "etcdPassword", "etcdKeyFile",
        "etcdCertFile", "etcdCACertFile", "etcdKey", "etcdCert", "etcdCACert",
    ]

    /// Those for the Kubernetes API have no meaning here, and do no harm.
    private static let calicoctlKeys =
        etcdKeys + [
            "kubeconfig", "kubeconfigInline", "k8sAPIEndpoint", "k8sKeyFile", "k8sCertFile", "k8sCAFile", "k8sAPIToken",
            "k8sInsecureSkipTLSVerify", "k8sDisableNodePoll", "k8sUsePodCIDR", "usePodCIDR", "k8sClientQPS",
            "k8sCurrentContext", "calicoAPIGroup",
        ]

    // MARK: Reading

    private typealias Member = (name: YAMLNode.Name, value: YAMLNode)

    private static func members(of text: String, _ path: String) throws -> [Member] {
        do throws(YAMLError) {
            guard let document = try YAMLNode.document(of: text) else { return [] }
            switch document.content {
            case .mapping(let members): return members
            case .scalar(let scalar) where scalar.isNull: return []
            case .scalar, .sequence: throw YAMLError(at: document.position, "wants lines of the form 'setting: value'")
            }
        } catch {
            throw Configuration.Problem(description: "\(path), \(error)")
        }
    }

    /// The members of `spec`, after Calico's own checks (libcalico-go `apiconfig.LoadClientConfigFromBytes`).
    private static func spec(of members: [Member], _ path: String) throws -> [Member] {
        let text = { (name: String) in
            try members.first { $0.name.text == name }.flatMap { try Self.text($0.value, of: $0.name, path) } ?? ""
        }
        let (version, kind) = (try text("apiVersion"), try text("kind"))
        guard version == "projectcalico.org/v3" else {
            throw Configuration.Problem(description: "\(path): invalid config file: unknown APIVersion '\(version)'")
        }
        guard kind == "CalicoAPIConfig" else {
            throw Configuration.Problem(
                description: "\(path): invalid config file: expected kind 'CalicoAPIConfig', got '\(kind)'")
        }
        let known = ["apiVersion", "kind", "metadata", "spec"]
        if let (name, _) = members.first(where: { !known.contains($0.name.text) }) {
            throw problem(path, name, "unknown key \(name.text); wants \(known.joined(separator: ", "))")
        }
        guard let (name, spec) = members.first(where: { $0.name.text == "spec" }) else { return [] }
        switch spec.content {
        case .mapping(let members): return members
        case .scalar(let scalar) where scalar.isNull: return []
        case .scalar, .sequence: throw problem(path, name, "spec wants lines of the form 'setting: value'")
        }
    }

    /// `nil` for nothing.
    private static func text(_ node: YAMLNode, of name: YAMLNode.Name, _ path: String) throws -> String? {
        switch node.content {
        case .scalar(let scalar): return scalar.isNull ? nil : scalar.text
        case .sequence(let elements):
            return try elements.compactMap { try text($0, of: name, path) }.joined(separator: ",")
        case .mapping: throw problem(path, name, "\(name.text) wants a single value, or a list")
        }
    }

    private static func problem(_ path: String, _ name: YAMLNode.Name, _ reason: String) -> Configuration.Problem {
        Configuration.Problem(description: "\(path), line \(name.position.line): \(reason)")
    }
}
