import ArgumentParser
import RISCV
import Tracing

/// Which accesses a command is about: an expression, and options that are shorthand for parts of one.
struct TraceFilterOptions: ParsableArguments {
    @Argument(help: "Only accesses for which this expression holds, e.g. 'WA.CTRL.enable == 1 and time < 2ms'.")
    var expression: String?

    @Option(help: "Only accesses to this block; may be repeated to widen.")
    var block: [String] = []

    @Option(help: "Only this register, BLOCK.REGISTER or BLOCK.REGISTER[INDEX]; may be repeated to widen.")
    var register: [String] = []

    @Option(help: "changed(FIELD): only accesses that change this field, BLOCK.REGISTER.FIELD; may be repeated to widen.")
    var field: [String] = []

    @Option(help: "initiator == NAME: hart0, host1, ... or a kind, hart, host; may be repeated to widen.")
    var initiator: [String] = []

    @Option(help: "time >= TIME: a device cycle, or a time with a unit, 10us.")
    var since: String?

    @Option(help: "time <= TIME.")
    var until: String?

    @Flag(help: "fault: only accesses that failed.")
    var faults = false

    @Flag(inversion: .prefixedNo, help: "write, or read: only those.")
    var writes: Bool?

    @Option(help: ArgumentHelp("The firmware's ELF file, for filters on functions: pc in NAME.", valueName: "elf"), completion: .file())
    var firmware: String?

    /// The expression and the options as one expression; nil when there are none.
    var text: String? {
        var conditions: [[String]] = []
        if let expression { conditions.append([expression]) }
        conditions.append(block + register + field.map { "changed(\($0))" })
        conditions.append(initiator.map { "initiator == \($0)" })
        if let since { conditions.append(["time >= \(since)"]) }
        if let until { conditions.append(["time <= \(until)"]) }
        if faults { conditions.append(["fault"]) }
        if let writes { conditions.append([writes ? "write" : "read"]) }
        let alternatives = conditions.filter { !$0.isEmpty }.map { $0.joined(separator: " or ") }
        if alternatives.count <= 1 { return alternatives.first }
        return alternatives.map { "(\($0))" }.joined(separator: " and ")
    }

    func filter(for decoder: TraceDecoder, frequency: UInt64) throws -> TraceFilter {
        guard let text else { return TraceFilter(decoder) }
        let image = try firmware.map { try ELFImage(file: $0) }
        return try TraceFilter(text, decoder, frequency: frequency, functions: image.map { image in { image.functions(named: $0) } })
    }
}

extension ELFImage {
    fileprivate init(file path: String) throws {
        do {
            self = try ELFImage(try Run.contents(of: path))
        } catch let error as ELFError {
            throw UsageError("\(path): \(error)")
        }
    }

    /// Where the code of a function is. Swift's own names work too: they are part of the linker's name, after their length.
    fileprivate func functions(named name: String) -> [ClosedRange<UInt32>] {
        let functions = symbols.filter { $0.isFunction && $0.size > 0 }
        let exact = functions.filter { $0.name == name }
        let mangled = "\(name.utf8.count)\(name)"
        let swift = functions.filter { function in
            // The digits must be all of the length: `9addWindow` isn't in `19addWindowAndThenMore`.
            function.name.hasPrefix("$") && function.name.ranges(of: mangled).contains { range in
                function.name[..<range.lowerBound].last?.isNumber != true
            }
        }
        return (exact.isEmpty ? swift : exact)
            .map { $0.address...($0.address + min($0.size - 1, .max - $0.address)) }
    }
}
