/// A line of a register map's text that doesn't mean what it should.
public struct RegisterMapTextError: Error, CustomStringConvertible {
    /// From 1.
    public let line: Int
    public let message: String

    public var description: String { "register map, line \(line): \(message)" }
}

extension RegisterMap {
    /// Reads the compact text that generated code carries, one item per line, each below what it belongs to:
    ///
    ///     block NAME SIZE # DOC
    ///     register PATH OFFSET WIDTH [access=BITS] [latency=CYCLES] [rbuf] [wbuf] [donttest] # DOC
    ///     field NAME LSB WIDTH SW HW [PROPERTY…] # DOC
    ///     value NAME VALUE # DOC
    ///     window NAME OFFSET SIZE SW # DOC
    ///
    /// `PATH` has its array dimensions in place: `VM[65:0x100].READS`. A field's properties are `reset=`, `onread=`, `onwrite=`,
    /// `singlepulse`, `intr=TRIGGER`, `sticky`, `stickybit`, `precedence=hw`, `survives=RESETS`, `swwe=REG:FIELD`, `swwel=REG:FIELD`,
    /// `enable=`, `mask=`, `haltenable=`, `haltmask=` with `REG:FIELD`, and `counter=INCR,DECR,INCRSAT,DECRSAT,INCRTHRESH,DECRTHRESH`
    /// with `-` for none. A register's name in `REG:FIELD` has no dimensions. Documentation has its line breaks as `\n`.
    public init(text: String) throws(RegisterMapTextError) {
        var parser = RegisterMapParser()
        var number = 0
        for line in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            guard !line.isEmpty else { continue }
            do { try parser.take(String(Substring(line))) } catch { throw RegisterMapTextError(line: number, message: error.message) }
        }
        guard let block = parser.block else { throw RegisterMapTextError(line: number, message: "no 'block' line") }
        parser.endRegister()
        self.init(name: block.name, size: block.size, doc: block.doc, registers: parser.registers, windows: parser.windows)
    }
}

private struct RegisterMapParser {
    struct Malformed: Error { var message: String }

    var block: (name: String, size: UInt64, doc: String)?
    var registers: [RegisterDescription] = []
    var windows: [WindowDescription] = []
    /// The register and the field that following lines still add to.
    var register: ((_ fields: [FieldDescription]) -> RegisterDescription)?
    var fields: [FieldDescription] = []
    var field: ((_ encodings: [FieldDescription.Encoding]) -> FieldDescription)?
    var encodings: [FieldDescription.Encoding] = []

    mutating func endField() {
        if let field { fields.append(field(encodings)) }
        field = nil
        encodings = []
    }

    mutating func endRegister() {
        endField()
        if let register { registers.append(register(fields)) }
        register = nil
        fields = []
    }

    mutating func take(_ line: String) throws(Malformed) {
        let (items, doc) = Self.splitDoc(line)
        var words = Words(items)
        switch try words.next("an item's kind") {
        case "block": block = (String(try words.next("name")), try words.number("size"), doc)
        case "register": try takeRegister(&words, doc)
        case "field": try takeField(&words, doc)
        case "value":
            encodings.append(.init(name: String(try words.next("name")), value: try words.number("value"), doc: doc))
        case "window":
            endRegister()
            windows.append(WindowDescription(
                name: String(try words.next("name")), offset: try words.number("offset"), size: try words.number("size"),
                software: try words.value("software access", SoftwareAccess.init), doc: doc))
        case let other: throw Malformed(message: "unknown item '\(other)'")
        }
    }

