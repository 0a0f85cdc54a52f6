import Yams

/// A machine description that can't be used: where, and why.
public struct DescriptionError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `FILE:LINE: KEY: what was expected, what was found`.
    public let description: String
    public init(_ description: String) { self.description = description }
}

extension MachineDescription {
    /// Reads a description in YAML. What it doesn't name keeps its default.
    ///
    /// - Parameter file: the text's name in errors.
    public init(yaml text: String, file: String) throws(DescriptionError) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            throw DescriptionError(file + Self.summary(of: error))
        } catch {
            throw DescriptionError("\(file): \(error)")
        }
        self.init()
        guard let root else { return }
        if case .scalar(let scalar) = root, scalar.string.isEmpty { return }
        let section = try Section(root, path: "", file: file)
        try read(section)
    }

    private mutating func read(_ top: Section) throws(DescriptionError) {
        try top.allow([
            "clock", "harts", "quantum", "memory", "latency", "link", "medium", "service", "accelerators", "virtual_functions",
            "physical_functions",
        ])
        clockHertz = try top.quantity("clock", .frequency, in: 1_000_000...10_000_000_000) ?? clockHertz
        harts = try top.integer("harts", in: 1...2) ?? harts
        quantum = try top.number("quantum", in: 1...1_000_000_000) ?? quantum
        if let section = try top.section("memory") {
            try section.allow(["host"])
            memory.host = try section.quantity("host", .bytes, in: 1 << 20...1 << 36) ?? memory.host
            guard memory.host % 4096 == 0 else { throw section.error("host", "a multiple of 4 KiB expected, \(memory.host) found") }
        }
        if let section = try top.section("latency") {
            try section.allow(["hop", "registers", "shared_memory", "pcie"])
            let range: ClosedRange<UInt64> = 0...1_000_000
            latency.hop = try section.number("hop", in: range) ?? latency.hop
            latency.registers = try section.number("registers", in: range) ?? latency.registers
            latency.sharedMemory = try section.number("shared_memory", in: range) ?? latency.sharedMemory
            latency.pcie = try section.number("pcie", in: range) ?? latency.pcie
        }
        if let section = try top.section("link") {
            try section.allow(["bandwidth", "latency"])
            link.bandwidth = try section.quantity("bandwidth", .rate, in: 1_000_000...1 << 40) ?? link.bandwidth
            link.latency = try section.number("latency", in: 0...1_000_000_000) ?? link.latency
        }
        if let section = try top.section("medium") {
            try section.allow(["bandwidth", "latency"])
            medium.bandwidth = try section.quantity("bandwidth", .rate, in: 1_000_000...1 << 40) ?? medium.bandwidth
            medium.latency = try section.number("latency", in: 0...1_000_000_000) ?? medium.latency
        }
        if let section = try top.section("service") {
            try section.allow(["cores", "cost"])
            service.cores = try section.integer("cores", in: 1...64) ?? service.cores
            service.cost = try section.number("cost", in: 1...1_000_000_000) ?? service.cost
        }
        if let section = try top.section("accelerators") {
            try section.allow(["gpu", "fpga"])
            accelerators.gpu = try section.integer("gpu", in: 0...255) ?? accelerators.gpu
            accelerators.fpga = try section.integer("fpga", in: 0...255) ?? accelerators.fpga
        }
        if let section = try top.section("virtual_functions") { try virtualFunctions.read(section) }
        for item in try top.sections("physical_functions") {
            guard let number = try item.integer("function", in: 1...7) else { throw item.error(nil, "a key 'function' expected") }
            guard !physicalFunctions.contains(where: { $0.number == number }) else {
                throw item.error("function", "physical function \(number) is described already")
            }
            var disk = MachineDescription.Disk()
            try disk.read(item, alsoAllowed: ["function"])
            physicalFunctions.append(PhysicalFunction(number: number, disk: disk))
        }
    }

    /// Yams' own account of a syntax error, on one line: `:LINE: PROBLEM`.
    private static func summary(of error: YamlError) -> String {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
            ":\(mark.line): YAML expected: \(problem)"
        case .duplicatedKeysInMapping(let keys, let context):
            ":\(context.mark.line): \(keys.joined(separator: ", ")): a key can be given only once"
        default: ": YAML expected: \(error)".split(separator: "\n").joined(separator: " ")
        }
    }
}

extension MachineDescription.VirtualFunctions {
    fileprivate mutating func read(_ section: Section) throws(DescriptionError) {
        try section.allow(["total", "enabled", "disk", "disks"])
        total = try section.integer("total", in: 1...64) ?? total
        enabled = try section.integer("enabled", in: 0...64) ?? min(enabled, total)
        guard enabled <= total else { throw section.error("enabled", "at most total (\(total)) expected, \(enabled) found") }
        if let section = try section.section("disk") { try disk.read(section) }
        for item in try section.sections("disks") {
            guard let number = try item.integer("vf", in: 1...total) else { throw item.error(nil, "a key 'vf' expected") }
            guard disks[number] == nil else { throw item.error("vf", "virtual function \(number) has a disk already") }
            var own = disk
            try own.read(item, alsoAllowed: ["vf"])
            disks[number] = own
        }
    }
}

extension MachineDescription.Disk {
    fileprivate mutating func read(_ section: Section, alsoAllowed: [String] = []) throws(DescriptionError) {
        try section.allow(["size", "file", "read_only", "discard", "queues", "serial"] + alsoAllowed)
        file = try section.string("file") ?? file
        if let size = try section.quantity("size", .bytes, in: 512...1 << 50) {
            guard file == nil else { throw section.error("size", "no size expected beside a file, which has its own; \(size) found") }
            guard size % 512 == 0 else { throw section.error("size", "a multiple of 512 expected, \(size) found") }
            self.size = size
        } else if file != nil {
            size = nil
        }
        isReadOnly = try section.boolean("read_only") ?? isReadOnly
        discards = try section.boolean("discard") ?? discards
        queues = try section.integer("queues", in: 1...8) ?? queues
        if let serial = try section.string("serial") {
            guard serial.utf8.count <= 20 else {
                throw section.error("serial", "at most 20 characters expected, \(serial.utf8.count) found")
            }
            self.serial = serial
        }
    }
}

/// What a number of a description counts, with the units that may follow it.
private enum Unit {
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
private struct Section {
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
