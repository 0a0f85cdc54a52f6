import Registers
import Simulation

/// A command of the stepper: docs/stepping.md. Words may be shortened as long as they are the only ones that begin so.
public enum StepCommand: Equatable, Sendable {
    public enum Direction: String, Sendable { case next, previous }

    /// Where to go.
    public enum Goal: Equatable, Sendable {
        case instruction
        case line
        /// An instruction, by its address or by the name of the function that it begins.
        case function(String)
        /// An event for which a filter expression holds.
        case event(filter: String)
    }

    public enum Place: Equatable, Sendable {
        case start, end
        case cycle(Cycle)
        /// So many cycles on, or back.
        case on(Cycle), back(Cycle)
    }

    case move(Direction, Goal, count: Int)
    case goto(Place)
    /// A live device goes on for so many cycles.
    case go(Cycle)
    /// The last write that changed a register or a field.
    case who(String)
    case registers([String])
    case backtrace, source, queues, info, checkpoints
    /// The last events, or the last for which a filter expression holds.
    case events(count: Int, filter: String?)
    case hart(Int)
    case show([String])
    case help
    case quit

    /// - Parameter frequency: cycles per second, for times with a unit.
    /// - Returns: nil for an empty line.
    public static func parse(_ line: String, frequency: UInt64) throws(StepError) -> StepCommand? {
        let words = line.split { $0 == " " || $0 == "\t" }.map(String.init)
        guard let first = words.first, !first.hasPrefix("#") else { return nil }
        let rest = Array(words.dropFirst())
        let name = try complete(first, among: names, "command")
        func alone(_ command: StepCommand) throws(StepError) -> StepCommand {
            guard rest.isEmpty else { throw StepError("\(name): nothing more expected, '\(rest[0])' found") }
            return command
        }
        switch name {
        case "next", "previous":
            let direction: Direction = name == "next" ? .next : .previous
            let (goal, count) = try goal(rest, of: line, name)
            return .move(direction, goal, count: count)
        case "goto":
            guard rest.count == 1 else { throw StepError("goto: \(Place.forms) expected") }
            do throws(StepError) {
                return .goto(try Place(rest[0], frequency: frequency))
            } catch {
                throw StepError("goto: \(error)")
            }
        case "continue":
            guard rest.count == 1, let cycles = cycles(rest[0][...], frequency) else {
                throw StepError("continue: a number of cycles, or a time with a unit (10us), expected")
            }
            return .go(cycles)
        case "who":
            guard rest.count == 1 else { throw StepError("who: a register or a field expected") }
            return .who(rest[0])
        case "regs": return .registers(rest)
        case "show": return .show(rest)
        case "events":
            let number = rest.first.flatMap { Int($0) }, what = Array(rest.dropFirst(number == nil ? 0 : 1))
            guard (1...10_000).contains(number ?? 10) else {
                throw StepError("events: a number from 1 to 10000 expected, '\(rest[0])' found")
            }
            guard !what.isEmpty else { return .events(count: number ?? 10, filter: nil) }
            guard case .event(let filter) = try goal(what, of: line, name).0 else {
                throw StepError("events: an event expected, '\(what[0])' found")
            }
            return .events(count: number ?? 10, filter: filter)
        case "hart":
            guard rest.count == 1, let hart = Int(rest[0]) else { throw StepError("hart: a hart's number expected") }
            return .hart(hart)
        case "backtrace": return try alone(.backtrace)
        case "source": return try alone(.source)
        case "queues": return try alone(.queues)
        case "info": return try alone(.info)
        case "checkpoints": return try alone(.checkpoints)
        case "help": return try alone(.help)
        default: return try alone(.quit)
        }
    }

    static let names = [
        "next", "previous", "goto", "continue", "who", "regs", "backtrace", "source", "queues", "events", "info", "checkpoints", "hart",
        "show", "help", "quit",
    ]

