import Glibc
import Registers
import Testing
import Tracing

/// A bus with one block of a few registers.
private func makeMaps() throws -> [BusMap] {
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
private final class Folder {
    let path: String
    init() {
        var template = Array("/tmp/outrigger-trace-XXXXXX".utf8CString)
        mkdtemp(&template)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = run("rm -rf \(path)") }
}

private func run(_ command: String) -> (status: Int32, output: String) {
    guard let pipe = popen(command + " 2>&1", "r") else { return (-1, "") }
    var output: [UInt8] = [], chunk = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&chunk, 1, chunk.count, pipe), count > 0 { output += chunk[..<count] }
    return (pclose(pipe), String(decoding: output, as: UTF8.self))
}

private func makeEvents(seed: UInt64, count: Int) -> [AccessEvent] {
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
            elsewhere ? .address(random(1 << 32), bus: 0) : .register(wide ? 1 : 0, element: wide ? UInt16(random(4)) : 0, byte: UInt8(random(2) * 4))
        return AccessEvent(
            time: time, wait: random(9000), initiator: isHart ? .hart(0) : .host(function: Int(random(3))), origin: UInt32(random(1 << 32)),
            isWrite: random(2) == 0, size: [1, 2, 4, 8][Int(random(4))], status: random(5) == 0 ? .denied : .ok, target: target,
            old: elsewhere ? 0 : random(wide ? .max >> 1 : 1 << 32), new: random(wide ? .max >> 1 : 1 << 32))
    }
}

private func write(_ events: [AccessEvent], to folder: String) throws {
    let maps = try makeMaps()
    let writer = try TraceWriter(folder: folder, catalogue: RegisterCatalogue(maps), buses: maps.map(\.name), frequency: 1_000_000_000)
    for event in events { writer.record(event) }
    writer.finish()
    #expect(writer.count == UInt64(events.count))
}

private func read(_ folder: String) throws -> [AccessEvent] {
    var reader = try TraceReader(folder: folder), events: [AccessEvent] = []
    while let event = try reader.next() { events.append(event) }
    return events
}

private func message(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "no error"
    } catch {
        return "\(error)"
    }
}

@Suite struct RoundTripTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func whatIsWrittenIsReadBack(seed: UInt64) throws {
        let folder = Folder(), events = makeEvents(seed: seed, count: 30_000)
        try write(events, to: folder.path)
        let expected = events.map { event in
            var event = event
            event.wait = min(event.wait, 8191)
            return event
        }
        #expect(try read(folder.path) == expected)
    }

    @Test func babeltraceReadsItToo() throws {
        guard run("command -v babeltrace2").status == 0 else {
            #expect(getenv("CI") == nil, "babeltrace2 is not installed")
            return
        }
        let folder = Folder(), events = makeEvents(seed: 7, count: 20_000)
        try write(events, to: folder.path)
        let (status, output) = run("babeltrace2 --clock-cycles --names=none \(folder.path)")
        #expect(status == 0)
        let lines = output.split(separator: "\n")
        #expect(lines.count == events.count, "\(lines.first ?? "")")
        for (line, event) in zip(lines, events) {
            // [00000000000000000017] (+?) access32: { 0x100 }, { ... }
            let digits = line.drop { $0 != "[" }.dropFirst().prefix { $0 != "]" }
            #expect(UInt64(digits) == event.time)
        }
        #expect(output.contains("( \"TIMER.CTRL\" : container = 0 )"))
        #expect(output.contains("( \"write64\" : container = 7 )"))
        #expect(output.contains("( \"denied\" : container = 6 )"))
    }

    @Test func recordingAgainReplacesTheTrace() throws {
        let folder = Folder()
        try write(makeEvents(seed: 1, count: 100), to: folder.path)
        let events = makeEvents(seed: 2, count: 1).map { event in
            var event = event
            event.wait = 3
            return event
        }
        try write(events, to: folder.path)
        #expect(try read(folder.path) == events)
    }
}

