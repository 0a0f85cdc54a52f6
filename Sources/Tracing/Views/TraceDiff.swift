import Registers

/// Where two traces part.
public struct TraceDivergence: Sendable {
    /// How many accesses were the same before it.
    public let common: UInt64
    /// The last of those.
    public let before: [AccessEvent]
    /// What each trace has from there on; empty where it ends.
    public let first: [AccessEvent]
    public let second: [AccessEvent]
}

/// Compares two traces access by access. Registers are the same when they have the same name: the traces may number them differently.
public struct TraceDiff {
    /// The second trace's number for each register of the first, and for each bus.
    private let registers: [UInt16?]
    private let buses: [UInt8?]
    private let comparesProcesses: Bool

    /// - Parameter comparesProcesses: whether process ids of host programs matter. They are the host's and differ from run to run.
    public init(_ first: TraceDecoder, _ second: TraceDecoder, comparesProcesses: Bool) {
        var numbers: [String: UInt16] = [:]
        for (number, register) in second.known.enumerated() { numbers[register.name] = UInt16(number) }
        registers = first.known.map { numbers[$0.name] }
        buses = first.buses.map { name in second.buses.firstIndex(of: name).map { UInt8($0) } }
        self.comparesProcesses = comparesProcesses
    }

    /// Reads two traces until they differ.
    ///
    /// - Parameters:
    ///   - first, second: give the next access of a trace, nil at its end.
    ///   - context: how many accesses to keep before and from the difference on.
    /// - Returns: nil when they are the same to the end, with the number of accesses.
    public func compare(
        _ first: () throws(TraceError) -> AccessEvent?, _ second: () throws(TraceError) -> AccessEvent?, context: Int
    ) throws(TraceError) -> (divergence: TraceDivergence?, common: UInt64) {
        var before: [AccessEvent] = [], common: UInt64 = 0
        while true {
            let a = try first(), b = try second()
            if a == nil, b == nil { return (nil, common) }
            if let a, let b, isSame(a, b) {
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
        _ event: AccessEvent?, _ next: () throws(TraceError) -> AccessEvent?, _ count: Int
    ) throws(TraceError) -> [AccessEvent] {
        guard let event else { return [] }
        var events = [event]
        while events.count < max(count, 1), let event = try next() { events.append(event) }
        return events
    }

    private func isSame(_ a: AccessEvent, _ b: AccessEvent) -> Bool {
        var a = a
        switch a.target {
        case .register(let number, let element, let byte):
            guard let number = registers[Int(number)] else { return false }
            a.target = .register(number, element: element, byte: byte)
        case .address(let address, let bus):
            guard Int(bus) < buses.count, let bus = buses[Int(bus)] else { return false }
            a.target = .address(address, bus: bus)
        }
        if !comparesProcesses, a.initiator.kind == .host, b.initiator.kind == .host { a.origin = b.origin }
        return a == b
    }
}