    /// What `next` and `previous` are about. What isn't one of the stepper's own words is a filter expression.
    private static func goal(_ words: [String], of line: String, _ command: String) throws(StepError) -> (Goal, Int) {
        guard let word = words.first else { return (.event(filter: "access"), 1) }
        let arguments = Array(words.dropFirst())
        func counted(_ goal: Goal) throws(StepError) -> (Goal, Int) {
            guard arguments.count <= 1, let count = arguments.first.map(Int.init) ?? 1, count >= 1 else {
                throw StepError("\(command) \(word): a number of times expected, '\(arguments.joined(separator: " "))' found")
            }
            return (goal, count)
        }
        switch word {
        case "instruction", "i": return try counted(.instruction)
        case "line", "l": return try counted(.line)
        case "function", "f":
            guard arguments.count == 1 else { throw StepError("\(command) function: one name or address expected") }
            return (.function(arguments[0]), 1)
        case "write" where isPlace(arguments.first), "read" where isPlace(arguments.first):
            return (.event(filter: "\(word) and " + arguments.joined(separator: " ")), 1)
        case "change" where isPlace(arguments.first):
            return (.event(filter: (["changed(\(arguments[0]))"] + arguments.dropFirst()).joined(separator: " ")), 1)
        default:
            return (.event(filter: words.joined(separator: " ")), 1)
        }
    }

    private static func isPlace(_ word: String?) -> Bool { word.map { $0 != "and" && $0 != "or" } ?? false }

    /// `1200`, `0x4b0`, `10us`.
    fileprivate static func cycles(_ text: Substring, _ frequency: UInt64) -> Cycle? {
        if text.hasPrefix("0x") { return Cycle(text.dropFirst(2), radix: 16) }
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = Cycle(digits) else { return nil }
        let perSecond: UInt64? = switch text.dropFirst(digits.count) {
        case "", "cycles": nil
        case "ns": 1_000_000_000
        case "us": 1_000_000
        case "ms": 1000
        case "s": 1
        default: 0
        }
        guard let perSecond else { return number }
        guard perSecond > 0 else { return nil }
        let product = number.multipliedFullWidth(by: frequency)
        return product.high < perSecond ? perSecond.dividingFullWidth(product).quotient : nil
    }

    /// The one of the names that begins so.
    static func complete(_ word: String, among names: [String], _ kind: String) throws(StepError) -> String {
        if names.contains(word) { return word }
        let candidates = names.filter { $0.hasPrefix(word) }
        if candidates.count == 1 { return candidates[0] }
        // The commonest have the first letters.
        if let short = ["n": "next", "p": "previous", "s": "source", "h": "help", "q": "quit"][word] { return short }
        throw StepError("unknown \(kind) '\(word)': expected one of \((candidates.isEmpty ? names : candidates).joined(separator: ", "))")
    }

    /// What `help` prints.
    public static let helpText = """
        next WHAT          go on to the next, or back to the previous
        previous WHAT        access | read | write | interrupt | dma | queue | log | fault   an event of this kind
                             write PLACE | read PLACE    an access to a block, a register or a field, and what follows:
                                                         write WDT.CTRL and new(WDT.CTRL.enable) == 1
                             change PLACE                an access that changes it
                             EXPRESSION                  an event for which a filter expression holds (docs/tracing.md)
                             function NAME | ADDRESS     an instruction
                             instruction [N] | line [N]  of the present hart
        goto PLACE         start | end | CYCLE | +CYCLES | -CYCLES; times with a unit too: goto 3ms, goto -10us
        continue CYCLES    lets a live device go on from the present
        who PLACE          the last write that changed a register or a field
        regs [NAME...]     registers, decoded; without names those of `show`, with what changed
        backtrace, source  where the hart is, and how it came there
        queues, info       the virtqueues; the present place
        checkpoints        the places from which going back begins
        events [N] [WHAT]  the last N events, or the last N of a kind
        hart N             the hart that instructions and lines are about
        show [NAME...]     blocks or registers to be seen after every move
        help, quit

        """
}

extension StepCommand.Place {
    static let forms = "start, end, CYCLE, +CYCLES or -CYCLES"

    /// `start`, `end`, `1200`, `+0x4b0`, `-10us`.
    public init(_ text: String, frequency: UInt64) throws(StepError) {
        let sign = text.first { $0 == "+" || $0 == "-" }
        if text == "start" || text == "end" {
            self = text == "start" ? .start : .end
        } else if let cycles = StepCommand.cycles(text.drop { $0 == "+" || $0 == "-" }, frequency) {
            self = sign == "+" ? .on(cycles) : sign == "-" ? .back(cycles) : .cycle(cycles)
        } else {
            throw StepError("\(Self.forms), or times with a unit (10us), expected, '\(text)' found")
        }
    }
}

/// What is wrong with a command, or why it can't be carried out.
public struct StepError: Error, Equatable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
