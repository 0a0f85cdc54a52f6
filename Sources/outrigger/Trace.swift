import ArgumentParser
import Glibc
import OffloadDevice
import Tracing

struct Trace: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a recorded register trace.",
        discussion: """
            Shows each access with its device cycle, initiator, program counter or process, register, old and new value and the fields \
            that changed. Filters of one kind widen each other, those of different kinds narrow. The trace is in Common Trace \
            Format 1.8: babeltrace2 reads it too. Example: outrigger trace run.ctf --block WA --initiator hart0
            """)

    @Argument(help: "The trace's folder.", completion: .directory)
    var folder: String

    @Option(help: "Only registers of this block; may be repeated.")
    var block: [String] = []

    @Option(help: "Only this register, BLOCK.REGISTER or BLOCK.REGISTER[INDEX]; may be repeated.")
    var register: [String] = []

    @Option(help: "Only accesses that change this field, BLOCK.REGISTER.FIELD; may be repeated.")
    var field: [String] = []

    @Option(help: "Only this initiator (hart0, host1, ...) or kind of initiator (hart, host); may be repeated.")
    var initiator: [String] = []

    @Option(help: "Only from this device cycle on.")
    var since: UInt64 = 0

    @Option(help: "Only up to this device cycle.")
    var until: UInt64 = .max

    @Flag(help: "Only accesses that failed.")
    var faults = false

    @Flag(inversion: .prefixedNo, help: "Only writes, or only reads.")
    var writes: Bool?

    @Option(help: "At most so many lines.")
    var limit: Int = .max

    @Flag(help: "Print one JSON object a line.")
    var json = false

    func run() throws {
        var filter = TraceFilter()
        (filter.blocks, filter.registers, filter.fields, filter.initiators) = (block, register, field, initiator)
        (filter.since, filter.until, filter.onlyFaults, filter.isWrite) = (since, until, faults, writes)
        var reader = try TraceReader(folder: folder)
        let decoder = try TraceDecoder(reader, catalogue: .device, maps: DeviceBus.allCases.map(\.map), filter: filter)
        let formatter = TraceFormatter(decoder, usesColour: outputTakesColour && !json)
        // A pipe that is closed early (head) ends the program as it does other tools.
        signal(SIGPIPE, SIG_DFL)
        var printed = 0
        while printed < limit, let event = try reader.next() {
            guard decoder.wants(event) else { continue }
            print(json ? formatter.json(event) : formatter.line(event))
            printed += 1
        }
        for note in reader.notes { complain(note) }
    }
}
