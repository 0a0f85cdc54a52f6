extension FilterExpression {
    /// - Throws: ``FilterError`` with the column of what isn't as the grammar wants it.
    public init(parsing text: String) throws(FilterError) {
        var lexer = FilterLexer(text)
        var parser = FilterParser(text: text, tokens: try lexer.tokens())
        self = try parser.parse()
    }
}

/// Recursive descent over the grammar of ``FilterExpression``.
struct FilterParser {
    let text: String
    let tokens: [FilterToken]
    private var position = 0
    /// Parentheses and `not` that are open: the parser's own stack is as deep.
    private var depth = 0
    private static let deepest = 200

    /// Words that can't be names of places. Names of blocks are found in any case: `READ` is a block, if there is one.
    static let keywords: Set<String> = Set(
        ["and", "or", "not", "in", "read", "write", "changed", "text"] + TraceClass.allCases.map(\.rawValue)
            + FilterAttribute.allCases.map(\.rawValue) + FilterQuantity.words.map(\.description))

    init(text: String, tokens: [FilterToken]) {
        self.text = text; self.tokens = tokens
    }

    mutating func parse() throws(FilterError) -> FilterExpression {
        let expression = try disjunction()
        guard current == .end else { throw unexpected("'and', 'or' or the end") }
        return expression
    }

    private mutating func disjunction() throws(FilterError) -> FilterExpression {
        var parts = [try conjunction()]
        while accept("or") { parts.append(try conjunction()) }
        return parts.count == 1 ? parts[0] : .or(parts)
    }

    private mutating func conjunction() throws(FilterError) -> FilterExpression {
        var parts = [try condition()]
        while accept("and") { parts.append(try condition()) }
        return parts.count == 1 ? parts[0] : .and(parts)
    }

    private mutating func condition() throws(FilterError) -> FilterExpression {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepest else { throw error("at most \(Self.deepest) open parentheses and negations expected") }
        if accept("not") { return .not(try condition()) }
        if current == .open {
            position += 1
            let inner = try disjunction()
            try expect(.close, "')', 'and' or 'or'")
            return inner
        }
        if accept("read") { return .read }
        if accept("write") { return .write }
        if accept("fault") { return .fault }
        if accept("changed") { return .changed(try placeInParentheses()) }
        if accept("text") {
            guard accept("contains") else { throw unexpected("'contains'") }
            guard case .string(let text) = current else { throw unexpected("text in quotation marks") }
            position += 1
            return .text(text)
        }
        for attribute in FilterAttribute.allCases where accept(attribute.rawValue) {
            let isEqual = try equality()
            return .attribute(attribute, try name("a name"), isEqual: isEqual)
        }
        // `queue` is both: alone a class of events, compared a quantity.
        for kind in TraceClass.allCases where current == .word(kind.rawValue) && (kind != .queue || !startsComparison(after: 1)) {
            position += 1
            return .kind(kind)
        }
        if accept("pc") { return acceptFunction() ? .function(try name("a function")) : try comparison(of: .pc) }
        if accept("old") { return try comparison(of: current == .open ? .oldOf(try placeInParentheses()) : .old) }
        if accept("new") { return try comparison(of: current == .open ? .newOf(try placeInParentheses()) : .new) }
        for quantity in FilterQuantity.words where accept(quantity.description) { return try comparison(of: quantity) }
        let place = try place(
            "a condition: a block, a register, a field, a quantity or an attribute to compare, a class of events, read, write, fault, "
                + "changed(...) or text contains \"...\"")
        return startsComparison(after: 0) ? try comparison(of: .newOf(place)) : .accesses(place)
    }

    /// Takes `in` if a name follows it rather than a number.
    private mutating func acceptFunction() -> Bool {
        guard current == .word("in") else { return false }
        switch tokens[position + 1].kind {
        case .string: break
        case .word(let word) where !Self.keywords.contains(word): break
        default: return false
        }
        position += 1
        return true
    }

    private func startsComparison(after count: Int) -> Bool {
        // The last token is the end, and `count` is at most 1 before it.
        let next = tokens[min(position + count, tokens.count - 1)].kind
        if case .comparison = next { return true }
        return next == .word("in")
    }

    private mutating func comparison(of quantity: FilterQuantity) throws(FilterError) -> FilterExpression {
        if accept("in") {
            let low = try literal(for: quantity)
            try expect(.upTo, "'..' and the end of the range")
            return .range(quantity, low, try literal(for: quantity))
        }
        guard case .comparison(let comparison) = current else {
            throw unexpected("\(FilterComparison.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")) or 'in'")
        }
        position += 1
        return .compare(quantity, comparison, try literal(for: quantity))
    }

    private mutating func literal(for quantity: FilterQuantity) throws(FilterError) -> FilterLiteral {
        if case .number(let value, let unit) = current {
            guard let unit else {
                position += 1
                return .number(value)
            }
            guard quantity.isTime else { throw error("a number without a unit expected: \(quantity) is no time") }
            position += 1
            return .duration(value, unit)
        }
        switch quantity {
        case .oldOf, .newOf: return .name(try name("a number or the name of a field's value"))
        case .cause: return .name(try name("a number or the name of a cause"))
        case .time, .wait: throw unexpected("a number of cycles, or one with a unit")
        case .pc where isPlace: throw error("a number expected; for a function: pc in NAME")
        default: throw unexpected("a number")
        }
    }

    private mutating func placeInParentheses() throws(FilterError) -> FilterName {
        try expect(.open, "'('")
        let place = try place("a register or a field")
        try expect(.close, "')'")
        return place
    }

    private mutating func equality() throws(FilterError) -> Bool {
        guard case .comparison(let comparison) = current, comparison == .equal || comparison == .notEqual else {
            throw unexpected("'==' or '!='")
        }
        position += 1
        return comparison == .equal
    }

    /// Any word, as names of values may be words of the grammar, or a string.
    private mutating func name(_ expected: String) throws(FilterError) -> FilterName {
        let column = tokens[position].column
        switch current {
        case .word(let text), .string(let text):
            position += 1
            return FilterName(text, column: column)
        default: throw unexpected(expected)
        }
    }

    private mutating func place(_ expected: String) throws(FilterError) -> FilterName {
        guard isPlace, case .word(let word) = current else { throw unexpected(expected) }
        defer { position += 1 }
        return FilterName(word, column: tokens[position].column)
    }

    // MARK: Tokens

    private var current: FilterToken.Kind { tokens[position].kind }

    private var isPlace: Bool {
        if case .word(let word) = current { return !Self.keywords.contains(word) }
        return false
    }

    private mutating func accept(_ keyword: String) -> Bool {
        guard current == .word(keyword) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ kind: FilterToken.Kind, _ expected: String) throws(FilterError) {
        guard current == kind else { throw unexpected(expected) }
        position += 1
    }

    private func unexpected(_ expected: String) -> FilterError {
        let found = switch current {
        case .word(let word): "'\(word)'"
        case .number(let value, let unit): "'\(value)\(unit?.rawValue ?? "")'"
        case .string(let text): FilterName.quoted(text)
        case .comparison(let comparison): "'\(comparison.rawValue)'"
        case .open: "'('"
        case .close: "')'"
        case .upTo: "'..'"
        case .end: "the end"
        }
        return error("\(expected) expected, \(found) found")
    }

    private func error(_ message: String) -> FilterError {
        FilterError(message: message, expression: text, column: tokens[position].column)
    }
}
