import ArgumentParser
import OffloadDevice
import Tracing

/// Whether a run is recorded, and what of it.
struct TraceOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Record all that happens, from power-on, into this folder.", valueName: "folder"), completion: .directory)
    var trace: String?

    @Option(help: ArgumentHelp("Record only events for which this holds: the filters of 'outrigger trace'.", valueName: "expression"))
    var traceFilter: String?

    @Option(help: ArgumentHelp("Begin with the first event for which this holds, and again after each end.", valueName: "expression"))
    var traceStart: String?

    @Option(help: ArgumentHelp("End with the first event for which this holds.", valueName: "expression"))
    var traceStop: String?

    @Option(help: ArgumentHelp("With --trace-start, keep so much of what was before, e.g. 16MiB.", valueName: "size"))
    var traceHistory: ByteSize?

    @Option(help: ArgumentHelp("Keep only the newest events, so much of them, e.g. 64MiB.", valueName: "size"))
    var traceLimit: ByteSize?

    func validate() throws {
        let smallest = TraceSelection.smallestLimit
        for (name, size) in [("--trace-history", traceHistory), ("--trace-limit", traceLimit)] {
            guard let size, size.bytes < smallest else { continue }
            throw ValidationError("\(name): \(smallest >> 20)MiB or more expected, \(size.text) found")
        }
        if traceHistory != nil, traceStart == nil { throw ValidationError("--trace-history: --trace-start expected with it, not found") }
        let isSelection = [traceFilter, traceStart, traceStop].contains { $0 != nil } || traceLimit != nil
        if trace == nil, isSelection { throw ValidationError("--trace expected with the other options of traces, not found") }
    }

    /// Begins the trace, if one is wanted.
    /// - Parameter firmware: the image, for filters on its functions and for the names of its records; nil where it isn't known.
    func start(on machine: Machine, firmware: String?) throws {
        guard let trace else { return }
        func symbols() throws -> FirmwareSymbols? { try firmware.map { FirmwareSymbols(try FirmwareFile.information($0)) } }
        // An image without debug information matters to filters alone.
        let hasFilters = [traceFilter, traceStart, traceStop].contains { $0 != nil }
        let known = hasFilters ? try symbols() : try? symbols()
        let decoder = TraceDecoder(.device, catalogue: .device, maps: DeviceBus.allCases.map(\.map), symbols: known)
        func filter(_ text: String?) throws -> TraceFilter? {
            try text.map { try TraceFilter($0, decoder, frequency: machine.description.clockHertz) }
        }
        var selection = TraceSelection()
        selection.filter = try filter(traceFilter)
        selection.start = try filter(traceStart)
        selection.stop = try filter(traceStop)
        selection.history = traceHistory?.bytes ?? 0
        selection.limit = traceLimit?.bytes
        try machine.startTrace(folder: trace, records: known?.recordKinds ?? [], selection)
    }
}

/// A number of bytes as people write it: `4096`, `64KiB`, `16MiB`, `2GiB`.
struct ByteSize: ExpressibleByArgument {
    let text: String
    let bytes: Int

    init?(argument text: String) {
        let units = ["KiB": 10, "MiB": 20, "GiB": 30]
        let digits = text.prefix { $0.isASCII && $0.isNumber }, unit = String(text.dropFirst(digits.count))
        guard let number = Int(digits), let shift = unit.isEmpty ? 0 : units[unit], number <= Int.max >> shift else { return nil }
        self.text = text
        bytes = number << shift
    }

    var defaultValueDescription: String { text }
}
