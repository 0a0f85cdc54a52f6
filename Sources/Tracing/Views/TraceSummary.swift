import Registers

/// Who did what how often, what that cost, and what went wrong.
public struct TraceSummary {
    struct AccessCounts {
        var reads: UInt64 = 0, writes: UInt64 = 0, faults: UInt64 = 0
        /// Cycles until the accesses came back.
        var waited: UInt64 = 0

        var accesses: UInt64 { reads + writes }

        mutating func add(_ event: AccessEvent) {
            if event.isWrite { writes += 1 } else { reads += 1 }
            if event.status != .ok { faults += 1 }
            waited &+= event.wait
        }
    }

    /// Transfers of one function.
    struct DMACounts {
        var reads: UInt64 = 0, writes: UInt64 = 0, bytesRead: UInt64 = 0, bytesWritten: UInt64 = 0
        /// Transfers none of whose bytes moved.
        var refused: UInt64 = 0

        mutating func add(_ event: DMAEvent) {
            if event.isWrite { writes += 1 } else { reads += 1 }
            guard event.status == .ok else { return refused += 1 }
            if event.isWrite { bytesWritten &+= UInt64(event.bytes) } else { bytesRead &+= UInt64(event.bytes) }
        }
    }

    /// Events that are the same mistake: made by the same instruction at the same place, with the same outcome.
    struct Mistake: Hashable {
        /// `read`, `write`, or `fault`.
        let what: String
        let name: String, reason: String
        let initiator: Initiator
        /// Program counter or process.
        let origin: UInt32
    }

    /// One mistake: how often, and the cycle of its first time.
    typealias RankedMistake = (mistake: Mistake, count: UInt64, first: UInt64)

    let decoder: TraceDecoder
    let frequency: UInt64
    private var events: [TraceClass: UInt64] = [:]
    private(set) var accesses = AccessCounts()
    private(set) var first: UInt64?
    private(set) var last: UInt64 = 0
    /// By register number, elements of arrays together.
    private var registers: [AccessCounts]
    private var elsewhere = AccessCounts()
    /// By the initiator's raw value.
    private var initiators = [AccessCounts](repeating: AccessCounts(), count: Initiator.Kind.allCases.count << 8)
    /// By name.
    private var interrupts: [String: UInt64] = [:]
    /// By function.
    private var transfers = [DMACounts](repeating: DMACounts(), count: 256)
    private var queues = QueueStatistics()
    private var mistakes: [Mistake: (count: UInt64, first: UInt64)] = [:]
    /// By hart: the instruction whose access failed last. The bus error that it takes for that is the same mistake.
    private var failed: [Int: UInt32] = [:]

    /// - Parameter frequency: fabric cycles per second.
    public init(_ decoder: TraceDecoder, frequency: UInt64) {
        self.decoder = decoder
        self.frequency = frequency
        registers = .init(repeating: AccessCounts(), count: decoder.known.count)
    }

    /// Counts one event. Events come in the order of time.
    public mutating func add(_ event: TraceEvent) {
        if first == nil { first = event.time }
        last = event.time
        events[event.kind, default: 0] += 1
        switch event {
        case .access(let event): add(event)
        case .interrupt(let event): interrupts[name(event), default: 0] += 1
        case .dma(let event): transfers[Int(event.function)].add(event)
        case .queue(let event): queues.add(event)
        case .fault(let event): add(event)
        case .log: break
        }
    }

    private mutating func add(_ event: AccessEvent) {
        accesses.add(event)
        initiators[min(Int(event.initiator.rawValue), initiators.count - 1)].add(event)
        if case .register(let number, _, _) = event.target { registers[Int(number)].add(event) } else { elsewhere.add(event) }
        if event.status != .ok, event.initiator.kind == .hart { failed[event.initiator.number] = event.origin }
        guard let (name, reason) = mistake(event) else { return }
        let what = event.isWrite ? "write" : "read"
        add(Mistake(what: what, name: name, reason: reason, initiator: event.initiator, origin: event.origin), event.time)
    }

