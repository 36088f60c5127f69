// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// Verbs on links, addresses, routes and neighbours of one network namespace.
///
/// Every call blocks until the kernel has answered. Not thread-safe: one actor or thread owns it. Changes are made by
/// ``perform(_:)``, alone or several in one system call; what is there is read by the listings.
public final class RouteSocket {
    let conversation: NetlinkConversation

    /// A socket in the network namespace of the calling thread.
    /// - Throws: ``NetlinkError``
    public convenience init() throws {
        try self.init(transport: KernelSocket.route())
    }

    public init(transport: any NetlinkTransport) {
        conversation = NetlinkConversation(transport: transport)
    }

    /// Carries out all requests in order, 64 to a system call. One that fails does not stop the later ones.
    /// - Throws: ``NetlinkError/refused(_:)`` with every refusal, once all are through; other ``NetlinkError`` at once.
    public func perform(_ requests: [NetlinkRequest]) throws {
        try conversation.perform(requests)
    }

    /// As ``perform(_:)`` for one request.
    public func perform(_ request: NetlinkRequest) throws {
        try perform([request])
    }
}
