// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel

/// Labels that people give to endpoints, as `org.projectcalico.label.KEY=VALUE`.
enum EndpointLabel {
    static let prefix = NetworkOptions.labelPrefix
    /// Calico's clients overwrite these two (libcalico-go `updateLabelsForStorage`).
    private static let forced = ["projectcalico.org/namespace", "projectcalico.org/orchestrator"]
    /// Felix drops labels that begin so.
    private static let reserved = ["pcns.", "pcsa."]

    /// Why an endpoint cannot carry the label; `nil` where it can.
    static func problem(_ key: String, _ value: String) -> String? {
        guard Validation.isLabelKey(key), Validation.isLabelValue(value) else {
            return "is not a label: keys have 1 to 63, values up to 63 letters, digits, '-', '_' and '.'"
        }
        guard !forced.contains(key), !reserved.contains(where: key.hasPrefix) else {
            return "is not allowed: Calico keeps such labels to itself"
        }
        return nil
    }
}

/// What a container's own labels mean for its endpoint.
struct ContainerLabels {
    private(set) var usable: [String: String] = [:]
    /// Those that an endpoint cannot carry, each with the reason. They may come with an image, so they are no reason to
    /// refuse a container.
    private(set) var problems: [String] = []

    init(_ labels: [String: String]) {
        for (text, value) in labels.sorted(by: { $0.key < $1.key }) where text.hasPrefix(EndpointLabel.prefix) {
            let key = String(text.dropFirst(EndpointLabel.prefix.count))
            if let problem = EndpointLabel.problem(key, value) {
                problems.append("\(text)=\(value) \(problem)")
            } else {
                usable[key] = value
            }
        }
    }
}

extension WorkloadEndpoint {
    private static let ownLabelsAnnotation = "libnetwork.projectcalico.org/own-labels"

    /// Keys of labels that the endpoint's driver options set: the container's do not replace them.
    var ownLabels: [String] {
        get { metadata.annotations[Self.ownLabelsAnnotation]?.split(separator: ",").map(String.init) ?? [] }
        set {
            let text = newValue.isEmpty ? nil : newValue.joined(separator: ",")
            metadata.annotations[Self.ownLabelsAnnotation] = text
        }
    }

    mutating func take(_ labels: ContainerLabels) {
        let own = ownLabels
        for (key, value) in labels.usable where !own.contains(key) { metadata.labels[key] = value }
    }
}
