import ArgumentParser
import Glibc
import OffloadDevice
import Tracing

struct Trace: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show, sum up, compare and convert recorded traces.",
        discussion: """
            A trace is recorded by 'outrigger run --trace'. It is in Common Trace Format 1.8: babeltrace2 reads it too. Every command \
            takes a filter expression after the trace; docs/tracing.md has the grammar. Without a command: print.
            Example: outrigger trace run.ctf 'changed(WDT.CTRL.enable) or fault'
            """,
        subcommands: [TracePrint.self, TraceSum.self, TraceCompare.self, TraceExport.self],
        defaultSubcommand: TracePrint.self)
}

/// A trace that is open, and what of it to show.
struct OpenTrace {
    var reader: TraceReader
    let decoder: TraceDecoder
    let filter: TraceFilter
    /// Notes of the reader that were passed on.
    private var told = 0

    init(_ folder: String, _ options: TraceFilterOptions) throws {
        reader = try TraceReader(folder: folder)
        decoder = TraceDecoder(reader.names, catalogue: .device, maps: DeviceBus.allCases.map(\.map), symbols: try options.symbols())
        filter = try options.filter(for: decoder, frequency: reader.frequency)
    }

    /// The next event that the filter lets through.
    mutating func next() throws(TraceError) -> TraceEvent? {
        while let event = try reader.next() {
            if filter.matches(event) { return event }
        }
        for note in reader.notes.dropFirst(told) { complain(note) }
        told = reader.notes.count
        return nil
    }
}

struct TracePrint: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "print",
        abstract: "Print the events, one a line.",
        discussion: """
            Shows each event with its device cycle, initiator, program counter or process, and what happened: accesses with register, old \
            and new value and the fields that changed, interrupts, DMA transfers, steps of virtqueues, faults, and what the firmware logs.
            Example: outrigger trace run.ctf 'WA and initiator == hart0 or interrupt'
            """)

    @Argument(help: "The trace's folder.", completion: .directory)
    var folder: String

    @OptionGroup var options: TraceFilterOptions

    @Option(help: "At most so many lines.")
    var limit: Int = .max

    @Flag(help: "Print one JSON object a line.")
    var json = false

    func run() throws {
        var trace = try OpenTrace(folder, options)
        let formatter = TraceFormatter(trace.decoder, usesColour: outputTakesColour && !json)
        // A pipe that is closed early (head) ends the program as it does other tools.
        signal(SIGPIPE, SIG_DFL)
        var printed = 0
        while printed < limit, let event = try trace.next() {
            print(json ? formatter.json(event) : formatter.line(event))
            printed += 1
        }
    }
}
