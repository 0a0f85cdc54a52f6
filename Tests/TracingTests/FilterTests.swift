import Registers
import Testing
import Tracing

private let places = [
    "TIMER", "TIMER.CTRL", "TIMER.VM.COUNT", "TIMER.VM[2].COUNT", "TIMER.CTRL.mode", "TIMER.CTRL.enable", "TIMER.VM[1].COUNT.value",
]

/// Expressions of every kind, up to a depth.
private func makeExpression(_ random: inout Random, depth: Int) -> FilterExpression {
    func literal(_ quantity: FilterQuantity) -> FilterLiteral {
        switch quantity {
        case .time, .wait:
            let unit = random.pick(FilterUnit.allCases)
            return random.below(2) == 0 ? .number(random.below(1 << 20)) : .duration(random.below(1 << 12), unit)
        case .newOf(let name), .oldOf(let name):
            return name.text == "TIMER.CTRL.mode" && random.below(2) == 0
                ? .name(FilterName(random.pick(["once", "periodic"]))) : .number(random.below(6))
        case .cause: return random.below(2) == 0 ? .name(FilterName(random.pick(["timer", "external", "loadAccessFault"]))) : .number(5)
        case .size, .level, .queue, .head, .depth, .function, .vector: return .number(random.below(9))
        default: return .number(random.below(1 << 32))
        }
    }
    if depth > 0, random.below(3) != 0 {
        let parts = (0..<(2 + random.below(2))).map { _ in makeExpression(&random, depth: depth - 1) }
        switch random.below(3) {
        // The parser makes one list of what isn't in parentheses, so nested lists of one kind keep theirs.
        case 0: return .or(parts)
        case 1: return .and(parts)
        default: return .not(parts[0])
        }
    }
    let value = FilterName(random.pick(Array(places.dropFirst())))
    switch random.below(11) {
    case 0: return .read
    case 1: return .write
    case 2: return .fault
    case 3: return .accesses(FilterName(random.pick(places)))
    case 4: return .changed(FilterName(random.pick(places)))
    case 5:
        let attribute = random.pick(FilterAttribute.allCases)
        return .attribute(attribute, FilterName(random.pick(names[attribute] ?? [])), isEqual: random.below(2) == 0)
    case 6: return .kind(random.pick(TraceClass.allCases.filter { $0 != .fault }))
    case 7: return .text(random.pick(["ahead", "", "un", "\"quo", "\\", "é ü"]))
    case 8: return .function(FilterName(random.pick(["main", "Timer.start(_:)"])))
    default:
        let words: [FilterQuantity] = [
            .time, .wait, .size, .bytes, .pc, .pid, .address, .old, .new, .function, .vector, .level, .cause, .handler, .queue, .head,
            .depth,
        ]
        let quantity = random.below(4) == 0 ? random.pick([.oldOf(value), .newOf(value)]) : random.pick(words)
        if random.below(4) == 0 { return .range(quantity, literal(quantity), literal(quantity)) }
        return .compare(quantity, random.pick(FilterComparison.allCases), literal(quantity))
    }
}

/// Names of each attribute, and what an event has to be called to have them.
private let names: [FilterAttribute: [String]] = [
    .initiator: ["hart", "hart0", "host", "host2", "dma", "dma2", "device"], .status: ["ok", "denied", "unmapped"],
    .line: ["PLIC.TIMER", "hart0", "plic", "INTx"], .step: ["line", "message", "trap", "doorbell", "taken", "completed", "notified"],
    .kind: ["iommu", "queue", "bus"], .record: ["boot", "stage"],
]

/// What an expression means, word for word, for the fixtures' names only.
private struct Reference {
    let event: TraceEvent

