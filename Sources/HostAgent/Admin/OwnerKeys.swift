/// Keys of virtual machines, as somebody who may act for them has them.
public struct OwnerKeys: Sendable {
    private var keys = [UInt64](repeating: 0, count: 65)

    /// No keys.
    public init() {}

    /// Reads keys from a file: in each line a virtual machine's number and its key in hexadecimal, `3 0x5e1f0a...`; `#` begins a comment.
    public init(path: String) throws(AgentError) {
        let lines = try File.text(path).split(separator: "\n", omittingEmptySubsequences: false)
        for (number, line) in lines.enumerated() {
            let words = line.prefix { $0 != "#" }.split(separator: " ")
            guard !words.isEmpty else { continue }
            guard words.count == 2, let owner = Int(words[0]), (1...64).contains(owner), let key = Self.key(words[1]) else {
                throw AgentError(
                    "\(path), line \(number + 1): a virtual machine, 1...64, and a key in hexadecimal expected, '\(line)' found")
            }
            keys[owner] = key
        }
    }

    /// A key as people write it: up to 16 hexadecimal digits, with or without 0x.
    public static func key(_ text: some StringProtocol) -> UInt64? {
        UInt64(text.hasPrefix("0x") ? String(text.dropFirst(2)) : String(text), radix: 16)
    }

    /// The key of an owner; 0 if none is known.
    public subscript(_ owner: Int) -> UInt64 { keys.indices.contains(owner) ? keys[owner] : 0 }
}
