import Registers

/// Where two traces part.
public struct TraceDivergence: Sendable {
    /// How many events were the same before it.
    public let common: UInt64
    /// The last of those.
    public let before: [TraceEvent]
    /// What each trace has from there on; empty where it ends.
    public let first: [TraceEvent]
    public let second: [TraceEvent]
}

/// Compares two traces event by event. What they tell by number is the same when it has the same name: the traces may number differently.
public struct TraceDiff {
    /// The second trace's number for each register, bus, wire and record kind of the first.
    private let registers: [UInt16?]
    private let buses: [UInt8?]
    private let wires: [UInt16?]
    private let records: [UInt16?]
    private let comparesProcesses: Bool

    /// - Parameter comparesProcesses: whether process ids of host programs matter. They are the host's and differ from run to run.
    public init(_ first: TraceDecoder, _ second: TraceDecoder, comparesProcesses: Bool) {
        func numbers(_ first: [String], _ second: [String]) -> [UInt16?] {
            var numbers: [String: UInt16] = [:]
            for (number, name) in second.enumerated() { numbers[name] = UInt16(truncatingIfNeeded: number) }
            return first.map { numbers[$0] }
        }
        registers = numbers(first.known.map(\.name), second.known.map(\.name))
        buses = numbers(first.buses, second.buses).map { $0.map { UInt8(truncatingIfNeeded: $0) } }
        wires = numbers(first.wires, second.wires)
        records = numbers(first.records, second.records)
        self.comparesProcesses = comparesProcesses
    }

    /// Reads two traces until they differ.
    ///
    /// - Parameters:
    ///   - first, second: give the next event of a trace, nil at its end.
    ///   - context: how many events to keep before and from the difference on.
    /// - Returns: nil when they are the same to the end, with the number of events.
    public func compare(
        _ first: () throws(TraceError) -> TraceEvent?, _ second: () throws(TraceError) -> TraceEvent?, context: Int
    ) throws(TraceError) -> (divergence: TraceDivergence?, common: UInt64) {
        var before: [TraceEvent] = [], common: UInt64 = 0
        while true {
            let a = try first(), b = try second()
            if a == nil, b == nil { return (nil, common) }
            if let a, let b, renumbered(a, like: b) == b {
                common += 1
                before.append(a)
                // Cut now and then, not each time.
                if before.count >= 2 * context + 64 { before.removeFirst(before.count - context) }
                continue
            }
            let divergence = TraceDivergence(
                common: common, before: before.suffix(context), first: try rest(a, first, context), second: try rest(b, second, context))
            return (divergence, common)
        }
    }

    private func rest(
        _ event: TraceEvent?, _ next: () throws(TraceError) -> TraceEvent?, _ count: Int
    ) throws(TraceError) -> [TraceEvent] {
        guard let event else { return [] }
        var events = [event]
        while events.count < max(count, 1), let event = try next() { events.append(event) }
        return events
    }

    /// An event of the first trace with the second's numbers; nil if that has none for it.
    private func renumbered(_ event: TraceEvent, like other: TraceEvent) -> TraceEvent? {
        switch (event, other) {
        case (.access(var event), .access(let other)):
            switch event.target {
            case .register(let number, let element, let byte):
                guard let number = registers[Int(number)] else { return nil }
                event.target = .register(number, element: element, byte: byte)
            case .address(let address, let bus):
                guard Int(bus) < buses.count, let bus = buses[Int(bus)] else { return nil }
                event.target = .address(address, bus: bus)
            }
            if !comparesProcesses, event.initiator.kind == .host, other.initiator.kind == .host { event.origin = other.origin }
            return .access(event)
        case (.interrupt(var event), _):
            if case .line(let wire, let level) = event.step {
                guard Int(wire) < wires.count, let wire = wires[Int(wire)] else { return nil }
                event.step = .line(wire, level: level)
            }
            return .interrupt(event)
        case (.log(var event), _):
            // Kinds without a name are the same by number.
            if case .record(let kind, let arguments) = event.content, Int(kind) < records.count {
                guard let kind = records[Int(kind)] else { return nil }
                event.content = .record(kind: kind, arguments: arguments)
            }
            return .log(event)
        case (.fault(var event), .fault(let other)):
            if !comparesProcesses, event.initiator.kind == .host, other.initiator.kind == .host { event.origin = other.origin }
            return .fault(event)
        default: return event
        }
    }
}
