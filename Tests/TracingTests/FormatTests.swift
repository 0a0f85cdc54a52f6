import Glibc
import Registers
import Scratch
import Testing
import Tracing

/// What is written is read back, by this program and by others.
@Suite struct FormatTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func accessesAreReadBack(seed: UInt64) throws {
        let folder = try TemporaryFolder(), events = makeEvents(seed: seed, count: 30_000).map(TraceEvent.access)
        try write(events, to: folder.path)
        #expect(try read(folder.path) == events)
    }

    @Test(arguments: [4, 5, 6] as [UInt64])
    func eventsOfEveryClassAreReadBack(seed: UInt64) throws {
        let folder = try TemporaryFolder(), events = makeAllEvents(seed: seed, count: 20_000)
        let totals = try write(events, to: folder.path)
        var reader = try TraceReader(folder: folder.path), found: [TraceEvent] = []
        while let event = try reader.next() { found.append(event) }
        #expect(found == merged(events))
        #expect(reader.totals == totals && reader.notes.isEmpty)
        #expect(reader.names == (try makeNames()) && reader.frequency == 1_000_000_000)
    }

    /// The limits of every short field, and what is just beyond.
    @Test func extremesAreReadBack() throws {
        var events: [TraceEvent] = [], time: UInt64 = 0
        for gap in [0, 1, 1023, 1024, 1 << 20 - 1, 1 << 20, 1 << 32 - 1, 1 << 32, 1 << 40] as [UInt64] {
            for value in [0, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, .max] as [UInt64] {
                for (wait, origin, element, byte) in [
                    (0, 0, 0, 0), (255, 0xff_ffff, 1, 4), (256, 0x100_0000, 255, 0), (65535, 0x8000_0000, 256, 4), (65536, .max, .max, 7),
                    (0xffff_ffff, 0x80ff_ffff, 3, 1),
                ] as [(UInt64, UInt32, UInt16, UInt8)] {
                    time &+= gap
                    for (old, isWrite) in [(value, false), (0, true)] {
                        events.append(.access(AccessEvent(
                            time: time, wait: wait, initiator: .hart(0), origin: origin, isWrite: isWrite, size: isWrite ? 8 : 1,
                            status: .ok, target: .register(1, element: element, byte: byte), old: old, new: value)))
                    }
                }
            }
        }
        let folder = try TemporaryFolder()
        try write(events, to: folder.path)
        #expect(try read(folder.path) == events)
    }

    /// What no trace keeps in full: long text is cut, a zero byte would end it, and time doesn't go back.
    @Test func whatIsTooMuchIsCut() throws {
        let folder = try TemporaryFolder(), long = String(repeating: "x", count: 5000)
        try write([
            .log(LogEvent(time: 5, content: .line(long))), .log(LogEvent(time: 4, content: .line("a\0b"))),
            .log(LogEvent(time: 5, content: .line(""))),
            .log(LogEvent(time: 6, content: .record(kind: 0, arguments: Array(repeating: 1, count: 20)))),
            .fault(FaultEvent(time: 7, kind: .aer, initiator: .device, name: long)),
        ], to: folder.path)
        #expect(try read(folder.path) == [
            .log(LogEvent(time: 5, content: .line(String(long.prefix(LogEvent.longestLine))))),
            .log(LogEvent(time: 5, content: .line("a b"))),
            .log(LogEvent(time: 5, content: .line(" "))),
            .log(LogEvent(time: 6, content: .record(kind: 0, arguments: Array(repeating: 1, count: LogEvent.mostArguments)))),
            .fault(FaultEvent(time: 7, kind: .aer, initiator: .device, name: String(long.prefix(FaultEvent.longestName)))),
        ])
    }

    /// Reads and writes of few bits, as most are: 10 and 11 bytes, and 1 more for the packets' headers.
    @Test func anAccessTakesFewBytes() throws {
        let folder = try TemporaryFolder()
        let events = (0..<20_000).map { (number: UInt64) in
            TraceEvent.access(AccessEvent(
                time: number * 12, wait: 4, initiator: .hart(0), origin: 0x8000_1234, isWrite: number & 1 == 0, size: 4, status: .ok,
                target: .register(1, element: UInt16(number & 3), byte: 0), old: number & 1, new: 1))
        }
        try write(events, to: folder.path)
        var status = stat()
        stat(folder.path + "/hart0", &status)
        #expect(status.st_size < 20_000 * 11)
    }

    @Test(arguments: [7, 8] as [UInt64])
    func babeltraceReadsTheSame(seed: UInt64) throws {
        guard run("command -v babeltrace2").status == 0 else {
            #expect(getenv("CI") == nil, "babeltrace2 is not installed")
            return
        }
        let folder = try TemporaryFolder(), events = merged(makeAllEvents(seed: seed, count: 10_000).filter { !hasLineBreak($0) })
        try write(events, to: folder.path)
        let (status, output) = run("babeltrace2 --clock-cycles --no-delta \(folder.path)")
        #expect(status == 0)
        let lines = output.split(separator: "\n")
        #expect(lines.count == events.count + 1 && lines.last?.contains(" end: ") == true, "\(lines.first ?? "")")
        for (line, event) in zip(lines, events) {
            // [00000000000000000017] access: { initiator = "hart0", ... }, { ... }
            let digits = line.drop { $0 != "[" }.dropFirst().prefix { $0 != "]" }
            #expect(UInt64(digits) == event.time)
            #expect(line.contains("initiator = \"\(event.initiator)\""), "\(line)")
            let part = try told(event)
            #expect(line.contains(part), "\(line)")
        }
    }

    private func hasLineBreak(_ event: TraceEvent) -> Bool {
        switch event {
        case .log(let log): "\(log.content)".contains { "\n\t\\\"".contains($0) }
        case .fault(let fault): fault.name.contains { "\n\t\\\"".contains($0) }
        default: false
        }
    }

    /// A part of an event's line, in babeltrace2's words.
    private func told(_ event: TraceEvent) throws -> String {
        let names = try makeNames()
        func x(_ value: some BinaryInteger) -> String { "0x" + String(value, radix: 16, uppercase: true) }
        func label(_ name: String, _ number: some BinaryInteger) -> String { "( \"\(name)\" : container = \(number) )" }
        switch event {
        case .access(let access):
            switch access.target {
            case .address(let address, let bus):
                return "bus = \(label(names.buses[Int(bus)], bus)), wait = \(access.wait), origin = \(x(access.origin)), "
                    + "address = \(x(address)), value = \(x(access.new))"
            case .register: return access.old == access.new ? "" : "old = \(x(access.old)), new = \(x(access.new))"
            }
        case .interrupt(let interrupt):
            switch interrupt.step {
            case .line(let wire, let level):
                return "wire = \(label(names.wires[Int(wire)], wire)), level = \(level ? 1 : 0)"
            case .message(let function, let vector?, let level):
                return "function = \(function), vector = \(vector), level = \(level ? 1 : 0)"
            case .message(let function, nil, let level): return "function = \(function), level = \(level ? 1 : 0)"
            case .trap(let hart, let cause, let pc, let handler):
                return "hart = \(hart), cause = \(x(cause)), pc = \(x(pc)), handler = \(x(handler))"
            }
        case .dma(let dma):
            return "function = \(dma.function), direction = \(label(dma.isWrite ? "write" : "read", dma.isWrite ? 1 : 0)), "
                + "status = \(label("\(dma.status)", dma.status.rawValue)), address = \(x(dma.address)), bytes = \(dma.bytes)"
        case .queue(let queue):
            return "function = \(queue.function), queue = \(queue.queue), step = \(label("\(queue.step)", queue.step.rawValue)), "
                + "head = \(queue.head), bytes = \(queue.bytes), depth = \(queue.depth)"
        case .fault(let fault):
            return "kind = \(label("\(fault.kind)", fault.kind.rawValue)), address = \(x(fault.address)), origin = \(x(fault.origin)), "
                + "name = \"\(fault.name)\""
        case .log(let log):
            switch log.content {
            case .line(let line): return "line = \"\(line)\""
            case .record(let kind, let arguments):
                return "kind = \(label(names.records[Int(kind)], kind)), count = \(arguments.count), arguments = ["
                    + arguments.enumerated().map { " [\($0)] = \(x($1))" }.joined(separator: ",") + " ]"
            }
        }
    }
}
