import PCIExpress
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
        if let shared = firstSharedOutput() { throw DescriptionError("\(file): \(shared)") }
    }

    private mutating func read(_ top: Section) throws(DescriptionError) {
        try top.allow([
            "clock", "harts", "quantum", "memory", "latency", "link", "medium", "wire", "service", "accelerators", "virtual_functions",
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
            if try section.string("bandwidth") == "full" {
                link.bandwidth = ExpressLink.payloadBandwidth
            } else {
                link.bandwidth = try section.quantity("bandwidth", .rate, in: 1_000_000...1 << 40) ?? link.bandwidth
            }
            link.latency = try section.number("latency", in: 0...1_000_000_000) ?? link.latency
        }
        if let section = try top.section("medium") {
            try section.allow(["bandwidth", "latency"])
            medium.bandwidth = try section.quantity("bandwidth", .rate, in: 1_000_000...1 << 40) ?? medium.bandwidth
            medium.latency = try section.number("latency", in: 0...1_000_000_000) ?? medium.latency
        }
        if let section = try top.section("wire") {
            try section.allow(["bandwidth", "latency"])
            wire.bandwidth = try section.quantity("bandwidth", .rate, in: 1_000_000...1 << 40) ?? wire.bandwidth
            wire.latency = try section.number("latency", in: 0...1_000_000_000) ?? wire.latency
        }
        if let section = try top.section("service") {
            try section.allow(["cores", "cost", "packet_cost", "polling", "poll_interval"])
            service.cores = try section.integer("cores", in: 1...64) ?? service.cores
            service.cost = try section.number("cost", in: 1...1_000_000_000) ?? service.cost
            service.packetCost = try section.number("packet_cost", in: 1...1_000_000_000) ?? service.packetCost
            service.polling = try section.number("polling", in: 0...1_000_000_000) ?? service.polling
            service.pollInterval = try section.number("poll_interval", in: 1...1_000_000_000) ?? service.pollInterval
        }
        if let section = try top.section("accelerators") {
            try section.allow(["gpu", "fpga", "gpu_loading", "fpga_loading"])
            accelerators.gpu = try section.integer("gpu", in: 0...255) ?? accelerators.gpu
            accelerators.fpga = try section.integer("fpga", in: 0...255) ?? accelerators.fpga
            accelerators.gpuLoading = try section.number("gpu_loading", in: 0...1_000_000_000) ?? accelerators.gpuLoading
            accelerators.fpgaLoading = try section.number("fpga_loading", in: 0...1_000_000_000) ?? accelerators.fpgaLoading
        }
        if let section = try top.section("virtual_functions") { try virtualFunctions.read(section) }
        for item in try top.sections("physical_functions") {
            guard let number = try item.integer("function", in: 1...7) else { throw item.error(nil, "a key 'function' expected") }
            guard !physicalFunctions.contains(where: { $0.number == number }) else {
                throw item.error("function", "physical function \(number) is described already")
            }
            var function = PhysicalFunction(number: number)
            try function.settings.read(item, alsoAllowed: ["function", "kind"])
            physicalFunctions.append(function)
        }
        if let (name, type) = firstWithoutAccelerator() {
            throw top.error("accelerators", "slots of type \(type.rawValue) expected, which the disk of \(name) needs; none found")
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
