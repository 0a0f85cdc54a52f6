import Registers

/// Gives the names of a filter expression their meaning in one trace.
struct FilterResolver {
    typealias Node = TraceFilter.Node
    typealias Place = TraceFilter.Place

    let text: String
    let decoder: TraceDecoder
    let frequency: UInt64

    func node(_ expression: FilterExpression) throws(FilterError) -> Node {
        switch expression {
        case .or(let parts): return .any(try nodes(parts))
        case .and(let parts): return .all(try nodes(parts))
        case .not(let inner): return .not(try node(inner))
        case .kind(let kind): return .kind(kind)
        case .write: return .write(true)
        case .read: return .write(false)
        case .fault: return .fault
        case .accesses(let name): return .accesses(try place(name).place)
        case .changed(let name): return .changed(try place(name).place)
        case .attribute(let attribute, let name, let isEqual):
            return .attribute(attribute, wanted: try codes(attribute, name), isEqual: isEqual)
        case .function(let name):
            guard let symbols = decoder.symbols else { throw error("a function has addresses only with a firmware image", name) }
            let ranges = symbols.ranges(ofFunction: name.text)
            guard !ranges.isEmpty else { throw unknown("the firmware has no function '\(name.text)'", name, symbols.functionNames) }
            return .functions(ranges)
        case .text(let text): return .text(text)
        case .compare(let quantity, let comparison, let literal):
            let (quantity, encodings) = try resolve(quantity)
            let value = try number(literal, encodings)
            return switch comparison {
            case .equal: .within(quantity, from: value, to: value)
            case .notEqual: .outside(quantity, value)
            case .lessOrEqual: .within(quantity, from: 0, to: value)
            case .less: value == 0 ? .within(quantity, from: 1, to: 0) : .within(quantity, from: 0, to: value - 1)
            case .greaterOrEqual: .within(quantity, from: value, to: .max)
            case .greater: value == .max ? .within(quantity, from: 1, to: 0) : .within(quantity, from: value + 1, to: .max)
            }
        case .range(let quantity, let low, let high):
            let (quantity, encodings) = try resolve(quantity)
            return .within(quantity, from: try number(low, encodings), to: try number(high, encodings))
        }
    }

    private func nodes(_ expressions: [FilterExpression]) throws(FilterError) -> [Node] {
        var nodes: [Node] = []
        for expression in expressions { nodes.append(try node(expression)) }
        return nodes
    }

    // MARK: Attributes

    /// The numbers that a name of an attribute means.
    private func codes(_ attribute: FilterAttribute, _ name: FilterName) throws(FilterError) -> [Bool] {
        switch attribute {
        case .initiator: return try initiators(name)
        case .status: return try choose(name, "a status", BusStatus.allCases.map { "\($0)" })
        case .step: return try choose(name, "a step", FilterStep.allCases.map { "\($0)" })
        case .kind: return try choose(name, "a kind of fault", FaultEvent.Kind.allCases.map { "\($0)" })
        case .record:
            guard !decoder.records.isEmpty else { throw error("kinds of records have names only with a firmware image", name) }
            return try choose(name, "a kind of record", decoder.records)
        case .line: return try lines(name)
        }
    }

    private func choose(_ name: FilterName, _ what: String, _ names: [String]) throws(FilterError) -> [Bool] {
        let wanted = names.map { $0 == name.text }
        guard wanted.contains(true) else {
            throw unknown("\(what) expected: \(names.joined(separator: ", "))", name, names)
        }
        return wanted
    }

    /// A line by its whole name, or all that begin with a name and a dot; INTx comes after all wires.
    private func lines(_ name: FilterName) throws(FilterError) -> [Bool] {
        let names = decoder.wires + ["INTx"], wantedName = name.text.lowercased()
        let wanted = names.map { $0.lowercased() == wantedName || $0.lowercased().hasPrefix(wantedName + ".") }
        guard wanted.contains(true) else { throw unknown("no interrupt line '\(name.text)' in this trace", name, names) }
        return wanted
    }

