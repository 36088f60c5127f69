// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Addressing

extension WorkloadEndpointSpec {
    public func validate(_ metadata: ResourceMetadata) throws(ValidationError) {
        let rules = EndpointRules(spec: self, name: metadata.name)
        try rules.names()
        try rules.interface()
        try rules.addresses()
        for (index, port) in ports.enumerated() { try rules.port(port, field: "spec.ports[\(index)]") }
    }
}

/// Calico's rules for a workload endpoint, also for members that are only kept here.
private struct EndpointRules {
    let spec: WorkloadEndpointSpec
    let name: String

    func names() throws(ValidationError) {
        let expected = try WorkloadEndpointName(spec).text
        guard name == expected else {
            throw error("metadata.name", "does not match the identifiers in its spec; expected \(expected)")
        }
        let identifiers = [
            ("spec.orchestrator", spec.orchestrator), ("spec.workload", spec.workload), ("spec.node", spec.node),
            ("spec.endpoint", spec.endpoint),
        ]
        let optional = ["pod", "serviceAccountName"].compactMap { member in
            kept(member).map { ("spec.\(member)", $0) }
        }
        for (field, value) in identifiers + spec.profiles.map({ ("spec.profiles", $0) }) + optional
        where !value.isEmpty || field == "spec.profiles" {
            try Validation.resourceName(value, kind: WorkloadEndpointSpec.kind, name: name, field: field)
        }
        if let container = kept("containerID"), !Validation.isContainerID(container) {
            throw error("spec.containerID", "\"\(container)\" is not letters and digits, with '-' between them")
        }
    }

    func interface() throws(ValidationError) {
        guard Validation.isInterfaceName(spec.interfaceName) else {
            throw error(
                "spec.interfaceName", "\"\(spec.interfaceName)\" is not 1 to 15 letters, digits, '_', '.' or '-'")
        }
        if let mac = spec.mac, !mac.isEmpty, !Validation.isMAC(mac) {
            throw error("spec.mac", "\"\(mac)\" is not a MAC address")
        }
    }

    func addresses() throws(ValidationError) {
        guard spec.ipNetworks.allSatisfy(\.isSingleAddress) else {
            throw error("spec.ipNetworks", "each entry must be one address (/32 or /128)")
        }
        for (member, family) in [("ipv4Gateway", IPAddress.Family.v4), ("ipv6Gateway", .v6)] {
            guard let text = kept(member), IPAddress(text)?.family != family else { continue }
            throw error("spec.\(member)", "\"\(text)\" is not an \(family.name) address")
        }
        for (index, nat) in (spec.unknown["ipNATs"]?.array ?? []).enumerated() {
            try self.nat(nat, field: "spec.ipNATs[\(index)]")
        }
        if let text = spec.allowSpoofedSourcePrefixes.first(where: { CIDR(lenient: $0) == nil }) {
            throw error("spec.allowSpoofedSourcePrefixes", "\"\(text)\" is not a network")
        }
    }

    private func nat(_ nat: JSONValue, field: String) throws(ValidationError) {
        let (inside, outside) = (address(nat, "internalIP"), address(nat, "externalIP"))
        guard let inside, let outside, inside.family == outside.family else {
            throw error(field, "internalIP and externalIP must be addresses of one family")
        }
        guard spec.ipNetworks.contains(where: { $0.contains(inside) }) else {
            throw error("\(field).internalIP", "\(inside) is none of the endpoint's addresses")
        }
    }

    private func address(_ nat: JSONValue, _ member: String) -> IPAddress? {
        nat[member]?.string.flatMap { IPAddress($0) }
    }

    func port(_ port: EndpointPort, field: String) throws(ValidationError) {
        guard port.name?.isEmpty == false || port.hostPort ?? 0 > 0 else {
            throw error(field, "needs a name or a host port")
        }
        guard port.protocol.hasPorts else { throw error("\(field).protocol", "must be TCP, UDP or SCTP") }
        guard port.port > 0 else { throw error("\(field).port", "a port is 1...65535") }
    }

    /// The text of a member that no program of ours sets; `nil` where it is not set.
    private func kept(_ member: String) -> String? {
        spec.unknown[member]?.string.flatMap { $0.isEmpty ? nil : $0 }
    }

    private func error(_ field: String, _ reason: String) -> ValidationError {
        ValidationError(kind: WorkloadEndpointSpec.kind, name: name, field: field, reason: reason)
    }
}
