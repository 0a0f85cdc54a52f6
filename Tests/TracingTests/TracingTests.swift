import Glibc
import Registers
import Testing
import Tracing

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
        #expect(
            message { _ = try read(folder.path) }.hasSuffix("hart0: byte 66: an event of type 0, 1 or 2 within its packet expected, 9 found"))
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
            let file = folder.path + (state & 1 == 0 ? "/hart0" : "/metadata")
            patch(file, at: Int(state >> 40) % 2000, [UInt8(truncatingIfNeeded: state >> 32)])
        }
        _ = message { _ = try read(folder.path) }
    }

    @Test func aFolderThatCannotBeMadeIsAnError() throws {
        let maps = try makeMaps()
        #expect(throws: TraceError("/nowhere/trace: mkdir: No such file or directory")) {
            try TraceWriter(folder: "/nowhere/trace", names: TraceNames(RegisterCatalogue(maps), buses: maps), frequency: 1)
        }
    }
}

@Suite struct FormatterTests {
    private func event(_ target: AccessEvent.Target, old: UInt64, new: UInt64, write: Bool = true, status: BusStatus = .ok) -> TraceEvent {
        .access(AccessEvent(
            time: 100, wait: 4, initiator: .hart(0), origin: 0x8000_0010, isWrite: write, size: 4, status: status, target: target,
            old: old, new: new))
    }

    @Test func aLineNamesTheFieldsThatChanged() throws {
        let formatter = TraceFormatter(try makeDecoder(), usesColour: false)
        #expect(
            formatter.line(event(.register(0, element: 0, byte: 0), old: 0, new: 0x11))
                == "           100  hart0   pc=80000010    write32    TIMER.CTRL                      0x0 -> 0x11"
                    + "  enable=0->1 mode=once->periodic")
        #expect(
            formatter.line(event(.register(1, element: 3, byte: 4), old: 7, new: 7, write: false))
                == "           100  hart0   pc=80000010    read32     TIMER.VM[3].COUNT+4             0x7")
        #expect(
            formatter.line(event(.address(0xdead_0000, bus: 0), old: 0, new: 1, status: .unmapped))
                == "           100  hart0   pc=80000010    write32    firmware:0xdead0000             0x1  unmapped")
    }

    @Test func jsonHasTheSame() throws {
        let formatter = TraceFormatter(try makeDecoder(), usesColour: false)
        #expect(
            formatter.json(event(.register(0, element: 0, byte: 0), old: 0, new: 0x10))
                == #"{"event":"access","cycle":100,"initiator":"hart0","pc":"0x80000010","wait":4,"access":"write","size":4,"#
                + #""register":"TIMER.CTRL","old":"0x0","new":"0x10","changed":{"mode":["once","periodic"]},"status":"ok"}"#)
    }

    @Test func everyClassHasItsLine() throws {
        let formatter = TraceFormatter(try makeDecoder(), usesColour: false)
        // Without the cycle, the initiator and the program counter in front.
        let lines = makeEveryKind().map { String(formatter.line($0).dropFirst(39)) }
        #expect(lines == [
            "write32    TIMER.CTRL                      0x0 -> 0x11  enable=0->1 mode=once->periodic",
            "line       PLIC.TIMER                      0 -> 1",
            "line       hart0.external                  0 -> 1",
            "trap       external                        handler=80000400",
            "write16    firmware:0x3000                 0x1",
            "doorbell   queue 1                         depth=0",
            "dma-read   0x100000000                     16 bytes",
            "taken      queue 1                         head=5 bytes=4113 depth=1",
            "taken      queue 1                         head=6 bytes=513 depth=2",
            "dma-write  0xdead0000                      512 bytes  denied",
            "fault      iommu                           address=0xdead0000 unmapped",
            "completed  queue 1                         head=5 bytes=4097 depth=1",
            "notified   queue 1                         depth=1",
            "message    vector 1",
            "line       INTx                            0 -> 1",
            "fault      queue                           queue=1 available index 9 is ahead",
            "fault      bus                             address=0x20000000 load access",
            #"log        ready \u{1b}[31m"quoted"\u{202e}"#,
            "log        boot                            starts=7",
            "line       PLIC.TIMER                      1 -> 0",
        ])
        #expect(formatter.line(makeEveryKind()[3]).hasPrefix("           104  hart0   pc=80000010    trap"))
        #expect(formatter.line(makeEveryKind()[4]).hasPrefix("           105  host2   pid=4711       write16"))
    }

    @Test func everyClassHasItsObject() throws {
        let formatter = TraceFormatter(try makeDecoder(), usesColour: false)
        let objects = makeEveryKind().map(formatter.json)
        #expect(objects[1] == #"{"event":"interrupt","cycle":102,"initiator":"device","line":"PLIC.TIMER","level":1}"#)
        #expect(objects[3] == #"{"event":"interrupt","cycle":104,"initiator":"hart0","pc":"0x80000010","cause":"0x8000000b","#
            + #""name":"external","handler":"0x80000400"}"#)
        #expect(objects[7] == #"{"event":"queue","cycle":108,"initiator":"dma2","function":2,"queue":1,"step":"taken","depth":1,"#
            + #""head":5,"bytes":4113}"#)
        #expect(objects[9] == #"{"event":"dma","cycle":110,"initiator":"dma2","function":2,"direction":"write","address":"0xdead0000","#
            + #""bytes":512,"status":"denied"}"#)
        #expect(objects[10] == #"{"event":"fault","cycle":111,"initiator":"dma2","kind":"iommu","name":"unmapped","address":"0xdead0000"}"#)
        #expect(objects[13] == #"{"event":"interrupt","cycle":114,"initiator":"dma2","function":2,"vector":1}"#)
        #expect(objects[17] == #"{"event":"log","cycle":118,"initiator":"device","text":"ready \u001b[31m\"quoted\"\u202e"}"#)
        #expect(objects[18] == #"{"event":"log","cycle":119,"initiator":"device","record":"boot","payload":{"starts":"7"}}"#)
    }

    @Test func namesOfAHostileTraceDoNothingToATerminal() throws {
        let names = TraceNames(registers: ["A.\u{1b}[2J\"\\"], buses: ["b\u{7}\u{202e}"], wires: ["w\n"], records: ["r\u{9b}"])
        let formatter = TraceFormatter(TraceDecoder(names, catalogue: RegisterCatalogue([]), maps: []), usesColour: false)
        let events = [
            event(.register(0, element: 0, byte: 0), old: 0, new: 1), event(.address(4, bus: 0), old: 0, new: 1),
            .interrupt(InterruptEvent(time: 1, step: .line(0, level: true))),
            .log(LogEvent(time: 1, content: .record(kind: 0, arguments: []))),
            .fault(FaultEvent(time: 1, kind: .aer, initiator: .device, name: "\u{1b}]0;\u{7}\"")),
        ]
        for event in events {
            for text in [formatter.line(event), formatter.json(event)] {
                #expect(text.unicodeScalars.allSatisfy { (0x20...0x7e).contains($0.value) }, "\(text)")
            }
        }
        #expect(formatter.json(events[0]).contains(#""register":"A.\\u{1b}[2J\"\\""#))
    }
}