@Suite struct DamagedTraceTests {
    @Test func aCutStreamIsReadUpToItsLastWholePacket() throws {
        let folder = Folder(), events = makeEvents(seed: 4, count: 60_000).filter { $0.initiator == .hart(0) }
        try write(events, to: folder.path)
        let path = folder.path + "/hart0"
        var status = stat()
        stat(path, &status)
        truncate(path, status.st_size - 10)
        let reader = try TraceReader(folder: folder.path)
        #expect(reader.notes.count == 1 && reader.notes[0].contains("after the last whole packet"))
        let found = try read(folder.path)
        #expect(found.count > events.count / 3 && found.count < events.count)
        #expect(found.map(\.time) == events.prefix(found.count).map(\.time))
    }

    /// Overwrites bytes of a file.
    private func patch(_ path: String, at offset: Int, _ bytes: [UInt8]) {
        let file = open(path, O_WRONLY)
        pwrite(file, bytes, bytes.count, offset)
        close(file)
    }

    @Test func damageIsNamedWithFileAndPlace() throws {
        let folder = Folder()
        #expect(message { _ = try read(folder.path + "/none") }.hasSuffix("/none/metadata: No such file or directory"))
        try write(makeEvents(seed: 5, count: 10), to: folder.path)
        let stream = folder.path + "/hart0", metadata = folder.path + "/metadata"
        patch(stream, at: 66, [9])
        #expect(message { _ = try read(folder.path) }.hasSuffix("hart0: byte 66: an event of type 0, 1 or 2 within its packet expected, 9 found"))
        patch(stream, at: 48, [1])
        #expect(message { _ = try read(folder.path) }.contains("hart0: byte 0: a packet of at most 262144 bytes expected"))
        patch(stream, at: 5, [0xee])
        #expect(message { _ = try read(folder.path) }.contains("hart0: byte 0: a packet of another trace"))
        patch(stream, at: 0, [0])
        #expect(message { _ = try read(folder.path) }.contains("hart0: byte 0: a packet's magic 0xc1fc1fc1 expected"))
        patch(metadata, at: 3, [UInt8(ascii: "X")])
        #expect(message { _ = try read(folder.path) }.hasSuffix("metadata: metadata of CTF 1.8 expected, '/* XTF 1.8 */' found"))
    }

    @Test(arguments: 1...40)
    func randomDamageNeverStopsTheReader(seed: UInt64) throws {
        let folder = Folder()
        try write(makeEvents(seed: seed, count: 200), to: folder.path)
        var state = seed
        for _ in 0..<8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            patch(folder.path + (state & 1 == 0 ? "/hart0" : "/metadata"), at: Int(state >> 40) % 2000, [UInt8(truncatingIfNeeded: state >> 32)])
        }
        _ = message { _ = try read(folder.path) }
    }

    @Test func aFolderThatCannotBeMadeIsAnError() throws {
        let maps = try makeMaps()
        #expect(throws: TraceError("/nowhere/trace: mkdir: No such file or directory")) {
            try TraceWriter(folder: "/nowhere/trace", catalogue: RegisterCatalogue(maps), buses: ["firmware"], frequency: 1)
        }
    }
}

@Suite struct ViewTests {
    private func event(_ target: AccessEvent.Target, old: UInt64, new: UInt64, write: Bool = true, status: BusStatus = .ok) -> AccessEvent {
        AccessEvent(
            time: 100, wait: 4, initiator: .hart(0), origin: 0x8000_0010, isWrite: write, size: 4, status: status, target: target, old: old, new: new)
    }

    private func decoder(_ filter: TraceFilter = .init()) throws -> TraceDecoder {
        let folder = Folder(), maps = try makeMaps()
        try write([], to: folder.path)
        return try TraceDecoder(try TraceReader(folder: folder.path), catalogue: RegisterCatalogue(maps), maps: maps, filter: filter)
    }

