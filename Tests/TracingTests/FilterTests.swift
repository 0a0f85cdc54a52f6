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
        case .size: return .number(random.below(9))
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
    switch random.below(9) {
    case 0: return .read
    case 1: return .write
    case 2: return .fault
    case 3: return .accesses(FilterName(random.pick(places)))
    case 4: return .changed(FilterName(random.pick(places)))
    case 5: return .initiator(FilterName(random.pick(["hart", "hart0", "host", "host2", "dma"])), isEqual: random.below(2) == 0)
    case 6: return .status(FilterName(random.pick(["ok", "denied", "unmapped"])), isEqual: random.below(2) == 0)
    default:
        let quantity = random.pick([FilterQuantity.time, .wait, .size, .pc, .pid, .address, .old, .new, .oldOf(value), .newOf(value)])
        if random.below(4) == 0 { return .range(quantity, literal(quantity), literal(quantity)) }
        return .compare(quantity, random.pick(FilterComparison.allCases), literal(quantity))
    }
}

/// What an expression means, word for word, for the fixture's registers only.
private struct Reference {
    let event: AccessEvent

    func holds(_ expression: FilterExpression) -> Bool {
        switch expression {
        case .or(let parts): return parts.map(holds).contains(true)
        case .and(let parts): return !parts.map(holds).contains(false)
        case .not(let inner): return !holds(inner)
        case .read: return !event.isWrite
        case .write: return event.isWrite
        case .fault: return event.status != .ok
        case .accesses(let place): return isAt(place.text)
        case .changed(let place):
            guard isAt(place.text) else { return false }
            return field(event.old, place.text) != field(event.new, place.text)
        case .initiator(let name, let isEqual): return "\(event.initiator)".hasPrefix(name.text) == isEqual
        case .status(let name, let isEqual): return ("\(event.status)" == name.text) == isEqual
        case .function: return false
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

    private func isAt(_ place: String) -> Bool {
        guard case .register(let number, let element, _) = event.target else { return false }
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
        switch quantity {
        case .time: return event.time
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
        case .oldOf(let place): return isAt(place.text) ? field(event.old, place.text) : nil
        case .newOf(let place): return isAt(place.text) ? field(event.new, place.text) : nil
        }
    }

    private func number(_ literal: FilterLiteral) -> UInt64 {
        switch literal {
        case .number(let value): value
        case .duration(let amount, .cycles), .duration(let amount, .ns): amount
        case .duration(let amount, .us): amount * 1_000
        case .duration(let amount, .ms): amount * 1_000_000
        case .duration(let amount, .s): amount * 1_000_000_000
        case .name(let name): name.text == "periodic" ? 1 : 0
        }
    }
}

/// Events with small values, so that comparisons hold now and then.
private func makeSmallEvents(seed: UInt64) -> [AccessEvent] {
    var random = Random(seed)
    return makeEvents(seed: seed, count: 60).map { event in
        var event = event
        if case .register(let number, _, _) = event.target {
            event.old = number == 0 ? random.pick([0, 1, 0x10, 0x11, 0x21]) : random.below(6)
            event.new = number == 0 ? random.pick([0, 1, 0x10, 0x11, 0x21]) : random.below(6)
        }
        return event
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
                #expect(filter.matches(.access(event)) == Reference(event: event).holds(expression), "seed \(seed): \(expression): \(event)")
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
            "\0",
        ]
        let text = (0..<random.below(20)).map { _ in random.pick(pieces) }.joined(separator: random.below(2) == 0 ? " " : "")
        _ = message { _ = try TraceFilter(text, try makeDecoder()) }
    }

    private func selected(_ text: String, functions: TraceFilter.FunctionLookup? = nil) throws -> [Bool] {
        let register = AccessEvent(
            time: 2000, wait: 4, initiator: .hart(0), origin: 0x8000_0010, isWrite: true, size: 4, status: .ok,
            target: .register(0, element: 0, byte: 0), old: 0, new: 0x10)
        var element = register, elsewhere = register
        (element.target, element.isWrite) = (.register(1, element: 2, byte: 4), false)
        (element.initiator, element.new) = (.host(function: 1), 5)
        (elsewhere.target, elsewhere.status, elsewhere.origin) = (.address(4, bus: 0), .unmapped, 0x8000_0100)
        let filter = try TraceFilter(text, try makeDecoder(), functions: functions)
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
        #expect(try selected("pc in main") { $0 == "main" ? [0x8000_0000...0x8000_001f] : [] } == [true, false, false])
        // No quantity, no comparison, in either direction.
        #expect(try selected("old == 0") == [true, true, false])
        #expect(try selected("old != 0") == [false, false, false])
        #expect(try selected("size < 0 or size > 0xffff_ffff_ffff_ffff or time in 5..3") == [false, false, false])
        // `and` binds closer than `or`, `not` closest.
        #expect(try selected("fault or not TIMER.CTRL and read") == [false, true, true])
    }

    @Test(arguments: [
        ("", 0, "a condition: a block, a register"),
        ("TIMER.CTRL.enable = 1", 18, "'=' means nothing here: equality is '=='"),
        ("TIMER and", 9, "the end found"),
        ("(TIMER", 6, "')', 'and' or 'or' expected, the end found"),
        ("TIMER TIMER", 6, "'and', 'or' or the end expected, 'TIMER' found"),
        ("time > 10min", 9, "a unit (cycles, ns, us, ms, s) or nothing expected"),
        ("size == 4us", 8, "a number without a unit expected"),
        ("time in 3", 9, "'..' and the end of the range expected"),
        ("write and TIMR", 10, "no block 'TIMR' in this trace"),
        ("TIMER.CTRK", 0, "near it: CTRL"),
        ("TIMER == 4", 0, "'TIMER' has no value"),
        ("TIMER.CTRL.mode == sometimes", 19, "one of the field's values expected: once, periodic"),
        ("initiator == cpu", 13, "an initiator (hart0"),
        ("status != good", 10, "a status expected: ok, unmapped"),
        ("pc in main", 6, "only with a firmware image"),
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

    @Test func depthIsLimited() throws {
        let deep = String(repeating: "(", count: 150) + "read" + String(repeating: ")", count: 150)
        #expect(try FilterExpression(parsing: deep) == .read)
        #expect(message { _ = try FilterExpression(parsing: String(repeating: "not ", count: 100_000) + "read") }.contains("at most 200"))
        // What is side by side isn't deep.
        let wide = Array(repeating: "read", count: 20_000).joined(separator: " or ")
        #expect(try FilterExpression(parsing: wide) == .or(Array(repeating: .read, count: 20_000)))
    }
}
