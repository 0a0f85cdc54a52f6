/// What a filter asks of an event, as parsed. ``description`` prints it so that parsing gives the same expression again.
///
///     expression  = conjunction { "or" conjunction }
///     conjunction = condition { "and" condition }
///     condition   = "not" condition | "(" expression ")"
///                 | "access" | "interrupt" | "dma" | "queue" | "log" | "fault" | "read" | "write"
///                 | PLACE | "changed" "(" PLACE ")"
///                 | attribute ( "==" | "!=" ) name
///                 | "pc" "in" name | "text" "contains" STRING
///                 | quantity comparison literal | quantity "in" literal ".." literal
///     attribute   = "initiator" | "status" | "line" | "step" | "kind" | "record"
///     quantity    = "time" | "wait" | "size" | "bytes" | "pc" | "pid" | "address" | "old" | "new" | "function" | "vector" | "level"
///                 | "cause" | "handler" | "queue" | "head" | "depth" | PLACE | "old" "(" PLACE ")" | "new" "(" PLACE ")"
///     comparison  = "==" | "!=" | "<" | "<=" | ">" | ">="
///     literal     = NUMBER [ "cycles" | "ns" | "us" | "ms" | "s" ] | name
///     name        = WORD | STRING
///
/// A PLACE is a block, a register or a field: `WA`, `WA.CTRL`, `WA.VM[3].READS`, `WA.CTRL.enable`. Alone it stands for any access to it.
/// A STRING is in quotation marks, with `\` before a quotation mark or a backslash.
public indirect enum FilterExpression: Equatable, Sendable {
    /// Of two expressions or more.
    case or([FilterExpression])
    /// Of two expressions or more.
    case and([FilterExpression])
    case not(FilterExpression)
    /// Events of this class; not ``TraceClass/fault``.
    case kind(TraceClass)
    /// The direction of an access or a transfer.
    case read
    case write
    /// Something went wrong: a fault, or an access or a transfer with any status but `ok`.
    case fault
    case accesses(FilterName)
    /// An access after which the place's value is another than before it.
    case changed(FilterName)
    case attribute(FilterAttribute, FilterName, isEqual: Bool)
    /// The program counter is in this function.
    case function(FilterName)
    /// What the firmware printed, or the name of a fault or of a record, contains this.
    case text(String)
    case compare(FilterQuantity, FilterComparison, FilterLiteral)
    /// From the first to the second, both included.
    case range(FilterQuantity, FilterLiteral, FilterLiteral)
}

/// A name in an expression and the column, from 0, at which it stands. The column is for messages: it makes no difference to equality.
public struct FilterName: Equatable, Sendable {
    public let text: String
    public let column: Int

    public init(_ text: String, column: Int = 0) {
        self.text = text; self.column = column
    }

    public static func == (a: FilterName, b: FilterName) -> Bool { a.text == b.text }
}

/// What of an event has a name. Events that lack it are neither equal nor unequal to any.
public enum FilterAttribute: String, Equatable, Sendable, CaseIterable {
    /// Of every event: who caused it.
    case initiator
    /// Of accesses and transfers.
    case status
    /// Of changes of an interrupt line.
    case line
    /// Of interrupts and of virtqueues: the leg or step of the way.
    case step
    /// Of faults.
    case kind
    /// Of records of the firmware: their kind.
    case record
}

/// A number that an event has; some events lack it, and then no comparison with it holds.
public enum FilterQuantity: Equatable, Sendable {
    /// Of every event: device cycle.
    case time
    /// Of accesses: cycles until they came back, bytes.
    case wait, size
    /// Of transfers and of requests of virtqueues.
    case bytes
    /// Of harts; of host programs.
    case pc, pid
    /// Of accesses, on their bus; of transfers and faults.
    case address
    /// The value before and after the access; before: of registers only.
    case old, new
    /// PCI function index: of what functions do, and of accesses by host programs.
    case function
    /// Of messages; of lines; of traps, as in `mcause`, and where their handlers are.
    case vector, level, cause, handler
    /// Of virtqueues.
    case queue, head, depth
    /// The value of a register or a field, before and after the access.
    case oldOf(FilterName), newOf(FilterName)

