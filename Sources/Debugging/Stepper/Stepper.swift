import FirmwareInfo
import OffloadDevice
import Registers
import Simulation
import Tracing

/// Carries out the stepper's commands on a timeline. It knows nothing of terminals: a command gives lines of text.
public final class Stepper {
    public let timeline: Timeline
    /// The hart that instructions, lines and calls are about.
    public internal(set) var hart = 0
    /// Blocks or registers to be seen, as they were named.
    public internal(set) var shown: [String] = []
    /// What the last search found.
    public internal(set) var found: TraceEvent?

    let firmware: DebugInformation?
    let decoder: TraceDecoder
    let formatter: TraceFormatter
    /// Lets a live device go on for so many cycles; nil for a recording that has ended.
    public var goOn: ((Cycle) throws(StepError) -> Void)?
    /// The panes of the place where they were computed last.
    var shownPanes: (position: Position, shown: [String], hart: Int, panes: StepperPanes)?
    /// Values of the shown registers before the last move.
    var before: [ShownRegister] = []
    /// Reads the text of a source file; nil if it isn't there.
    let readSource: (String) -> [Substring]?

    /// - Parameters:
    ///   - firmware: the image's debug information, for lines and calls.
    ///   - symbols: of the same image, for filters.
    ///   - readSource: the lines of a source file, by the name that the debug information has.
    public init(
        _ timeline: Timeline, firmware: DebugInformation?, symbols: (any TraceSymbols)?, usesColour: Bool = false,
        readSource: @escaping (String) -> [Substring]? = { _ in nil }
    ) {
        self.timeline = timeline
        self.firmware = firmware
        self.readSource = readSource
        decoder = TraceDecoder(.device, catalogue: .device, maps: DeviceBus.allCases.map(\.map), symbols: symbols)
        formatter = TraceFormatter(decoder, usesColour: usesColour)
    }

    var frequency: UInt64 { timeline.device.description.clockHertz }

    /// Carries out a line.
    /// - Returns: what it prints; nil: the user wants to leave.
    public func perform(_ line: String) throws(StepError) -> [String]? {
        guard let command = try StepCommand.parse(line, frequency: frequency) else { return [] }
        return try perform(command)
    }

    public func perform(_ command: StepCommand) throws(StepError) -> [String]? {
        switch command {
        case .move(let direction, let goal, let count):
            return try moving { () throws(StepError) in
                for _ in 0..<count { try move(direction, goal) }
            }
        case .go(let cycles):
            guard let goOn else { throw StepError("continue: expected a live device, found a recording that has ended") }
            return try moving { () throws(StepError) in try goOn(cycles) }
        case .goto(let place):
            return try moving { () throws(StepError) in
                try attempt { () throws(TimelineError) in try timeline.go(to: place) }
            }
        case .who(let name):
            _ = try location(name)
            return try moving { () throws(StepError) in try search(.previous, "write and changed(\(name))", includesPresent: true) }
        case .registers(let names): return try registers(names)
        case .show(let names):
            for name in names { _ = try shownRegisters(name) }
            shown = names
            before = try shownValues()
            return try registers([])
        case .backtrace: return backtrace()
        case .source: return source(context: 3)
        case .queues: return queues()
        case .info: return info()
        case .checkpoints: return timeline.checkpointPlaces.map(\.description)
        case .events(let count, let text): return try lastEvents(count, text.map(filter(_:))).map(formatter.line)
        case .hart(let number):
            guard timeline.device.harts.indices.contains(number) else {
                throw StepError("hart: 0 to \(timeline.device.harts.count - 1) expected, \(number) found")
            }
            hart = number
            return [place]
        case .help: return StepCommand.helpText.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        case .quit: return nil
        }
    }

    /// Moves, and tells where that led.
    private func moving(_ body: () throws(StepError) -> Void) throws(StepError) -> [String] {
        found = nil
        before = try shownValues()
        try body()
        return [found.map(formatter.line), place].compactMap { $0 } + (try shown.isEmpty ? [] : registers([]))
    }

