import Registers

/// A filter expression made ready for one trace: names looked up, times in cycles, comparisons as ranges.
public struct TraceFilter: Sendable {
    indirect enum Node: Sendable {
        case any([Node])
        case all([Node])
        case not(Node)
        case kind(TraceClass)
        case write(Bool)
        case fault
        case accesses(Place)
        case changed(Place)
        /// By the number that ``TraceFilter/code(of:_:)`` gives.
        case attribute(FilterAttribute, wanted: [Bool], isEqual: Bool)
        case functions([Range<UInt32>])
        case text(String)
        /// Nothing is in a range whose end lies before its start.
        case within(Quantity, from: UInt64, to: UInt64)
        case outside(Quantity, UInt64)
    }

    /// Registers of the trace, perhaps one element of an array, perhaps one field.
    struct Place: Sendable {
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

    enum Quantity: Sendable {
        case named(FilterQuantity)
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
    ///   - decoder: without symbols of a firmware image, a filter that asks for a function is an error.
    ///   - frequency: fabric cycles per second, for times with a unit.
    /// - Throws: ``FilterError`` for what isn't as the grammar of ``FilterExpression`` wants it, and for names that mean nothing.
    public init(
        _ text: String, _ decoder: TraceDecoder, frequency: UInt64 = 1_000_000_000
    ) throws(FilterError) {
        let resolver = FilterResolver(text: text, decoder: decoder, frequency: frequency)
        root = try resolver.node(try FilterExpression(parsing: text))
        self.decoder = decoder
    }

    /// Whether the filter lets an event through.
    public func matches(_ event: TraceEvent) -> Bool {
        root.map { matches($0, event) } ?? true
    }

    private func matches(_ node: Node, _ event: TraceEvent) -> Bool {
        switch node {
        case .any(let parts): return parts.contains { matches($0, event) }
        case .all(let parts): return parts.allSatisfy { matches($0, event) }
        case .not(let inner): return !matches(inner, event)
        case .kind(let kind): return event.kind == kind
        case .write(let isWrite): return event.isWrite == isWrite
        case .fault: return event.isFault
        case .accesses(let place):
            if case .access(let event) = event { return place.includes(event.target) }
            return false
        case .changed(let place):
            guard case .access(let event) = event else { return false }
            return place.includes(event.target) && (event.old ^ event.new) & place.mask != 0
        case .attribute(let attribute, let wanted, let isEqual):
            guard let code = Self.code(of: attribute, event, intx: decoder.wires.count) else { return false }
            return (code < wanted.count && wanted[code]) == isEqual
        case .functions(let ranges): return event.pc.map { pc in ranges.contains { $0.contains(pc) } } ?? false
        case .text(let text): return self.text(event)?.contains(text) ?? false
        case .within(let quantity, let low, let high): return value(quantity, event).map { $0 >= low && $0 <= high } ?? false
        case .outside(let quantity, let other): return value(quantity, event).map { $0 != other } ?? false
        }
    }

    /// The number of an event's attribute; nil if it has none.
    /// - Parameter intx: the number of INTx among the lines, after all wires.
    private static func code(of attribute: FilterAttribute, _ event: TraceEvent, intx: Int) -> Int? {
        switch (attribute, event) {
        case (.initiator, _): return Int(event.initiator.rawValue)
        case (.status, _): return event.status.map { Int($0.rawValue) }
        case (.line, .interrupt(let event)):
            switch event.step {
            case .line(let wire, _): return Int(wire)
            case .message(_, nil, _): return intx
            case .message, .trap: return nil
            }
        case (.step, .interrupt(let event)): return FilterStep(event).rawValue
        case (.step, .queue(let event)): return FilterStep(event).rawValue
        case (.kind, .fault(let event)): return Int(event.kind.rawValue)
        case (.record, .log(let event)):
            if case .record(let kind, _) = event.content { return Int(kind) }
            return nil
        case (.line, _), (.step, _), (.kind, _), (.record, _): return nil
        }
    }

    private func text(_ event: TraceEvent) -> String? {
        switch event {
        case .fault(let event): event.name
        case .log(let event):
            switch event.content {
            case .line(let text): text
            case .record(let kind, _): decoder.recordName(kind)
            }
        case .access, .interrupt, .dma, .queue: nil
        }
    }

    private func value(_ quantity: Quantity, _ event: TraceEvent) -> UInt64? {
        switch quantity {
        case .named(.time): return event.time
        case .named(.pc): return event.pc.map(UInt64.init)
        case .named(.pid): return event.pid.map(UInt64.init)
        case .named(.function):
            let kind = event.initiator.kind
            return kind == .host || kind == .dma ? UInt64(event.initiator.number) : nil
        case .named(let quantity): return value(quantity, event)
        case .oldOf(let place):
            guard case .access(let event) = event, place.includes(event.target) else { return nil }
            return place.value(event.old)
        case .newOf(let place):
            guard case .access(let event) = event, place.includes(event.target) else { return nil }
            return place.value(event.new)
        }
    }

    private func value(_ quantity: FilterQuantity, _ event: TraceEvent) -> UInt64? {
        switch event {
        case .access(let event):
            switch quantity {
            case .wait: return event.wait
            case .size: return UInt64(event.size)
            case .address: return decoder.address(event)
            case .old: if case .register = event.target { return event.old } else { return nil }
            case .new: return event.new
            default: return nil
            }
        case .interrupt(let event):
            switch (quantity, event.step) {
            case (.level, .line(_, let level)), (.level, .message(_, nil, let level)): return level ? 1 : 0
            case (.vector, .message(_, let vector?, _)): return UInt64(vector)
            case (.cause, .trap(_, let cause, _, _)): return UInt64(cause)
            case (.handler, .trap(_, _, _, let handler)): return UInt64(handler)
            default: return nil
            }
        case .dma(let event):
            switch quantity {
            case .address: return event.address
            case .bytes: return UInt64(event.bytes)
            default: return nil
            }
        case .queue(let event):
            let isRequest = event.step == .taken || event.step == .completed
            switch quantity {
            case .queue: return UInt64(event.queue)
            case .depth: return UInt64(event.depth)
            case .head: return isRequest ? UInt64(event.head) : nil
            case .bytes: return isRequest ? UInt64(event.bytes) : nil
            default: return nil
            }
        case .fault(let event):
            switch quantity {
            case .address: return event.address
            case .queue: return event.kind == .queue ? UInt64(event.origin) : nil
            default: return nil
            }
        case .log: return nil
        }
    }
}

/// The names of the attribute `step`, in the order of their numbers.
enum FilterStep: Int, CaseIterable {
    case line, message, trap, doorbell, taken, completed, notified

    init(_ event: InterruptEvent) {
        self = switch event.step {
        case .line, .message(_, nil, _): .line
        case .message: .message
        case .trap: .trap
        }
    }

    init(_ event: QueueEvent) {
        self = switch event.step {
        case .doorbell: .doorbell
        case .taken: .taken
        case .completed: .completed
        case .notified: .notified
        }
    }
}