    /// One initiator, or a kind of them.
    private func initiators(_ name: FilterName) throws(FilterError) -> [Bool] {
        let all = (0..<UInt16(Initiator.Kind.allCases.count) << 8).map(Initiator.init(rawValue:))
        let wanted = all.map { $0.description == name.text || "\($0.kind)" == name.text }
        guard wanted.contains(true) else {
            let kinds = Initiator.Kind.allCases.map { "\($0)" }
            throw unknown(
                "an initiator (hart0, host0, host1, dma1, device, debugger) or a kind of them (hart, host, dma) expected", name, kinds)
        }
        return wanted
    }

    // MARK: Quantities

    private func resolve(_ quantity: FilterQuantity) throws(FilterError) -> (TraceFilter.Quantity, [FieldDescription.Encoding]) {
        switch quantity {
        case .oldOf(let name), .newOf(let name):
            guard name.text.contains(".") else {
                throw error("'\(name.text)' has no value: a register or a field expected, BLOCK.REGISTER or BLOCK.REGISTER.FIELD", name)
            }
            let (place, encodings) = try place(name)
            if case .oldOf = quantity { return (.oldOf(place), encodings) }
            return (.newOf(place), encodings)
        case .cause: return (.named(.cause), TrapCause.encodings)
        default: return (.named(quantity), [])
        }
    }

    private func number(_ literal: FilterLiteral, _ encodings: [FieldDescription.Encoding]) throws(FilterError) -> UInt64 {
        switch literal {
        case .number(let value): return value
        case .duration(let amount, let unit):
            guard let perSecond = unit.perSecond else { return amount }
            // Saturates: a time past the end of all time is as good as the end.
            let (high, low) = amount.multipliedFullWidth(by: frequency)
            return high >= perSecond ? .max : perSecond.dividingFullWidth((high, low)).quotient
        case .name(let name):
            if let value = encodings.first(where: { $0.name == name.text })?.value { return value }
            let known = encodings.isEmpty ? "; it has no named values" : ": \(encodings.map(\.name).joined(separator: ", "))"
            throw unknown("a number or the name of one of the field's values expected" + known, name, encodings.map(\.name))
        }
    }

    // MARK: Places

    private func place(_ name: FilterName) throws(FilterError) -> (place: Place, encodings: [FieldDescription.Encoding]) {
        guard name.text.contains(".") else {
            let registers = decoder.known.map { $0.block.lowercased() == name.text.lowercased() }
            guard registers.contains(true) else {
                var blocks: [String] = []
                for register in decoder.known where blocks.last != String(register.block) { blocks.append(String(register.block)) }
                throw unknown(
                    "no block '\(name.text)' in this trace, and no other word of the grammar", name,
                    blocks + FilterParser.keywords.sorted())
            }
            return (Place(registers: registers), [])
        }
        let location = try location(name)
        let registerName = "\(location.block.name).\(location.register.name)"
        var place = Place(registers: decoder.known.map { $0.name == registerName })
        guard place.registers.contains(true) else { throw error("no register '\(registerName)' in this trace", name) }
        if name.text.contains("[") { place.element = UInt16(location.element) }
        if let field = location.field {
            place.mask = field.mask
            place.shift = UInt64(field.lsb)
        }
        return (place, location.field?.encodings ?? [])
    }

    private func location(_ name: FilterName) throws(FilterError) -> RegisterLocation {
        var complaint = "'\(name.text)': no such register"
        for (index, map) in decoder.maps.enumerated() {
            do {
                return try map.location(named: name.text)
            } catch {
                // The first bus is the one with most blocks: its nearest names help most.
                let block = name.text.prefix { $0 != "." }.lowercased()
                if index == 0 || map.blocks.contains(where: { $0.name.lowercased() == block }) { complaint = error.description }
            }
        }
        throw error(complaint, name)
    }

    // MARK: Errors

    private func error(_ message: String, _ name: FilterName) -> FilterError {
        FilterError(message: message, expression: text, column: name.column)
    }

    /// With the nearest of the names that there are.
    private func unknown(_ message: String, _ name: FilterName, _ names: [String]) -> FilterError {
        let candidates = nearest(name.text, names)
        return error(message + (candidates.isEmpty ? "" : "; near it: \(candidates.joined(separator: ", "))"), name)
    }
}