    func holds(_ expression: FilterExpression) -> Bool {
        switch expression {
        case .or(let parts): return parts.map(holds).contains(true)
        case .and(let parts): return !parts.map(holds).contains(false)
        case .not(let inner): return !holds(inner)
        case .kind(let kind): return event.kind == kind
        case .read: return direction == "read"
        case .write: return direction == "write"
        case .fault:
            if case .fault = event { return true }
            return status ?? "ok" != "ok"
        case .accesses(let place): return isAt(place.text)
        case .changed(let place):
            guard isAt(place.text), case .access(let event) = event else { return false }
            return field(event.old, place.text) != field(event.new, place.text)
        case .attribute(let attribute, let name, let isEqual):
            let own = names(of: attribute)
            return !own.isEmpty && own.contains(name.text) == isEqual
        case .function(let name):
            return value(.pc).map { pc in TestSymbols().ranges(ofFunction: name.text).contains { $0.contains(UInt32(pc)) } } ?? false
        case .text(let text):
            switch event {
            case .fault(let event): return event.name.contains(text)
            case .log(let event):
                switch event.content {
                case .line(let line): return line.contains(text)
                case .record(let kind, _): return ["boot", "stage"][Int(kind)].contains(text)
                }
            default: return false
            }
        case .compare(let quantity, let comparison, let literal):
            guard let value = value(quantity) else { return false }
            let other = number(literal)
            return switch comparison {
            case .equal: value == other
            case .notEqual: value != other
            case .less: value < other
            case .lessOrEqual: value <= other
            case .greater: value > other
            case .greaterOrEqual: value >= other
            }
        case .range(let quantity, let low, let high): return value(quantity).map { number(low) <= $0 && $0 <= number(high) } ?? false
        }
    }

    private var direction: String? {
        switch event {
        case .access(let event): event.isWrite ? "write" : "read"
        case .dma(let event): event.isWrite ? "write" : "read"
        default: nil
        }
    }

    private var status: String? {
        switch event {
        case .access(let event): "\(event.status)"
        case .dma(let event): "\(event.status)"
        default: nil
        }
    }

    private func names(of attribute: FilterAttribute) -> [String] {
        switch (attribute, event) {
        case (.initiator, _):
            let name = "\(event.initiator)"
            return [name, String(name.prefix { !$0.isNumber })]
        case (.status, _): return status.map { [$0] } ?? []
        case (.line, .interrupt(let event)):
            switch event.step {
            case .line(0, _): return ["PLIC.TIMER", "plic"]
            case .line: return ["hart0.external", "hart0"]
            case .message(_, nil, _): return ["INTx"]
            default: return []
            }
        case (.step, .interrupt(let event)):
            switch event.step {
            case .line, .message(_, nil, _): return ["line"]
            case .message: return ["message"]
            case .trap: return ["trap"]
            }
        case (.step, .queue(let event)): return ["\(event.step)"]
        case (.kind, .fault(let event)): return ["\(event.kind)"]
        case (.record, .log(let event)):
            if case .record(let kind, _) = event.content { return [["boot", "stage"][Int(kind)]] }
            return []
        default: return []
        }
    }

    private func isAt(_ place: String) -> Bool {
        guard case .access(let event) = event, case .register(let number, let element, _) = event.target else { return false }
        if place == "TIMER" { return true }
        if place.hasPrefix("TIMER.CTRL") { return number == 0 }
        if place.hasPrefix("TIMER.VM.COUNT") { return number == 1 }
        return number == 1 && place.hasPrefix("TIMER.VM[\(element)]")
    }

    private func field(_ register: UInt64, _ place: String) -> UInt64 {
        if place.hasSuffix(".mode") { return register / 16 % 4 }
        return place.hasSuffix(".enable") ? register % 2 : register
    }

    private func value(_ quantity: FilterQuantity) -> UInt64? {
        if quantity == .time { return event.time }
        if quantity == .function, ["host", "dma"].contains(where: { "\(event.initiator)".hasPrefix($0) }) {
            return UInt64("\(event.initiator)".drop { !$0.isNumber })
        }
        switch (quantity, event) {
        case (.oldOf(let place), .access(let access)): return isAt(place.text) ? field(access.old, place.text) : nil
        case (.newOf(let place), .access(let access)): return isAt(place.text) ? field(access.new, place.text) : nil
        case (_, .access(let access)): return value(quantity, access)
        case (_, .interrupt(let event)):
            switch (quantity, event.step) {
            case (.level, .line(_, let level)), (.level, .message(_, nil, let level)): return level ? 1 : 0
            case (.vector, .message(_, .some(let vector), _)): return UInt64(vector)
            case (.cause, .trap(_, let cause, _, _)): return UInt64(cause)
            case (.pc, .trap(_, _, let pc, _)): return UInt64(pc)
            case (.handler, .trap(_, _, _, let handler)): return UInt64(handler)
            default: return nil
            }
        case (.address, .dma(let event)): return event.address
        case (.bytes, .dma(let event)): return UInt64(event.bytes)
        case (.queue, .queue(let event)): return UInt64(event.queue)
        case (.depth, .queue(let event)): return UInt64(event.depth)
        case (.head, .queue(let event)): return [.taken, .completed].contains(event.step) ? UInt64(event.head) : nil
        case (.bytes, .queue(let event)): return [.taken, .completed].contains(event.step) ? UInt64(event.bytes) : nil
        case (.address, .fault(let event)): return event.address
        case (.queue, .fault(let event)): return event.kind == .queue ? UInt64(event.origin) : nil
        case (.pc, .fault(let event)): return "\(event.initiator)".hasPrefix("hart") ? UInt64(event.origin) : nil
        default: return nil
        }
    }

