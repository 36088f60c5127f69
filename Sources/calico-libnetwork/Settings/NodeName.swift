// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

/// This host's name in Calico: decided here and nowhere else.
enum NodeName {
    /// The setting as it is, then the file that calico/node writes, then HOSTNAME, then the kernel's name. The last two
    /// in lower case, as calico/node: Calico's resource names know no upper case.
    /// - Throws: `Configuration.Problem` where `CALICO_NODENAME_FILE` names a file that is not there, and what `readFile`
    ///   throws.
    static func decide(
        _ reader: SettingReader, readFile: (String) throws -> String?, hostName: String
    ) throws -> SettingReader.Found {
        if let given = reader.find("NODENAME"), !trimmed(given.text).isEmpty {
            return .init(text: trimmed(given.text), origin: given.origin)
        }
        let named = reader.environment["CALICO_NODENAME_FILE"].flatMap { $0.isEmpty ? nil : $0 }
        let file = named ?? "/var/lib/calico/nodename"
        let content = try readFile(file)
        if named != nil, content == nil {
            throw Configuration.Problem(description: "CALICO_NODENAME_FILE=\(file): there is no such file")
        }
        if let text = content.map(trimmed), !text.isEmpty {
            return .init(text: text, origin: .elsewhere(file))
        }
        if let text = reader.environment["HOSTNAME"].map(trimmed), !text.isEmpty {
            return .init(text: text.lowercased(), origin: .variable("HOSTNAME"))
        }
        return .init(text: trimmed(hostName).lowercased(), origin: .elsewhere("host name"))
    }

    private static func trimmed(_ text: String) -> String {
        let blank: (Character) -> Bool = { $0 == " " || $0 == "\n" || $0 == "\t" || $0 == "\r" }
        return String(text.drop(while: blank).reversed().drop(while: blank).reversed())
    }
}
