import Yams

/// What a number of a description counts, with the units that may follow it.
enum Unit {
    case bytes, rate, frequency

    var suffixes: [(String, UInt64)] {
        switch self {
        case .bytes: [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1)]
        case .rate: [("KB/s", 1000), ("MB/s", 1_000_000), ("GB/s", 1_000_000_000), ("B/s", 1)]
        case .frequency: [("KHz", 1000), ("MHz", 1_000_000), ("GHz", 1_000_000_000), ("Hz", 1)]
        }
    }

    var example: String {
        switch self {
        case .bytes: "a size such as 64 MiB"
        case .rate: "a rate such as 500 MB/s"
        case .frequency: "a frequency such as 1 GHz"
        }
    }
}

/// One mapping of a description, whose values are read by key.
struct Section {
    private let pairs: [(key: String, value: Node, line: Int)]
    private let path: String
    private let file: String
    private let line: Int

    init(_ node: Node, path: String, file: String) throws(DescriptionError) {
        self.path = path
        self.file = file
        line = node.mark?.line ?? 1
        guard case .mapping(let mapping) = node else {
            let place = path.isEmpty ? "\(file):\(line)" : "\(file):\(line): \(path)"
            throw DescriptionError("\(place): keys and values expected, \(Self.kind(of: node)) found")
        }
        var pairs: [(key: String, value: Node, line: Int)] = []
        for (key, value) in mapping {
            let line = key.mark?.line ?? line
            guard let name = key.string else { throw DescriptionError("\(file):\(line): \(path): a name expected as key") }
            guard !pairs.contains(where: { $0.key == name }) else { throw DescriptionError("\(file):\(line): \(path)\(name): given twice") }
            pairs.append((name, value, line))
        }
        self.pairs = pairs
    }

    private static func kind(of node: Node) -> String {
        switch node {
        case .scalar(let scalar): "'\(scalar.string)'"
        case .sequence: "a list"
        case .mapping: "keys and values"
        case .alias: "an alias"
        }
    }

    private func pair(_ key: String) -> (key: String, value: Node, line: Int)? { pairs.first { $0.key == key } }

    func error(_ key: String?, _ message: String) -> DescriptionError {
        let place = key.flatMap(pair)?.line ?? line
        let name = [path, key ?? ""].filter { !$0.isEmpty }.joined(separator: ".")
        return DescriptionError("\(file):\(place): \(name): \(message)")
    }

    func allow(_ keys: [String]) throws(DescriptionError) {
        for pair in pairs where !keys.contains(pair.key) {
            throw error(pair.key, "unknown key; expected one of \(keys.joined(separator: ", "))")
        }
    }

    func string(_ key: String) throws(DescriptionError) -> String? {
        guard let pair = pair(key) else { return nil }
        guard case .scalar(let scalar) = pair.value else { throw error(key, "a text expected, \(Self.kind(of: pair.value)) found") }
        return scalar.string
    }

    /// The key `kind`.
    func kind() throws(DescriptionError) -> MachineDescription.FunctionKind? {
        guard let text = try string("kind") else { return nil }
        guard let kind = MachineDescription.FunctionKind(rawValue: text) else {
            throw error("kind", "one of block, net, console expected, '\(text)' found")
        }
        return kind
    }

    func boolean(_ key: String) throws(DescriptionError) -> Bool? {
        switch try string(key) {
        case nil: nil
        case "true": true
        case "false": false
        case let other?: throw error(key, "true or false expected, '\(other)' found")
        }
    }

    func number(_ key: String, in range: ClosedRange<UInt64>) throws(DescriptionError) -> UInt64? {
        guard let text = try string(key) else { return nil }
        guard let value = UInt64(text.filter { $0 != "_" }), range.contains(value) else {
            throw error(key, "a number from \(range.lowerBound) to \(range.upperBound) expected, '\(text)' found")
        }
        return value
    }

    func integer(_ key: String, in range: ClosedRange<Int>) throws(DescriptionError) -> Int? {
        try number(key, in: UInt64(range.lowerBound)...UInt64(range.upperBound)).map { Int($0) }
    }

    /// A number with a unit, `64 MiB`; without one it counts bytes, bytes per second or hertz.
    func quantity(_ key: String, _ unit: Unit, in range: ClosedRange<UInt64>) throws(DescriptionError) -> UInt64? {
        guard let text = try string(key) else { return nil }
        let found = unit.suffixes.first { text.hasSuffix($0.0) }
        let digits = text.dropLast(found?.0.count ?? 0).filter { $0 != " " && $0 != "_" }
        guard let count = UInt64(digits) else { throw error(key, "\(unit.example) expected, '\(text)' found") }
        let (value, overflow) = count.multipliedReportingOverflow(by: found?.1 ?? 1)
        guard !overflow, range.contains(value) else {
            throw error(key, "\(unit.example), from \(range.lowerBound) to \(range.upperBound), expected, '\(text)' found")
        }
        return value
    }

    func section(_ key: String) throws(DescriptionError) -> Section? {
        guard let pair = pair(key) else { return nil }
        return try Section(pair.value, path: [path, key].filter { !$0.isEmpty }.joined(separator: "."), file: file)
    }

    func sections(_ key: String) throws(DescriptionError) -> [Section] {
        guard let pair = pair(key) else { return [] }
        guard case .sequence(let items) = pair.value else { throw error(key, "a list expected, \(Self.kind(of: pair.value)) found") }
        var sections: [Section] = []
        for (index, item) in items.enumerated() {
            sections.append(try Section(item, path: [path, "\(key)[\(index)]"].filter { !$0.isEmpty }.joined(separator: "."), file: file))
        }
        return sections
    }
}