    private func value(_ quantity: FilterQuantity, _ event: AccessEvent) -> UInt64? {
        switch quantity {
        case .wait: return event.wait
        case .size: return UInt64(event.size)
        case .pc: return event.initiator == .hart(0) ? UInt64(event.origin) : nil
        case .pid: return event.initiator == .hart(0) ? nil : UInt64(event.origin)
        case .address:
            switch event.target {
            case .address(let address, _): return address
            case .register(0, _, let byte): return 0x1000 + UInt64(byte)
            case .register(_, let element, let byte): return 0x1010 + 16 * UInt64(element) + UInt64(byte)
            }
        case .old: if case .register = event.target { return event.old } else { return nil }
        case .new: return event.new
        default: return nil
        }
    }

    private func number(_ literal: FilterLiteral) -> UInt64 {
        switch literal {
        case .number(let value): value
        case .duration(let amount, .cycles), .duration(let amount, .ns): amount
        case .duration(let amount, .us): amount * 1_000
        case .duration(let amount, .ms): amount * 1_000_000
        case .duration(let amount, .s): amount * 1_000_000_000
        case .name(let name): ["periodic": 1, "timer": 0x8000_0007, "external": 0x8000_000b, "loadAccessFault": 5][name.text] ?? 0
        }
    }
}

/// Events with small values, so that comparisons hold now and then.
private func makeSmallEvents(seed: UInt64) -> [TraceEvent] {
    var random = Random(seed)
    return makeEveryKind() + makeEvents(seed: seed, count: 40).map { event in
        var event = event
        if case .register(let number, _, _) = event.target {
            event.old = number == 0 ? random.pick([0, 1, 0x10, 0x11, 0x21]) : random.below(6)
            event.new = number == 0 ? random.pick([0, 1, 0x10, 0x11, 0x21]) : random.below(6)
        }
        return .access(event)
    }
}

@Suite struct FilterTests {
    @Test(arguments: 1...200 as ClosedRange<UInt64>)
    func randomExpressionsMeanWhatTheReferenceSays(seed: UInt64) throws {
        var random = Random(seed)
        let decoder = try makeDecoder(), events = makeSmallEvents(seed: seed)
        for _ in 0..<10 {
            let expression = makeExpression(&random, depth: 3)
            let filter = try TraceFilter("\(expression)", decoder)
            for event in events {
                #expect(filter.matches(event) == Reference(event: event).holds(expression), "seed \(seed): \(expression): \(event)")
            }
        }
    }

    @Test(arguments: 1...200 as ClosedRange<UInt64>)
    func printingAndParsingGiveTheSame(seed: UInt64) throws {
        var random = Random(seed)
        for _ in 0..<10 {
            let expression = makeExpression(&random, depth: 4)
            #expect(try FilterExpression(parsing: "\(expression)") == expression, "seed \(seed)")
        }
    }

    @Test(arguments: 1...300 as ClosedRange<UInt64>)
    func noTextStopsTheParser(seed: UInt64) throws {
        var random = Random(seed)
        let pieces = [
            "and", "or", "not", "(", ")", "..", "in", "TIMER.CTRL", "0x", "12", "ms", "==", "<", "é", "[", "]", "!", ".", "old", "pc", " ",
            "\0", "\"", "\\", "\"é\"", "text", "contains", "queue", "line",
        ]
        let text = (0..<random.below(20)).map { _ in random.pick(pieces) }.joined(separator: random.below(2) == 0 ? " " : "")
        let complaint = message { _ = try TraceFilter(text, try makeDecoder()) }
        #expect(complaint == "no error" || complaint.contains("column "), "\(text): \(complaint)")
    }

