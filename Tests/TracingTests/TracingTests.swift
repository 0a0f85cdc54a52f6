import Registers
import Testing
import Tracing

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
