import ArgumentParser
import Tracing

struct TraceSum: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "summary",
        abstract: "Count events by class, initiator, register, line, function and queue, and rank what went wrong.",
        discussion: """
            Registers by accesses and by cycles waited; interrupts; DMA bytes; latencies of virtqueues; faults and accesses to what is \
            unmapped or reserved, once for each place and program counter. Example: outrigger trace summary run.ctf 'initiator == hart'
            """)

    @Argument(help: "The trace's folder.", completion: .directory)
    var folder: String

    @OptionGroup var options: TraceFilterOptions

    @Option(help: "At most so many rows in each ranking.")
    var top: Int = 20

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard top >= 0 else { throw ValidationError("--top: 0 or more expected, \(top) found") }
    }

    func run() throws {
        var trace = try OpenTrace(folder, options)
        var summary = TraceSummary(trace.decoder, frequency: trace.reader.frequency)
        while let event = try trace.next() { summary.add(event) }
        print(json ? summary.json(top: top) + "\n" : summary.text(top: top), terminator: "")
    }
}

struct TraceCompare: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Find the first event in which two traces differ.",
        discussion: """
            Compares everything about each event but the process ids of host programs, which differ from run to run. The exit code is 0 \
            when the traces are the same, 1 when they differ, 2 when they can't be compared.
            Example: outrigger trace diff monday.ctf tuesday.ctf 'initiator == hart'
            """)

    @Argument(help: "A trace's folder.", completion: .directory)
    var first: String

    @Argument(help: "Another's.", completion: .directory)
    var second: String

    @OptionGroup var options: TraceFilterOptions

    @Option(help: "So many events before and from the difference on.")
    var context: Int = 3

    @Flag(help: "Process ids matter, too.")
    var pids = false

    func validate() throws {
        guard (0...1_000_000).contains(context) else { throw ValidationError("--context: 0 to 1000000 expected, \(context) found") }
    }

    func run() throws {
        let isSame: Bool
        do {
            isSame = try compare()
        } catch {
            complain("\(error)")
            throw ExitCode(2)
        }
        if !isSame { throw ExitCode(1) }
    }

    /// Prints the first difference; whether there is none.
    private func compare() throws -> Bool {
        var a = try OpenTrace(first, options), b = try OpenTrace(second, options)
        let diff = TraceDiff(a.decoder, b.decoder, comparesProcesses: pids)
        let (divergence, common) = try diff.compare(
            { () throws(TraceError) in try a.next() }, { () throws(TraceError) in try b.next() }, context: context)
        guard let divergence else {
            print("the same: \(common) events")
            return true
        }
        print("\(common) events are the same, then:")
        let ofFirst = TraceFormatter(a.decoder, usesColour: outputTakesColour)
        let ofSecond = TraceFormatter(b.decoder, usesColour: outputTakesColour)
        for event in divergence.before { print("  " + ofFirst.line(event)) }
        for (sign, events, formatter) in [("-", divergence.first, ofFirst), ("+", divergence.second, ofSecond)] {
            if events.isEmpty { print("\(sign) the end") }
            for event in events { print("\(sign) " + formatter.line(event)) }
        }
        return false
    }
}