    private func selected(_ text: String) throws -> [Bool] {
        let register = AccessEvent(
            time: 2000, wait: 4, initiator: .hart(0), origin: 0x8000_0010, isWrite: true, size: 4, status: .ok,
            target: .register(0, element: 0, byte: 0), old: 0, new: 0x10)
        var element = register, elsewhere = register
        (element.target, element.isWrite) = (.register(1, element: 2, byte: 4), false)
        (element.initiator, element.new) = (.host(function: 1), 5)
        (elsewhere.target, elsewhere.status, elsewhere.origin) = (.address(4, bus: 0), .unmapped, 0x8000_0100)
        let filter = try TraceFilter(text, try makeDecoder())
        return [register, element, elsewhere].map { filter.matches(.access($0)) }
    }

    @Test func examples() throws {
        #expect(try selected("timer") == [true, true, false])
        #expect(try selected("TIMER.VM[2].COUNT") == [false, true, false])
        #expect(try selected("TIMER.VM[1].COUNT") == [false, false, false])
        #expect(try selected("changed(TIMER.CTRL.mode)") == [true, false, false])
        #expect(try selected("TIMER.CTRL.mode == periodic and old(TIMER.CTRL.mode) == once") == [true, false, false])
        #expect(try selected("initiator == hart and not fault") == [true, false, false])
        #expect(try selected("status == unmapped or read") == [false, true, true])
        #expect(try selected("time in 2us..2us") == [true, true, true])
        #expect(try selected("time < 2us") == [false, false, false])
        #expect(try selected("address in 0x1030..0x1037") == [false, true, false])
        #expect(try selected("pc == 0x8000_0010") == [true, false, false])
        #expect(try selected("pc in main") == [true, false, false])
        // No quantity, no comparison, in either direction.
        #expect(try selected("old == 0") == [true, true, false])
        #expect(try selected("old != 0") == [false, false, false])
        #expect(try selected("size < 0 or size > 0xffff_ffff_ffff_ffff or time in 5..3") == [false, false, false])
        // `and` binds closer than `or`, `not` closest.
        #expect(try selected("fault or not TIMER.CTRL and read") == [false, true, true])
    }

    /// The places in ``makeEveryKind()`` of what a filter lets through.
    private func places(_ text: String) throws -> [Int] {
        let filter = try TraceFilter(text, try makeDecoder()), events = makeEveryKind()
        return events.indices.filter { filter.matches(events[$0]) }
    }

    @Test func examplesOfEveryClass() throws {
        #expect(try places("interrupt") == [1, 2, 3, 13, 14, 19])
        #expect(try places("access") == [0, 4] && places("dma") == [6, 9] && places("log") == [17, 18])
        #expect(try places("queue") == [5, 7, 8, 11, 12] && places("queue == 1") == [5, 7, 8, 11, 12, 15])
        #expect(try places("queue and not step == doorbell") == [7, 8, 11, 12])
        #expect(try places("fault") == [9, 10, 15, 16] && places("fault and not dma") == [10, 15, 16])
        #expect(try places("write") == [0, 4, 9] && places("read") == [6])
        #expect(try places("line == PLIC.TIMER and level == 1") == [1] && places("line == hart0") == [2])
        #expect(try places("line == intx") == [14] && places("line != plic") == [2, 14])
        #expect(try places("cause == external") == [3] && places("cause != external") == [])
        #expect(try places("step == message and vector == 1") == [13])
        #expect(try places("function == 2") == [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15])
        #expect(try places("bytes > 512") == [7, 8, 11] && places("depth >= 2") == [8] && places("head == 5") == [7, 11])
        #expect(try places("kind == iommu or kind == queue") == [10, 15])
        #expect(try places("pc in main") == [3, 16] && places("pc in \"Timer.start(_:)\"") == [0])
        #expect(try places("text contains \"ahead\"") == [15] && places("text contains \"\\\"quoted\\\"\"") == [17])
        #expect(try places("record == boot") == [18] && places("handler == 0x8000_0400") == [3])
        #expect(try places("status != ok") == [9] && places("not status == ok").count == 17)
        #expect(try places("time in 103..105 and initiator == device") == [2])
    }