    static func splitDoc(_ line: String) -> (items: Substring, doc: String) {
        let utf8 = line.utf8
        guard let mark = utf8.firstIndex(of: UInt8(ascii: "#")) else { return (line[...], "") }
        var doc = ""
        var isEscaped = false
        for character in line[line.index(after: mark)...].drop(while: { $0 == " " }) {
            if isEscaped {
                doc.append(character == "n" ? "\n" : character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else {
                doc.append(character)
            }
        }
        return (line[..<mark], doc)
    }

    private mutating func takeRegister(_ words: inout Words, _ doc: String) throws(Malformed) {
        endRegister()
        let (path, dimensions) = try Self.path(try words.next("path"))
        let offset = try words.number("offset")
        let width = Int(try words.number("width"))
        guard [8, 16, 32, 64].contains(width) else { throw Malformed(message: "width \(width), expected 8, 16, 32 or 64") }
        var accessWidth = width
        var latency = 0
        var flags: Set<Substring> = []
        while let (key, value) = words.property() {
            switch key {
            case "access": accessWidth = Int(try Words.number(value, "access"))
            case "latency": latency = Int(try Words.number(value, "latency"))
            case "rbuf", "wbuf", "donttest": flags.insert(key)
            default: throw Malformed(message: "unknown register property '\(key)'")
            }
        }
        let (buffersReads, buffersWrites, excluded) = (flags.contains("rbuf"), flags.contains("wbuf"), flags.contains("donttest"))
        register = { [accessWidth, latency] fields in
            RegisterDescription(
                name: path.map(\.name).joined(separator: "."), path: path, offset: offset, width: width, accessWidth: accessWidth,
                dimensions: dimensions, buffersReads: buffersReads, buffersWrites: buffersWrites, latency: latency,
                excludedFromTests: excluded, doc: doc, fields: fields)
        }
    }

    /// `VM[65:0x100].READS` taken apart.
    private static func path(_ text: Substring) throws(Malformed) -> ([RegisterDescription.PathSegment], [RegisterDimension]) {
        var segments: [RegisterDescription.PathSegment] = []
        var dimensions: [RegisterDimension] = []
        for part in text.split(separator: ".") {
            let pieces = part.split(separator: "[")
            segments.append(.init(name: String(pieces[0]), dimensions: pieces.count - 1))
            for piece in pieces.dropFirst() {
                let numbers = piece.dropLast().split(separator: ":")
                guard numbers.count == 2, piece.last == "]" else { throw Malformed(message: "'\(piece)', expected COUNT:STRIDE]") }
                dimensions.append(.init(
                    count: Int(try Words.number(numbers[0], "array count")), stride: try Words.number(numbers[1], "array stride")))
            }
        }
        return (segments, dimensions)
    }

    private mutating func takeField(_ words: inout Words, _ doc: String) throws(Malformed) {
        endField()
        guard register != nil else { throw Malformed(message: "a field outside a register") }
        let name = String(try words.next("name"))
        let lsb = Int(try words.number("lsb")), width = Int(try words.number("width"))
        guard lsb >= 0, width > 0, lsb + width <= 64 else { throw Malformed(message: "field '\(name)' is outside its register") }
        let software = try words.value("software access", SoftwareAccess.init)
        let hardware = try words.value("hardware access", HardwareAccess.init)
        var properties = FieldProperties()
        while let (key, value) = words.property() { try properties.take(key, value) }
        field = { [properties] encodings in
            FieldDescription(
                name: name, lsb: lsb, width: width, software: software, hardware: hardware, onRead: properties.onRead,
                onWrite: properties.onWrite, isSinglePulse: properties.isSinglePulse,
                interrupt: properties.trigger.map { InterruptBehaviour(trigger: $0, gating: properties.gating) },
                sticky: properties.sticky, counter: properties.counter, precedence: properties.precedence,
                writeEnable: properties.writeEnable, reset: properties.reset, survives: properties.survives, encodings: encodings, doc: doc)
        }
    }

    struct FieldProperties {
        var onRead: OnRead?
        var onWrite: OnWrite?
        var isSinglePulse = false
        var trigger: InterruptBehaviour.Trigger?
        var gating: [InterruptBehaviour.Gating] = []
        var sticky = Sticky.none
        var counter: CounterBehaviour?
        var precedence = Precedence.software
        var writeEnable: FieldDescription.Condition?
        var reset: UInt64?
        var survives: ResetSet = []

        mutating func take(_ key: Substring, _ value: Substring) throws(Malformed) {
            switch key {
            case "reset": reset = try Words.number(value, "reset")
            case "onread": onRead = try Words.value(value, "onread", OnRead.init)
            case "onwrite": onWrite = try Words.value(value, "onwrite", OnWrite.init)
            case "singlepulse": isSinglePulse = true
            case "intr": trigger = try Words.value(value, "intr", InterruptBehaviour.Trigger.init)
            case "sticky": sticky = .word
            case "stickybit": sticky = .bit
            case "precedence": precedence = try Words.value(value, "precedence", Precedence.init)
            case "swwe", "swwel":
                let (register, field) = try Words.reference(value)
                writeEnable = .init(register: register, field: field, isInverted: key == "swwel")
            case "counter":
                let numbers = value.split(separator: ",")
                guard numbers.count == 6 else { throw Malformed(message: "counter=\(value), expected 6 numbers") }
                func optional(_ place: Int) throws(Malformed) -> UInt64? {
                    numbers[place] == "-" ? nil : try Words.number(numbers[place], "counter")
                }
                counter = CounterBehaviour(
                    increment: try optional(0) ?? 0, decrement: try optional(1) ?? 0, incrementSaturation: try optional(2),
                    decrementSaturation: try optional(3), incrementThreshold: try optional(4), decrementThreshold: try optional(5))
            case "survives":
                for name in value.split(separator: ",") {
                    switch name {
                    case "hard": survives.insert(.hard)
                    case "soft": survives.insert(.soft)
                    case "flr": survives.insert(.functionLevel)
                    default: throw Malformed(message: "survives=\(name), expected hard, soft or flr")
                    }
                }
            default:
                guard let gate = InterruptBehaviour.Gate(rawValue: String(key)) else {
                    throw Malformed(message: "unknown field property '\(key)'")
                }
                let (register, field) = try Words.reference(value)
                gating.append(.init(gate: gate, register: register, field: field))
            }
        }
    }

    /// The words of a line, in order.
    struct Words {
        private var rest: ArraySlice<Substring>

        init(_ text: Substring) {
            rest = text.utf8.split(separator: UInt8(ascii: " ")).map { Substring($0) }[...]
        }

        mutating func next(_ what: String) throws(Malformed) -> Substring {
            guard let word = rest.popFirst() else { throw Malformed(message: "the line ends where its \(what) is expected") }
            return word
        }

        mutating func number(_ what: String) throws(Malformed) -> UInt64 { try Self.number(try next(what), what) }

        mutating func value<T>(_ what: String, _ parse: (String) -> T?) throws(Malformed) -> T {
            try Self.value(try next(what), what, parse)
        }

        mutating func property() -> (key: Substring, value: Substring)? {
            guard let word = rest.popFirst() else { return nil }
            guard let equals = word.utf8.firstIndex(of: UInt8(ascii: "=")) else { return (word, "") }
            return (word[..<equals], word[word.index(after: equals)...])
        }

        static func number(_ text: Substring, _ what: String) throws(Malformed) -> UInt64 {
            let value = text.hasPrefix("0x") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
            guard let value else { throw Malformed(message: "\(what) '\(text)' is not a number") }
            return value
        }

        static func value<T>(_ text: Substring, _ what: String, _ parse: (String) -> T?) throws(Malformed) -> T {
            guard let value = parse(String(text)) else { throw Malformed(message: "\(what) '\(text)' is not known") }
            return value
        }

        static func reference(_ text: Substring) throws(Malformed) -> (register: String, field: String) {
            let parts = text.split(separator: ":")
            guard parts.count == 2 else { throw Malformed(message: "'\(text)', expected REGISTER:FIELD") }
            return (String(parts[0]), String(parts[1]))
        }
    }
}