    // MARK: Moving

    private func move(_ direction: StepCommand.Direction, _ goal: StepCommand.Goal) throws(StepError) {
        switch goal {
        case .instruction:
            let isDone = try attempt { () throws(TimelineError) in
                direction == .next ? try timeline.step(hart: hart) : try timeline.stepBack(hart: hart)
            }
            if !isDone { throw StepError("no \(direction.rawValue) instruction of hart \(hart) in the recording: \(place)") }
        case .line: try stepLine(direction)
        case .function(let name):
            let addresses = try self.addresses(name)
            let finding = try find(direction, TimelineSearch(breakpoints: addresses))
            guard case .stop(let stop)? = finding?.cause else { throw none(direction, "'\(name)'") }
            hart = stop.hart
        case .event(let filter): try search(direction, filter)
        }
    }

    private func search(_ direction: StepCommand.Direction, _ text: String, includesPresent: Bool = false) throws(StepError) {
        let filter = try filter(text)
        let finding = try find(direction, TimelineSearch(event: filter.matches), includesPresent: includesPresent)
        guard case .event(let event)? = finding?.cause else { throw none(direction, "event with \(text)") }
        found = event
        if event.initiator.kind == .hart { hart = event.initiator.number }
    }

    private func filter(_ text: String) throws(StepError) -> TraceFilter {
        do throws(FilterError) {
            return try TraceFilter(text, decoder, frequency: frequency)
        } catch {
            throw StepError(error.description)
        }
    }

    private func find(
        _ direction: StepCommand.Direction, _ search: TimelineSearch, includesPresent: Bool = false
    ) throws(StepError) -> TimelineFinding? {
        try attempt { () throws(TimelineError) in
            direction == .next ? try timeline.findNext(search) : try timeline.findPrevious(search, includesPresent: includesPresent)
        }
    }

    private func none(_ direction: StepCommand.Direction, _ what: String) -> StepError {
        StepError("no \(direction.rawValue) \(what) in the recording: \(place)")
    }

    /// Goes on to where another line begins, or back to where the line before began.
    private func stepLine(_ direction: StepCommand.Direction) throws(StepError) {
        guard let firmware else { throw StepError("lines are known only with the firmware's image: --firmware") }
        func line() -> SourceLine? { firmware.source(of: timeline.device.harts[hart].pc) }
        func step() throws(StepError) {
            guard try attempt({ () throws(TimelineError) in
                direction == .next ? try timeline.step(hart: hart) : try timeline.stepBack(hart: hart)
            }) else { throw StepError("no \(direction.rawValue) line of hart \(hart) in the recording: \(place)") }
        }
        let start = line()
        repeat { try step() } while line() == start || line() == nil
        guard direction == .previous else { return }
        // To where that line began.
        let found = line()
        while line() == found {
            let place = timeline.position
            guard try attempt({ () throws(TimelineError) in try timeline.stepBack(hart: hart) }) else { return }
            if line() != found { return try attempt { () throws(TimelineError) in try timeline.go(to: place) } }
        }
    }

    /// The addresses at which functions of a name begin, or the address itself.
    private func addresses(_ name: String) throws(StepError) -> Set<UInt32> {
        if name.hasPrefix("0x"), let address = UInt32(name.dropFirst(2), radix: 16) { return [address] }
        guard let firmware else { throw StepError("functions are known only with the firmware's image: --firmware") }
        let found = firmware.functions(named: name).compactMap(\.ranges.first?.lowerBound)
        guard !found.isEmpty else { throw StepError("the firmware has no function '\(name)'") }
        return Set(found)
    }

    func attempt<Result>(_ body: () throws(TimelineError) -> Result) throws(StepError) -> Result {
        do throws(TimelineError) {
            return try body()
        } catch {
            throw StepError("\(error)")
        }
    }
}