    @Test(arguments: [
        ("", 0, "a condition: a block, a register"),
        ("TIMER.CTRL.enable = 1", 18, "'=' means nothing here: equality is '=='"),
        ("TIMER and", 9, "the end found"),
        ("TIMER and\r\r\n", 11, "the end found"),
        ("(TIMER", 6, "')', 'and' or 'or' expected, the end found"),
        ("TIMER TIMER", 6, "'and', 'or' or the end expected, 'TIMER' found"),
        ("time > 10min", 9, "a unit (cycles, ns, us, ms, s) or nothing expected"),
        ("size == 4us", 8, "a number without a unit expected"),
        ("time in 3", 9, "'..' and the end of the range expected"),
        ("write and TIMR", 10, "no block 'TIMR' in this trace, and no other word of the grammar; near it: TIMER"),
        ("interupt", 0, "near it: interrupt"),
        ("TIMER.CTRK", 0, "near it: CTRL"),
        ("TIMER == 4", 0, "'TIMER' has no value"),
        ("TIMER.CTRL.mode == sometimes", 19, "one of the field's values expected: once, periodic"),
        ("initiator == cpu", 13, "an initiator (hart0"),
        ("status != good", 10, "a status expected: ok, unmapped"),
        ("pc in mian", 6, "the firmware has no function 'mian'; near it: main"),
        ("line == PLIC.TIMR", 8, "no interrupt line 'PLIC.TIMR' in this trace; near it: PLIC.TIMER"),
        ("step == take", 8, "a step expected: line, message, trap, doorbell, taken, completed, notified; near it: taken"),
        ("record == bot", 10, "a kind of record expected: boot, stage; near it: boot"),
        ("kind < iommu", 5, "'==' or '!=' expected, '<' found"),
        ("text == \"a\"", 5, "'contains' expected, '==' found"),
        ("text contains ready", 14, "text in quotation marks expected, 'ready' found"),
        ("text contains \"ready", 14, "'\"' expected at the end of this string"),
        ("text contains \"a\\n\"", 17, "expected after '\\'"),
        ("text contains \"é\" und", 18, "'and', 'or' or the end expected, 'und' found"),
        ("pc == main", 6, "for a function: pc in NAME"),
        ("time < 99999999999999999999", 7, "at most 64 bits"),
        ("0x", 2, "hexadecimal digits expected"),
        ("read ü", 5, "'ü' means nothing here"),
    ])
    func errorsPointAtTheColumn(text: String, column: Int, expected: String) throws {
        let complaint = message { _ = try TraceFilter(text, try makeDecoder()) }
        let lines = complaint.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 3 && lines[0].hasPrefix("filter, column \(column + 1): ") && lines[0].contains(expected), "\(complaint)")
        #expect(lines.last.map(String.init) == "  " + String(repeating: " ", count: column) + "^")
    }

    @Test func functionsNeedAFirmwareImage() throws {
        let catalogue = RegisterCatalogue(try makeMaps())
        let decoder = TraceDecoder(TraceNames(catalogue, buses: try makeMaps()), catalogue: catalogue, maps: try makeMaps())
        let mistakes = [("pc in main", "column 7: a function has addresses"), ("record == boot", "column 11: kinds of records have")]
        for (text, expected) in mistakes {
            #expect(message { _ = try TraceFilter(text, decoder) }.contains("\(expected)"), "\(text)")
        }
    }

    @Test func depthIsLimited() throws {
        let deep = String(repeating: "(", count: 150) + "read" + String(repeating: ")", count: 150)
        #expect(try FilterExpression(parsing: deep) == .read)
        #expect(message { _ = try FilterExpression(parsing: String(repeating: "not ", count: 100_000) + "read") }.contains("at most 200"))
        // What is side by side isn't deep.
        let wide = Array(repeating: "read", count: 20_000).joined(separator: " or ")
        #expect(try FilterExpression(parsing: wide) == .or(Array(repeating: .read, count: 20_000)))
    }
}
