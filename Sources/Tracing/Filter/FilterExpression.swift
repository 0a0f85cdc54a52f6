/// What a filter asks of an access, as parsed. ``description`` prints it so that parsing gives the same expression again.
///
///     expression = conjunction { "or" conjunction }
///     conjunction = condition { "and" condition }
///     condition  = "not" condition | "(" expression ")" | "read" | "write" | "fault"
///                | PLACE | "changed" "(" PLACE ")"
///                | ("initiator" | "status") ("==" | "!=") NAME
///                | "pc" "in" FUNCTION
///                | quantity comparison literal | quantity "in" literal ".." literal
///     quantity   = "time" | "wait" | "pc" | "pid" | "size" | "address" | "old" | "new" | PLACE | "old" "(" PLACE ")" | "new" "(" PLACE ")"
///     comparison = "==" | "!=" | "<" | "<=" | ">" | ">="
///     literal    = NUMBER [ "cycles" | "ns" | "us" | "ms" | "s" ] | NAME of a field's value
///
/// A PLACE is a block, a register or a field: `WA`, `WA.CTRL`, `WA.VM[3].READS`, `WA.CTRL.enable`. Alone it stands for any access to it.
public indirect enum FilterExpression: Equatable, Sendable {
    /// Of two expressions or more.
    case or([FilterExpression])
    /// Of two expressions or more.
    case and([FilterExpression])
    case not(FilterExpression)
    case read
    case write
    /// Any status but `ok`.
    case fault
    case accesses(FilterName)
    /// An access after which the place's value is another than before it.
    case changed(FilterName)
    case initiator(FilterName, isEqual: Bool)
    case status(FilterName, isEqual: Bool)
    /// The program counter is in this function.
    case function(FilterName)
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

/// A number that an access has; some accesses lack it, and then no comparison with it holds.
public enum FilterQuantity: Equatable, Sendable {
    /// Of every access: the cycle of issue, cycles until it came back, bytes.
    case time, wait, size
    /// Of accesses by harts, of accesses by host programs.
    case pc, pid
    /// On its bus.
    case address
    /// The value before and after the access; before: of registers only.
    case old, new
    /// The value of a register or a field, before and after the access.
    case oldOf(FilterName), newOf(FilterName)
}

public enum FilterComparison: String, Equatable, Sendable, CaseIterable {
    case equal = "==", notEqual = "!=", lessOrEqual = "<=", less = "<", greaterOrEqual = ">=", greater = ">"
}

/// What a quantity is compared with.
public enum FilterLiteral: Equatable, Sendable {
    case number(UInt64)
    case duration(UInt64, FilterUnit)
    /// A named value of a field, `periodic`.
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
        case .read: "read"
        case .write: "write"
        case .fault: "fault"
        case .accesses(let place): place.text
        case .changed(let place): "changed(\(place.text))"
        case .initiator(let name, let isEqual): "initiator \(isEqual ? "==" : "!=") \(name.text)"
        case .status(let name, let isEqual): "status \(isEqual ? "==" : "!=") \(name.text)"
        case .function(let name): "pc in \(name.text)"
        case .compare(let quantity, let comparison, let literal): "\(quantity) \(comparison.rawValue) \(literal)"
        case .range(let quantity, let low, let high): "\(quantity) in \(low)..\(high)"
        }
    }

    private var isDisjunction: Bool { if case .or = self { true } else { false } }
    private var isConjunction: Bool { if case .and = self { true } else { false } }
}

extension FilterQuantity: CustomStringConvertible {
    public var description: String {
        switch self {
        case .time: "time"
        case .wait: "wait"
        case .size: "size"
        case .pc: "pc"
        case .pid: "pid"
        case .address: "address"
        case .old: "old"
        case .new: "new"
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
        case .name(let name): name.text
        }
    }
}
