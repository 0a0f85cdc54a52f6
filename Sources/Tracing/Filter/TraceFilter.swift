import Registers

/// A filter expression made ready for one trace: names looked up, times in cycles, comparisons as ranges.
public struct TraceFilter: Sendable {
    /// The addresses of a firmware's functions of a name; more than one when several have it.
    public typealias FunctionLookup = (String) -> [ClosedRange<UInt32>]

    private indirect enum Node: Sendable {
        case any([Node])
        case all([Node])
        case not(Node)
        case write, fault
        case accesses(Place)
        case changed(Place)
        /// By the initiator's raw value.
        case initiators([Bool])
        case status(BusStatus)
        case functions([ClosedRange<UInt32>])
        /// Nothing is in a range whose end lies before its start.
        case within(Quantity, from: UInt64, to: UInt64)
        case outside(Quantity, UInt64)
    }

    /// Registers of the trace, perhaps one element of an array, perhaps one field.
    private struct Place: Sendable {
        /// By number.
        var registers: [Bool]
        var element: UInt16?
        var mask: UInt64 = .max
        var shift: UInt64 = 0

        func includes(_ target: AccessEvent.Target) -> Bool {
            guard case .register(let number, let element, _) = target, registers[Int(number)] else { return false }
            return self.element.map { $0 == element } ?? true
        }

        func value(_ register: UInt64) -> UInt64 { (register & mask) >> shift }
    }

    private enum Quantity: Sendable {
        case time, wait, size, pc, pid, address, old, new
        case oldOf(Place), newOf(Place)
    }

    /// nil: everything passes.
    private let root: Node?
    private let decoder: TraceDecoder

    /// Lets everything through.
    public init(_ decoder: TraceDecoder) {
        root = nil
        self.decoder = decoder
    }

    /// - Parameters:
    ///   - frequency: fabric cycles per second, for times with a unit.
    ///   - functions: nil when no firmware image is at hand; a filter that asks for a function is then an error.
    /// - Throws: ``FilterError`` for what isn't as the grammar of ``FilterExpression`` wants it, and for names that mean nothing.
    public init(
        _ text: String, _ decoder: TraceDecoder, frequency: UInt64 = 1_000_000_000, functions: FunctionLookup? = nil
    ) throws(FilterError) {
        let resolver = Resolver(text: text, decoder: decoder, frequency: frequency, functions: functions)
        root = try resolver.node(try FilterExpression(parsing: text))
        self.decoder = decoder
    }

    /// Whether the filter lets an event through.
    public func matches(_ event: TraceEvent) -> Bool {
        guard let root else { return true }
        guard case .access(let event) = event else { return false }
        return matches(root, event)
    }

    private func matches(_ node: Node, _ event: AccessEvent) -> Bool {
        switch node {
        case .any(let parts): parts.contains { matches($0, event) }
        case .all(let parts): parts.allSatisfy { matches($0, event) }
        case .not(let inner): !matches(inner, event)
        case .write: event.isWrite
        case .fault: event.status != .ok
        case .accesses(let place): place.includes(event.target)
        case .changed(let place): place.includes(event.target) && (event.old ^ event.new) & place.mask != 0
        case .initiators(let wanted): wanted[Int(event.initiator.rawValue) & 0x7ff]
        case .status(let status): event.status == status
        case .functions(let ranges): event.initiator.kind == .hart && ranges.contains { $0.contains(event.origin) }
        case .within(let quantity, let low, let high): value(quantity, event).map { $0 >= low && $0 <= high } ?? false
        case .outside(let quantity, let other): value(quantity, event).map { $0 != other } ?? false
        }
    }

    private func value(_ quantity: Quantity, _ event: AccessEvent) -> UInt64? {
        switch quantity {
        case .time: return event.time
        case .wait: return event.wait
        case .size: return UInt64(event.size)
        case .pc: return event.initiator.kind == .hart ? UInt64(event.origin) : nil
        case .pid: return event.initiator.kind == .host ? UInt64(event.origin) : nil
        case .address: return decoder.address(event)
        case .old:
            if case .register = event.target { return event.old }
            return nil
        case .new: return event.new
        case .oldOf(let place): return place.includes(event.target) ? place.value(event.old) : nil
        case .newOf(let place): return place.includes(event.target) ? place.value(event.new) : nil
        }
    }

    // MARK: Resolving names

    private struct Resolver {
        let text: String
        let decoder: TraceDecoder
        let frequency: UInt64
        let functions: FunctionLookup?

        func node(_ expression: FilterExpression) throws(FilterError) -> Node {
            switch expression {
            case .or(let parts): return .any(try nodes(parts))
            case .and(let parts): return .all(try nodes(parts))
            case .not(let inner): return .not(try node(inner))
            case .write: return .write
            case .read: return .not(.write)
            case .fault: return .fault
            case .accesses(let name): return .accesses(try place(name).place)
            case .changed(let name): return .changed(try place(name).place)
            case .initiator(let name, let isEqual):
                let node = Node.initiators(try initiators(name))
                return isEqual ? node : .not(node)
            case .status(let name, let isEqual):
                guard let status = BusStatus.allCases.first(where: { "\($0)" == name.text }) else {
                    throw error("a status expected: \(BusStatus.allCases.map { "\($0)" }.joined(separator: ", "))", name)
                }
                return isEqual ? .status(status) : .not(.status(status))
            case .function(let name):
                guard let functions else { throw error("a function has addresses only with a firmware image", name) }
                let ranges = functions(name.text)
                guard !ranges.isEmpty else { throw error("the firmware has no function '\(name.text)'", name) }
                return .functions(ranges)
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

        private func resolve(_ quantity: FilterQuantity) throws(FilterError) -> (Quantity, [FieldDescription.Encoding]) {
            switch quantity {
            case .time: return (.time, [])
            case .wait: return (.wait, [])
            case .size: return (.size, [])
            case .pc: return (.pc, [])
            case .pid: return (.pid, [])
            case .address: return (.address, [])
            case .old: return (.old, [])
            case .new: return (.new, [])
            case .oldOf(let name), .newOf(let name):
                guard name.text.contains(".") else {
                    throw error("'\(name.text)' has no value: a register or a field expected, BLOCK.REGISTER or BLOCK.REGISTER.FIELD", name)
                }
                let (place, encodings) = try place(name)
                if case .oldOf = quantity { return (.oldOf(place), encodings) }
                return (.newOf(place), encodings)
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
                throw error("a number or the name of one of the field's values expected" + known, name)
            }
        }

        private func place(_ name: FilterName) throws(FilterError) -> (place: Place, encodings: [FieldDescription.Encoding]) {
            guard name.text.contains(".") else {
                let registers = decoder.known.map { $0.block.lowercased() == name.text.lowercased() }
                guard registers.contains(true) else {
                    throw error("no block '\(name.text)' in this trace, and no other word of the grammar", name)
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

        /// The initiators that a word means.
        private func initiators(_ name: FilterName) throws(FilterError) -> [Bool] {
            let wanted = (0..<0x800).map { (raw: UInt16) in
                let initiator = Initiator(rawValue: raw)
                return initiator.description == name.text || "\(initiator.kind)" == name.text
            }
            guard wanted.contains(true) else {
                throw error("an initiator (hart0, host0, host1, dma1, debugger, device) or a kind of them (hart, host, dma) expected", name)
            }
            return wanted
        }

        private func error(_ message: String, _ name: FilterName) -> FilterError {
            FilterError(message: message, expression: text, column: name.column)
        }
    }
}
