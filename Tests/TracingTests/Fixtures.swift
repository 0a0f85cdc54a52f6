import Glibc
import Registers
import Testing
import Tracing

/// A bus with one block of a few registers.
func makeMaps() throws -> [BusMap] {
    let map = try RegisterMap(text: """
        block TIMER 0x100 # A timer.
        register CTRL 0x0 32 # Control.
        field enable 0 1 rw rw reset=0 # Runs.
        field mode 4 2 rw rw reset=0 # How.
        value once 0 # Stops.
        value periodic 1 # Goes on.
        register VM[4:0x10].COUNT 0x10 64 access=32 # Counts.
        field value 0 64 r rw reset=0 # Events.
        """)
    return [BusMap(name: "firmware", size: 1 << 32, blocks: [.init(name: "TIMER", base: 0x1000, map: map)])]
}

func run(_ command: String) -> (status: Int32, output: String) {
    guard let pipe = popen(command + " 2>&1", "r") else { return (-1, "") }
    var output: [UInt8] = [], chunk = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&chunk, 1, chunk.count, pipe), count > 0 { output += chunk[..<count] }
    return (pclose(pipe), String(decoding: output, as: UTF8.self))
}

/// Accesses of four initiators.
func makeEvents(seed: UInt64, count: Int) -> [AccessEvent] {
    var state = seed, time: UInt64 = 0
    func random(_ bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
    }
    return (0..<count).map { _ in
        // Now and then a long silence: more than the 32 bits of an event's own clock field.
        time += random(100) == 0 ? random(1 << 33) : 1 + random(50)
        let isHart = random(2) == 0
        let elsewhere = random(10) == 0
        let wide = random(2) == 0
        let target: AccessEvent.Target =
            elsewhere
            ? .address(random(1 << 32), bus: 0)
            : .register(wide ? 1 : 0, element: wide ? UInt16(random(4)) : 0, byte: UInt8(random(2) * 4))
        return AccessEvent(
            time: time, wait: random(9000), initiator: isHart ? .hart(0) : .host(function: Int(random(3))), origin: UInt32(random(1 << 32)),
            isWrite: random(2) == 0, size: [1, 2, 4, 8][Int(random(4))], status: random(5) == 0 ? .denied : .ok, target: target,
            old: elsewhere ? 0 : random(wide ? .max >> 1 : 1 << 32), new: random(wide ? .max >> 1 : 1 << 32))
    }
}

/// Events of every class, in an order in which each stream's time goes forward.
func makeAllEvents(seed: UInt64, count: Int) -> [TraceEvent] {
    var random = Random(seed)
    func text(_ longest: UInt64) -> String {
        String((0...random.below(longest)).map { _ in random.pick(Array("abc ÄÖ€\"\\\n\t0x17")) })
    }
    return makeEvents(seed: seed, count: count).map { access in
        let time = access.time, function = UInt8(random.below(65)), hart = UInt8(random.below(2))
        switch random.below(12) {
        case 0: return .interrupt(InterruptEvent(time: time, step: .line(UInt16(random.below(2)), level: random.below(2) == 0)))
        case 1:
            let vector = random.below(2) == 0 ? nil : UInt16(random.below(1 << 16))
            return .interrupt(InterruptEvent(time: time, step: .message(function: function, vector: vector, level: random.below(2) == 0)))
        case 2:
            return .interrupt(InterruptEvent(time: time, step: .trap(
                hart: hart, cause: UInt32(random.below(1 << 32)), pc: UInt32(random.below(1 << 32)),
                handler: UInt32(random.below(1 << 32)))))
        case 3:
            return .dma(DMAEvent(
                time: time, function: function, isWrite: random.below(2) == 0, address: random.below(.max),
                bytes: UInt32(random.below(1 << 32)), status: random.pick(BusStatus.allCases)))
        case 4:
            return .queue(QueueEvent(
                time: time, function: function, queue: UInt16(random.below(1 << 16)), step: random.pick(QueueEvent.Step.allCases),
                head: UInt16(random.below(1 << 16)), bytes: UInt32(random.below(1 << 32)), depth: UInt16(random.below(1 << 16))))
        case 5:
            return .fault(FaultEvent(
                time: time, kind: random.pick(FaultEvent.Kind.allCases), initiator: random.pick([.device, .hart(1), .dma(function: 64)]),
                address: random.below(.max), origin: UInt32(random.below(1 << 32)), name: text(60)))
        case 6: return .log(LogEvent(time: time, content: .line(text(300))))
        case 7:
            let arguments = (0..<random.below(16)).map { _ in UInt32(random.below(1 << 32)) }
            return .log(LogEvent(time: time, content: .record(kind: UInt16(random.below(1)), arguments: arguments)))
        default: return .access(access)
        }
    }
}

func makeNames() throws -> TraceNames {
    let maps = try makeMaps()
    return TraceNames(RegisterCatalogue(maps), buses: maps, wires: ["PLIC.WA", "hart0.external"], records: ["allocation"])
}

func makeWriter(_ folder: String?, _ selection: TraceSelection = TraceSelection()) throws -> TraceWriter {
    try TraceWriter(folder: folder, names: makeNames(), frequency: 1_000_000_000, selection: selection)
}

@discardableResult
func write(_ events: [TraceEvent], to folder: String?, _ selection: TraceSelection = TraceSelection()) throws -> TraceWriter.Totals {
    let writer = try makeWriter(folder, selection)
    for event in events { writer.record(event) }
    let totals = writer.finish()
    #expect(totals.failure == nil)
    #expect(totals.events == UInt64(events.count))
    return totals
}

func read(_ folder: String) throws -> [TraceEvent] {
    var reader = try TraceReader(folder: folder), events: [TraceEvent] = []
    while let event = try reader.next() { events.append(event) }
    return events
}

/// In the order in which a reader merges the streams.
func merged(_ events: [TraceEvent]) -> [TraceEvent] {
    events.enumerated().sorted {
        ($0.element.time, $0.element.initiator.rawValue, $0.offset) < ($1.element.time, $1.element.initiator.rawValue, $1.offset)
    }.map(\.element)
}

func message(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "no error"
    } catch {
        return "\(error)"
    }
}

func makeDecoder() throws -> TraceDecoder {
    let maps = try makeMaps()
    return makeDecoder(maps)
}

func makeDecoder(_ maps: [BusMap]) -> TraceDecoder {
    let catalogue = RegisterCatalogue(maps)
    return TraceDecoder(
        TraceNames(catalogue, buses: maps, wires: ["PLIC.TIMER", "hart0.external"], records: ["boot", "stage"]), catalogue: catalogue,
        maps: maps, symbols: TestSymbols())
}

/// Small random numbers from a seed.
struct Random {
    var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func below(_ bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
    }

    mutating func pick<T>(_ items: [T]) -> T { items[Int(below(UInt64(items.count)))] }
}
