import ArgumentParser
import Tracing

/// Which events a command is about: an expression, and options that are shorthand for parts of one.
struct TraceFilterOptions: ParsableArguments {
    @Argument(help: "Only events for which this expression holds, e.g. 'WA.CTRL.enable == 1 and time < 2ms'.")
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

    @Flag(help: "fault: only what went wrong.")
    var faults = false

    @Flag(inversion: .prefixedNo, help: "write, or read: only accesses and transfers of that direction.")
    var writes: Bool?

    @Option(
        help: ArgumentHelp("The firmware's ELF file, for functions, pc in NAME, and for the firmware's records.", valueName: "elf"),
        completion: .file())
    var firmware: String?

    /// The expression and the options as one expression; nil when there are none.
    var text: String? {
        var conditions: [[String]] = []
        if let expression { conditions.append([expression]) }
        // In upper case a block is none of the grammar's words.
        conditions.append(block.map { $0.uppercased() } + register + field.map { "changed(\($0))" })
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
        return try TraceFilter(text, decoder, frequency: frequency)
    }

    /// What the firmware image says, if one was given.
    func symbols() throws -> FirmwareSymbols? { try firmware.map { FirmwareSymbols(try FirmwareFile.information($0)) } }
}
