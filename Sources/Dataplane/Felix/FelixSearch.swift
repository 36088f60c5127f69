// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import FoundationEssentials
import Glibc

/// Looks for a Felix, Calico's own agent, that works in this host's network namespace. Reads `/proc`, runs nothing.
public struct FelixSearch: Sendable {
    /// A Felix among this host's processes.
    public struct Sighting: Hashable, Sendable {
        public let process: Int32
        /// Its environment says that it reads Kubernetes' API, so it knows nothing of our endpoints.
        public let readsKubernetes: Bool

        public init(process: Int32, readsKubernetes: Bool) {
            self.process = process
            self.readsKubernetes = readsKubernetes
        }
    }

    private let namespace: NetworkNamespace
    private let procfs: String

    public init(namespace: NetworkNamespace = .own, procfs: String = "/proc") {
        self.namespace = namespace
        self.procfs = procfs
    }

    /// The first one; a Felix in a container that shares the host's network counts, one of another network does not.
    /// - Parameter last: where one was found before; most often it is still there, and spares the search.
    public func look(firstAt last: Int32? = nil) -> Sighting? {
        guard let own = ownNetwork else { return nil }
        if let last, let sighting = sighting(last, own) { return sighting }
        guard let folder = opendir(procfs) else { return nil }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let process = Int32(name), let sighting = sighting(process, own) { return sighting }
        }
        return nil
    }

    private func sighting(_ process: Int32, _ own: Network) -> Sighting? {
        guard isFelix(process), network(of: process) == own else { return nil }
        return Sighting(process: process, readsKubernetes: readsKubernetes(process))
    }

    /// Whether the `/proc` that is searched shows all processes of the machine. In a container with process ids of its
    /// own, such as Docker's managed plugins have, a Felix beside it stays unseen.
    public var seesWholeHost: Bool {
        var status = stat()
        // PROC_PID_INIT_INO, <linux/proc_ns.h>: the namespace that the kernel starts with has this number for good.
        return stat("\(procfs)/self/ns/pid", &status) == 0 && status.st_ino == 0xEFFF_FFFC
    }

    /// `calico-felix`, or calico/node's one program in Felix's role: `calico-node -felix`.
    private func isFelix(_ process: Int32) -> Bool {
        switch name(of: process) {
        case "calico-felix": true
        case "calico-node":
            !Set(["-felix", "--felix"]).isDisjoint(with: words("\(process)/cmdline", separatedBy: 0).dropFirst())
        default: false
        }
    }

    /// As the kernel has it, at most 15 bytes. Read for every process of the host, hence with little ado.
    private func name(of process: Int32) -> String {
        let descriptor = open("\(procfs)/\(process)/comm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { buffer in
            let count = read(descriptor, buffer.baseAddress, buffer.count)
            return String(decoding: buffer.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        }
    }

    /// In the order in which Felix reads them, libcalico-go `apiconfig` and Felix's `config`.
    private func readsKubernetes(_ process: Int32) -> Bool {
        let environment = words("\(process)/environ", separatedBy: 0)
        for name in ["FELIX_DATASTORETYPE", "CALICO_DATASTORE_TYPE", "DATASTORE_TYPE"] {
            guard let entry = environment.first(where: { $0.hasPrefix("\(name)=") }) else { continue }
            return entry.dropFirst(name.count + 1).lowercased() == "kubernetes"
        }
        return false
    }

    /// Empty where the process is gone.
    private func words(_ file: String, separatedBy separator: UInt8) -> [String] {
        guard let data = try? Data(contentsOf: URL(filePath: "\(procfs)/\(file)")) else { return [] }
        return data.split(separator: separator).map { String(decoding: $0, as: UTF8.self) }
    }

    /// A network namespace: device and number of its file in nsfs.
    private struct Network: Equatable {
        let device: dev_t
        let number: ino_t

        init?(_ path: String) {
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            device = status.st_dev
            number = status.st_ino
        }
    }

    private var ownNetwork: Network? { try? namespace.run { Network("/proc/thread-self/ns/net") } }
    private func network(of process: Int32) -> Network? { Network("\(procfs)/\(process)/ns/net") }
}
