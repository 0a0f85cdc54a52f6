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

/// A folder that is gone after the test.
final class Folder {
    let path: String
    init() {
        var template = Array("/tmp/outrigger-trace-XXXXXX".utf8CString)
        mkdtemp(&template)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = run("rm -rf \(path)") }
}

func run(_ command: String) -> (status: Int32, output: String) {
    guard let pipe = popen(command + " 2>&1", "r") else { return (-1, "") }
    var output: [UInt8] = [], chunk = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&chunk, 1, chunk.count, pipe), count > 0 { output += chunk[..<count] }
    return (pclose(pipe), String(decoding: output, as: UTF8.self))
}

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

func write(_ events: [AccessEvent], to folder: String) throws {
    let maps = try makeMaps()
    let writer = try TraceWriter(folder: folder, names: TraceNames(RegisterCatalogue(maps), buses: maps), frequency: 1_000_000_000)
    for event in events { writer.record(event) }
    writer.finish()
    #expect(writer.count == UInt64(events.count))
}

func read(_ folder: String) throws -> [AccessEvent] {
    var reader = try TraceReader(folder: folder), events: [AccessEvent] = []
    while let event = try reader.next() {
        if case .access(let access) = event { events.append(access) }
    }
    return events
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
