/// A word or sign of a filter, and its column from 0.
struct FilterToken {
    enum Kind: Equatable {
        /// A keyword, or a dotted name with its indices: `WA.VM[3].READS`.
        case word(String)
        /// A number, and what follows it without a space: `10us`.
        case number(UInt64, unit: FilterUnit?)
        /// What was between quotation marks.
        case string(String)
        case comparison(FilterComparison)
        case open, close, upTo
        case end
    }

    let kind: Kind
    let column: Int
}

/// Takes a filter's text apart.
struct FilterLexer {
    private let text: String
    private let bytes: [UInt8]
    private var position = 0
    /// Bytes before `position` that are no columns: outside of strings everything is ASCII, in them people count characters. A carriage
    /// return with a line feed is one, too.
    private var shift = 0

    init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    /// All tokens, `end` last.
    mutating func tokens() throws(FilterError) -> [FilterToken] {
        var tokens: [FilterToken] = []
        repeat { tokens.append(try next()) } while tokens.last?.kind != .end
        return tokens
    }

    private mutating func next() throws(FilterError) -> FilterToken {
        while let byte = peek(), byte == 0x20 || (0x09...0x0d).contains(byte) {
            if byte == 0x0a, position > 0, bytes[position - 1] == 0x0d { shift += 1 }
            position += 1
        }
        let start = position, column = position - shift
        guard let byte = peek() else { return FilterToken(kind: .end, column: column) }
        if Self.isDigit(byte) { return FilterToken(kind: try number(), column: column) }
        if Self.isWordStart(byte) { return FilterToken(kind: .word(word()), column: column) }
        if byte == UInt8(ascii: "\"") { return FilterToken(kind: .string(try string()), column: column) }
        let signs: [(String, FilterToken.Kind)] =
            FilterComparison.allCases.map { ($0.rawValue, .comparison($0)) } + [("(", .open), (")", .close), ("..", .upTo)]
        // Longer signs come first among those that begin alike: `<=` before `<`.
        for (sign, kind) in signs where bytes[start...].starts(with: sign.utf8) {
            position += sign.utf8.count
            return FilterToken(kind: kind, column: column)
        }
        let hint = byte == UInt8(ascii: "=") ? ": equality is '=='" : byte == UInt8(ascii: "!") ? ": negation is 'not'" : ""
        throw error("'\(character(at: start))' means nothing here\(hint)", at: start)
    }

    /// Decimal or `0x` hexadecimal digits, with `_` between them as people like, then perhaps a unit.
    private mutating func number() throws(FilterError) -> FilterToken.Kind {
        let start = position
        var radix: UInt64 = 10
        if bytes[start...].starts(with: "0x".utf8) || bytes[start...].starts(with: "0X".utf8) {
            radix = 16
            position += 2
        }
        var value: UInt64 = 0, digits = 0
        while let byte = peek() {
            if byte == UInt8(ascii: "_"), digits > 0 {
                position += 1
                continue
            }
            guard let digit = Self.digit(byte), digit < radix else { break }
            let (product, overflow) = value.multipliedReportingOverflow(by: radix)
            let (sum, carry) = product.addingReportingOverflow(digit)
            if overflow || carry { throw error("a number of at most 64 bits expected", at: start) }
            value = sum
            digits += 1
            position += 1
        }
        if digits == 0 { throw error("hexadecimal digits expected after 0x", at: position) }
        let unitStart = position
        while let byte = peek(), Self.isWordStart(byte) || Self.isDigit(byte) { position += 1 }
        if unitStart == position { return .number(value, unit: nil) }
        guard let unit = FilterUnit(rawValue: String(decoding: bytes[unitStart..<position], as: UTF8.self)) else {
            let units = FilterUnit.allCases.map(\.rawValue).joined(separator: ", ")
            throw error("a unit (\(units)) or nothing expected after a number", at: unitStart)
        }
        return .number(value, unit: unit)
    }

    private mutating func word() -> String {
        let start = position
        while let byte = peek() {
            let isDot = byte == UInt8(ascii: ".")
            // Two dots are the sign of a range.
            if isDot, position + 1 < bytes.count, bytes[position + 1] == byte { break }
            let isBracket = byte == UInt8(ascii: "[") || byte == UInt8(ascii: "]")
            guard isDot || isBracket || Self.isWordStart(byte) || Self.isDigit(byte) else { break }
            position += 1
        }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    /// Text up to the next quotation mark; a backslash takes its meaning from a quotation mark and from a backslash.
    private mutating func string() throws(FilterError) -> String {
        let start = position
        var content: [UInt8] = []
        position += 1
        while let byte = peek(), byte != UInt8(ascii: "\"") {
            if byte == UInt8(ascii: "\\") {
                position += 1
                guard let next = peek(), next == UInt8(ascii: "\"") || next == UInt8(ascii: "\\") else {
                    throw error("'\"' or '\\' expected after '\\'", at: position)
                }
            } else if byte < 0x20 || byte == 0x7f {
                throw error("a character that can be printed expected", at: position)
            }
            content.append(bytes[position])
            position += 1
        }
        guard peek() != nil else { throw error("'\"' expected at the end of this string", at: start) }
        position += 1
        shift += position - start - String(decoding: bytes[start..<position], as: UTF8.self).count
        return String(decoding: content, as: UTF8.self)
    }

    /// Whether a name is one word for the lexer.
    static func isWord(_ text: String) -> Bool {
        var lexer = FilterLexer(text)
        guard let first = lexer.peek(), isWordStart(first) else { return false }
        _ = lexer.word()
        return lexer.peek() == nil
    }

    private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

    private func character(at byte: Int) -> Character {
        text[text.utf8.index(text.startIndex, offsetBy: byte)]
    }

    private func error(_ message: String, at byte: Int) -> FilterError {
        FilterError(message: message, expression: text, column: String(decoding: bytes[..<byte], as: UTF8.self).count)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    /// `$` begins the linker's names of Swift functions.
    private static func isWordStart(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "$")
    }

    private static func digit(_ byte: UInt8) -> UInt64? {
        if isDigit(byte) { return UInt64(byte - UInt8(ascii: "0")) }
        let letter = byte | 0x20
        return (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(letter) ? UInt64(letter - UInt8(ascii: "a")) + 10 : nil
    }
}