    /// All that are called by a word.
    static let words: [FilterQuantity] = [
        .time, .wait, .size, .bytes, .pc, .pid, .address, .old, .new, .function, .vector, .level, .cause, .handler, .queue, .head, .depth,
    ]

    /// A time, which may have a unit.
    var isTime: Bool { self == .time || self == .wait }
}

public enum FilterComparison: String, Equatable, Sendable, CaseIterable {
    case equal = "==", notEqual = "!=", lessOrEqual = "<=", less = "<", greaterOrEqual = ">=", greater = ">"
}

/// What a quantity is compared with.
public enum FilterLiteral: Equatable, Sendable {
    case number(UInt64)
    case duration(UInt64, FilterUnit)
    /// A named value of a field, `periodic`, or of a trap's cause.
    case name(FilterName)
}

/// Units of time. A bare number is in cycles, too.
public enum FilterUnit: String, Equatable, Sendable, CaseIterable {
    case cycles, ns, us, ms, s

    /// How many of them make a second; nil for cycles.
    var perSecond: UInt64? {
        switch self {
        case .cycles: nil
        case .ns: 1_000_000_000
        case .us: 1_000_000
        case .ms: 1_000
        case .s: 1
        }
    }
}

/// A filter that can't be understood, and where.
public struct FilterError: Error, Equatable, Sendable, CustomStringConvertible {
    public let message: String
    public let expression: String
    /// From 0.
    public let column: Int

    /// The message, the expression, and a caret below the column.
    public var description: String {
        let caret = String(repeating: " ", count: column) + "^"
        return "filter, column \(column + 1): \(message)\n  \(expression)\n  \(caret)"
    }
}

extension FilterExpression: CustomStringConvertible {
    public var description: String {
        switch self {
        case .or(let parts): parts.map { $0.isDisjunction ? "(\($0))" : "\($0)" }.joined(separator: " or ")
        case .and(let parts): parts.map { $0.isDisjunction || $0.isConjunction ? "(\($0))" : "\($0)" }.joined(separator: " and ")
        case .not(let inner): "not " + (inner.isDisjunction || inner.isConjunction ? "(\(inner))" : "\(inner)")
        case .kind(let kind): kind.rawValue
        case .read: "read"
        case .write: "write"
        case .fault: "fault"
        case .accesses(let place): place.text
        case .changed(let place): "changed(\(place.text))"
        case .attribute(let attribute, let name, let isEqual): "\(attribute) \(isEqual ? "==" : "!=") \(name)"
        case .function(let name): "pc in \(name)"
        case .text(let text): "text contains \(FilterName.quoted(text))"
        case .compare(let quantity, let comparison, let literal): "\(quantity) \(comparison.rawValue) \(literal)"
        case .range(let quantity, let low, let high): "\(quantity) in \(low)..\(high)"
        }
    }

    private var isDisjunction: Bool { if case .or = self { true } else { false } }
    private var isConjunction: Bool { if case .and = self { true } else { false } }
}

extension FilterName: CustomStringConvertible {
    /// As a word where it can be one, otherwise as a string.
    public var description: String { FilterLexer.isWord(text) ? text : Self.quoted(text) }

    static func quoted(_ text: String) -> String {
        var quoted = "\""
        for character in text.unicodeScalars {
            if character == "\"" || character == "\\" { quoted += "\\" }
            quoted.unicodeScalars.append(character)
        }
        return quoted + "\""
    }
}

extension FilterQuantity: CustomStringConvertible {
    public var description: String {
        switch self {
        case .time: "time"
        case .wait: "wait"
        case .size: "size"
        case .bytes: "bytes"
        case .pc: "pc"
        case .pid: "pid"
        case .address: "address"
        case .old: "old"
        case .new: "new"
        case .function: "function"
        case .vector: "vector"
        case .level: "level"
        case .cause: "cause"
        case .handler: "handler"
        case .queue: "queue"
        case .head: "head"
        case .depth: "depth"
        case .oldOf(let place): "old(\(place.text))"
        case .newOf(let place): place.text
        }
    }
}

extension FilterLiteral: CustomStringConvertible {
    public var description: String {
        switch self {
        case .number(let value): String(value)
        case .duration(let amount, let unit): "\(amount)\(unit.rawValue)"
        case .name(let name): "\(name)"
        }
    }
}