    @Test func aLineNamesTheFieldsThatChanged() throws {
        let formatter = TraceFormatter(try decoder(), usesColour: false)
        #expect(
            formatter.line(event(.register(0, element: 0, byte: 0), old: 0, new: 0x11))
                == "           100  hart0   pc=80000010    write32  TIMER.CTRL                      0x0 -> 0x11  enable=0->1 mode=once->periodic")
        #expect(
            formatter.line(event(.register(1, element: 3, byte: 4), old: 7, new: 7, write: false))
                == "           100  hart0   pc=80000010    read32   TIMER.VM[3].COUNT+4             0x7")
        #expect(
            formatter.line(event(.address(0xdead_0000, bus: 0), old: 0, new: 1, status: .unmapped))
                == "           100  hart0   pc=80000010    write32  firmware:0xdead0000             0x1  unmapped")
    }

    @Test func jsonHasTheSame() throws {
        let formatter = TraceFormatter(try decoder(), usesColour: false)
        #expect(
            formatter.json(event(.register(0, element: 0, byte: 0), old: 0, new: 0x10))
                == #"{"cycle":100,"wait":4,"initiator":"hart0","pc":"0x80000010","access":"write","size":4,"status":"ok","register":"TIMER.CTRL","#
                + #""old":"0x0","new":"0x10","changed":{"mode":["once","periodic"]}}"#)
    }

    @Test func filtersSelect() throws {
        let control = event(.register(0, element: 0, byte: 0), old: 0, new: 0x10)
        let count = event(.register(1, element: 2, byte: 0), old: 0, new: 5, write: false)
        let elsewhere = event(.address(4, bus: 0), old: 0, new: 0, status: .unmapped)
        func selected(_ change: (inout TraceFilter) -> Void) throws -> [Bool] {
            var filter = TraceFilter()
            change(&filter)
            let decoder = try decoder(filter)
            return [control, count, elsewhere].map(decoder.wants)
        }
        #expect(try selected { _ in } == [true, true, true])
        #expect(try selected { $0.blocks = ["timer"] } == [true, true, false])
        #expect(try selected { $0.registers = ["TIMER.VM[2].COUNT"] } == [false, true, false])
        #expect(try selected { $0.registers = ["TIMER.VM[1].COUNT"] } == [false, false, false])
        #expect(try selected { $0.registers = ["TIMER.VM.COUNT", "TIMER.CTRL"] } == [true, true, false])
        #expect(try selected { $0.fields = ["TIMER.CTRL.mode"] } == [true, false, false])
        #expect(try selected { $0.fields = ["TIMER.CTRL.enable"] } == [false, false, false])
        #expect(try selected { $0.initiators = ["hart"] } == [true, true, true])
        #expect(try selected { $0.initiators = ["host1"] } == [false, false, false])
        #expect(try selected { $0.since = 101 } == [false, false, false])
        #expect(try selected { $0.until = 100 } == [true, true, true])
        #expect(try selected { $0.onlyFaults = true } == [false, false, true])
        #expect(try selected { $0.isWrite = false } == [false, true, false])
    }

    @Test func namesThatMeanNothingAreErrors() throws {
        func complaint(_ change: (inout TraceFilter) -> Void) -> String {
            message {
                var filter = TraceFilter()
                change(&filter)
                _ = try decoder(filter)
            }
        }
        #expect(complaint { $0.blocks = ["NONE"] } == "no block 'NONE' in this trace")
        #expect(complaint { $0.registers = ["TIMER.CTRK"] } == "'TIMER.CTRK': TIMER has no register 'CTRK'; near it: CTRL")
        #expect(complaint { $0.fields = ["TIMER.CTRL"] } == "'TIMER.CTRL': a field, BLOCK.REGISTER.FIELD expected")
        #expect(complaint { $0.initiators = ["cpu"] }.hasPrefix("'cpu': an initiator"))
    }
}
