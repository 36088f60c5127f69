// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import DNS
import Datastore

/// etcd's members by a domain's SRV records, as etcd's own clients find them: `_etcd-client-ssl._tcp` for TLS, then
/// `_etcd-client._tcp`, each in the order to try.
/// - Parameter lookUp: the SRV records of a name.
/// - Throws: `StoreError.unavailable`, where no record names a member.
func discoverEndpoints(
    domain: String,
    lookUp: (String) async throws(ResolverError) -> [ServiceRecord] = Resolver().serviceRecords
) async throws(StoreError) -> [EtcdSettings.Endpoint] {
    var endpoints: [EtcdSettings.Endpoint] = []
    var failures: [String] = []
    for (service, usesTLS) in [("etcd-client-ssl", true), ("etcd-client", false)] {
        do throws(ResolverError) {
            var random = SystemRandomNumberGenerator()
            let records = try await lookUp("_\(service)._tcp.\(domain)")
            // A target "." says that the service is decidedly not there (RFC 2782).
            endpoints += ServiceRecord.order(records, using: &random).filter { !$0.target.isEmpty && $0.port > 0 }
                .map { .init(usesTLS: usesTLS, host: $0.target, port: $0.port) }
        } catch { failures.append(error.description) }
    }
    guard endpoints.isEmpty else { return endpoints }
    let reason =
        failures.isEmpty
        ? "there is no SRV record _etcd-client-ssl._tcp.\(domain) or _etcd-client._tcp.\(domain)"
        : failures.joined(separator: "; ")
    throw .unavailable("no etcd found by ETCD_DISCOVERY_SRV=\(domain): \(reason)")
}