    private mutating func add(_ event: FaultEvent) {
        if event.kind == .bus, failed.removeValue(forKey: event.initiator.number) == event.origin { return }
        let place = event.kind == .queue ? " queue \(event.origin)" : event.address != 0 ? " 0x\(hex(event.address))" : ""
        let isProgram = event.initiator.kind == .hart || event.initiator.kind == .host
        add(Mistake(
            what: "fault", name: "\(event.kind)\(place)", reason: printable(event.name), initiator: event.initiator,
            origin: isProgram ? event.origin : 0), event.time)
    }

    private mutating func add(_ mistake: Mistake, _ time: UInt64) {
        mistakes[mistake, default: (0, time)].count += 1
    }

    /// Whether something is wrong with an access: its status, or that it went to a range that is reserved.
    private func mistake(_ event: AccessEvent) -> (name: String, reason: String)? {
        guard case .address(let address, let bus) = event.target else {
            return event.status == .ok ? nil : (decoder.name(event), "\(event.status)")
        }
        let surroundings = decoder.surroundings(address, bus: bus)
        if event.status == .ok, surroundings?.isReserved != true { return nil }
        let place = surroundings.map { " (\($0.name)\($0.isReserved ? ", reserved" : ""))" } ?? ""
        return (decoder.name(event) + place, event.status == .ok ? "reserved" : "\(event.status)")
    }

    private func name(_ event: InterruptEvent) -> String {
        switch event.step {
        // Each interrupt raises its line and lowers it again.
        case .line(let wire, let level): "line \(decoder.wireName(wire)) \(level ? "raised" : "lowered")"
        case .message(_, let vector?, _): "\(event.initiator) vector \(vector)"
        case .message(_, nil, let level): "\(event.initiator) INTx \(level ? "raised" : "lowered")"
        case .trap(_, let cause, _, _): "\(event.initiator) trap \(TrapCause.name(cause))"
        }
    }

    // MARK: Rows

    func count(of kind: TraceClass) -> UInt64 { events[kind] ?? 0 }

    func rankedRegisters(by key: KeyPath<AccessCounts, UInt64>, _ top: Int) -> [(name: String, counts: AccessCounts)] {
        var rows = registers.indices.map { (name: decoder.known[$0].name, counts: registers[$0]) }
        rows.append(("no register", elsewhere))
        // Equals in the order of their names, so that two runs give the same text.
        return Array(
            rows.filter { $0.counts[keyPath: key] > 0 }
                .sorted { ($1.counts[keyPath: key], $0.name) < ($0.counts[keyPath: key], $1.name) }.prefix(top))
    }

    var rankedMistakes: [RankedMistake] {
        mistakes.map { ($0.key, $0.value.count, $0.value.first) }.sorted { a, b in
            if a.count != b.count { return a.count > b.count }
            if a.first != b.first { return a.first < b.first }
            return (a.mistake.name, a.mistake.initiator.rawValue, a.mistake.origin, a.mistake.what, a.mistake.reason)
                < (b.mistake.name, b.mistake.initiator.rawValue, b.mistake.origin, b.mistake.what, b.mistake.reason)
        }
    }

    var activeInitiators: [(name: String, counts: AccessCounts)] {
        initiators.indices.filter { initiators[$0].accesses > 0 }.map { ("\(Initiator(rawValue: UInt16($0)))", initiators[$0]) }
    }

    func rankedInterrupts(_ top: Int) -> [(name: String, count: UInt64)] {
        Array(interrupts.map { (name: $0.key, count: $0.value) }.sorted { ($1.count, $0.name) < ($0.count, $1.name) }.prefix(top))
    }

    var activeFunctions: [(name: String, counts: DMACounts)] {
        transfers.indices.filter { transfers[$0].reads + transfers[$0].writes > 0 }.map { ("dma\($0)", transfers[$0]) }
    }

    var activeQueues: [QueueStatistics.Row] { queues.rows }
}
