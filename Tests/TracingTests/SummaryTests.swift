import Registers
import Testing
import Tracing

/// A map with a reserved range beside the block.
private func makeReservedDecoder() throws -> TraceDecoder {
    let maps = try makeMaps().map { map in
        BusMap(
            name: map.name, size: map.size, blocks: map.blocks,
            memories: [
                .init(name: "LATER", offset: 0x2000, size: 0x1000, software: .na, doc: ""),
                .init(name: "SRAM", offset: 0x8000, size: 0x1000, software: .rw, doc: ""),
            ])
    }
    return makeDecoder(maps)
}

private func event(
    _ time: UInt64, _ target: AccessEvent.Target, pc: UInt32 = 0x8000_0010, initiator: Initiator = .hart(0), write: Bool = true,
    wait: UInt64 = 4, status: BusStatus = .ok, old: UInt64 = 0, new: UInt64 = 0
) -> TraceEvent {
    .access(AccessEvent(
        time: time, wait: wait, initiator: initiator, origin: pc, isWrite: write, size: 4, status: status, target: target, old: old,
        new: new))
}

private let control = AccessEvent.Target.register(0, element: 0, byte: 0)
private let count = AccessEvent.Target.register(1, element: 2, byte: 0)

@Suite struct SummaryTests {
    private func summary() throws -> TraceSummary {
        var summary = TraceSummary(try makeReservedDecoder(), frequency: 1_000_000_000)
        summary.add(event(1000, control))
        summary.add(event(1010, control, write: false))
        summary.add(event(1020, count, pc: 77, initiator: .host(function: 1), write: false, wait: 500))
        for time in [1030, 1040] as [UInt64] { summary.add(event(time, .address(0x2010, bus: 0), status: .unmapped)) }
        summary.add(event(1050, .address(0x2010, bus: 0), pc: 0x8000_0020, status: .unmapped))
        summary.add(event(1060, .address(0x10f0, bus: 0), write: false))
        summary.add(event(1070, .address(0x8000, bus: 0), write: false))
        summary.add(event(3500, count, status: .readOnly))
        return summary
    }

    @Test func accessesAsText() throws {
        #expect(try summary().text(top: 10) == """
            9 events, cycle 1000 to 3500 (2.500 us)
              access 9

            initiators                                  accesses       reads      writes      waited      faults
              hart0                                            8           3           5          32           4
              host1                                            1           1           0         500           0

            registers by accesses                       accesses       reads      writes      waited      faults
              no register                                      5           2           3          20           3
              TIMER.CTRL                                       2           1           1           8           0
              TIMER.VM.COUNT                                   2           1           1         504           1

            registers by cycles waited                  accesses       reads      writes      waited      faults
              TIMER.VM.COUNT                                   2           1           1         504           1
              no register                                      5           2           3          20           3
              TIMER.CTRL                                       2           1           1           8           0

            faults and reserved accesses                    count  by       at             first cycle     reason
              write firmware:0x2010 (LATER, reserved)           2  hart0    pc=80000010    1030            unmapped
              write firmware:0x2010 (LATER, reserved)           1  hart0    pc=80000020    1050            unmapped
              read firmware:0x10f0 (TIMER, reserved)            1  hart0    pc=80000010    1060            reserved
              write TIMER.VM[2].COUNT                           1  hart0    pc=80000010    3500            readOnly

            """)
        #expect(try summary().text(top: 1).contains("  and 3 more\n"))
        #expect(TraceSummary(try makeDecoder(), frequency: 1).text(top: 3) == "no events\n")
    }

    @Test func everyClassAsText() throws {
        var summary = TraceSummary(try makeDecoder(), frequency: 1_000_000_000)
        for event in makeEveryKind() { summary.add(event) }
        let text = summary.text(top: 10)
        #expect(text.hasPrefix("20 events, cycle 101 to 120 (0.019 us)\n"
            + "  access 2, interrupt 6, dma 2, queue 5, fault 3, log 2\n"))
        #expect(text.hasSuffix("""

            interrupts                                     count
              dma2 vector 1                                    1
              dma64 INTx raised                                1
              hart0 trap external                              1
              line PLIC.TIMER lowered                          1
              line PLIC.TIMER raised                           1
              line hart0.external raised                       1

            DMA by function                                reads       bytes      writes       bytes     refused
              dma2                                             1          16           1           0           1

            queues, cycles from taken to completed      requests     deepest        50 %        90 %        99 %        most
              dma2 queue 1                                     2           2           4           4           4           4

            faults and reserved accesses                   count  by       at             first cycle     reason
              fault iommu 0xdead0000                           1  dma2                    111             unmapped
              fault queue queue 1                              1  dma2                    116             available index 9 is ahead
              fault bus 0x20000000                             1  hart0    pc=80000014    117             load access

            """))
    }

    @Test func aFailedAccessAndItsBusErrorAreOneMistake() throws {
        var summary = TraceSummary(try makeDecoder(), frequency: 1_000_000_000)
        summary.add(event(1, .address(0x2000, bus: 0), status: .unmapped))
        let error = FaultEvent(
            time: 1, kind: .bus, initiator: .hart(0), address: 0x2000, origin: 0x8000_0010, name: "store access")
        summary.add(.fault(error))
        let text = summary.text(top: 10)
        #expect(text.contains("write firmware:0x2000") && !text.contains("fault bus"))
    }

    @Test func json() throws {
        #expect(try summary().json(top: 1) == #"{"events":{"access":9,"interrupt":0,"dma":0,"queue":0,"fault":0,"log":0},"#
            + #""first":1000,"last":3500,"accesses":9,"initiators":["#
            + #"{"name":"hart0","accesses":8,"reads":3,"writes":5,"waited":32,"faults":4},"#
            + #"{"name":"host1","accesses":1,"reads":1,"writes":0,"waited":500,"faults":0}],"#
            + #""by_accesses":[{"name":"no register","accesses":5,"reads":2,"writes":3,"waited":20,"faults":3}],"#
            + #""by_waited":[{"name":"TIMER.VM.COUNT","accesses":2,"reads":1,"writes":1,"waited":504,"faults":1}],"#
            + #""interrupts":[],"dma":[],"queues":[],"#
            + #""mistakes":[{"what":"write","name":"firmware:0x2010 (LATER, reserved)","reason":"unmapped","initiator":"hart0","#
            + #""pc":"0x80000010","count":2,"first":1030}],"distinct_mistakes":4}"#)
        var all = TraceSummary(try makeDecoder(), frequency: 1_000_000_000)
        for event in makeEveryKind() { all.add(event) }
        let json = all.json(top: 10)
        #expect(json.contains(#""dma":[{"name":"dma2","reads":1,"bytes_read":16,"writes":1,"bytes_written":0,"refused":1}]"#))
        #expect(json.contains(#""queues":[{"function":2,"queue":1,"doorbells":1,"requests":2,"completed":1,"notified":1,"deepest":2,"#
            + #""p50":4,"p90":4,"p99":4,"most":4}]"#))
    }
}

@Suite struct DiffTests {
    private func compare(
        _ a: [TraceEvent], _ b: [TraceEvent], second: TraceDecoder? = nil, pids: Bool = false, context: Int = 2
    ) throws -> (divergence: TraceDivergence?, common: UInt64) {
        let decoder = try makeDecoder()
        var first = a[...], other = b[...]
        return try TraceDiff(decoder, second ?? decoder, comparesProcesses: pids).compare(
            { () throws(TraceError) in first.popFirst() }, { () throws(TraceError) in other.popFirst() }, context: context)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func theFirstDifferenceIsFound(seed: UInt64) throws {
        let events: [TraceEvent] = makeEvents(seed: seed, count: 480).map { .access($0) } + makeEveryKind()
        let same = try compare(events, events)
        #expect(same.divergence == nil && same.common == 500)
        var random = Random(seed), changed = events
        let place = Int(random.below(500))
        for later in place..<500 where later == place || random.below(2) == 0 { changed[later] = other(changed[later], &random) }
        let divergence = try #require(try compare(events, changed).divergence, "seed \(seed)")
        #expect(divergence.common == UInt64(place))
        #expect(divergence.before == Array(events[max(0, place - 2)..<place]))
        #expect(divergence.first == Array(events[place..<min(500, place + 2)]))
        #expect(divergence.second == Array(changed[place..<min(500, place + 2)]))
    }

    /// Something else about the event is different.
    private func other(_ event: TraceEvent, _ random: inout Random) -> TraceEvent {
        let bit = random.below(16)
        switch event {
        case .access(var event):
            event.new ^= 1 << bit
            return .access(event)
        case .interrupt(var event):
            event.time ^= 1 << bit
            return .interrupt(event)
        case .dma(var event):
            event.bytes ^= 1 << bit
            return .dma(event)
        case .queue(var event):
            event.depth ^= 1 << bit
            return .queue(event)
        case .fault(var event):
            event.name += "x"
            return .fault(event)
        case .log(let event): return .log(LogEvent(time: event.time, content: .line("other")))
        }
    }

    @Test func oneTraceEndsEarlier() throws {
        let events = makeEveryKind()
        let divergence = try #require(try compare(events, Array(events[..<7])).divergence)
        #expect(divergence.common == 7 && divergence.first.first == events[7] && divergence.second.isEmpty)
    }

    @Test func processesMatterOnlyWhenAskedFor() throws {
        let events = [event(1, control, pc: 10, initiator: .host(function: 0))]
        let others = [event(1, control, pc: 11, initiator: .host(function: 0))]
        #expect(try compare(events, others).divergence == nil)
        #expect(try compare(events, others, pids: true).divergence != nil)
        // A hart's program counter always does.
        let hart = [event(1, control, pc: 10)]
        #expect(try compare(hart, [event(1, control, pc: 11)]).divergence != nil)
    }

    @Test func wiresAndRecordsAreComparedByName() throws {
        let catalogue = RegisterCatalogue(try makeMaps())
        let renumbered = TraceDecoder(
            TraceNames(catalogue, buses: try makeMaps(), wires: ["hart0.external", "PLIC.TIMER"], records: ["stage", "boot"]),
            catalogue: catalogue, maps: try makeMaps())
        func line(_ wire: UInt16) -> [TraceEvent] { [.interrupt(InterruptEvent(time: 1, step: .line(wire, level: true)))] }
        func record(_ kind: UInt16) -> [TraceEvent] { [.log(LogEvent(time: 1, content: .record(kind: kind, arguments: [])))] }
        #expect(try compare(line(0), line(1), second: renumbered).divergence == nil)
        #expect(try compare(line(0), line(0), second: renumbered).divergence != nil)
        #expect(try compare(record(1), record(0), second: renumbered).divergence == nil)
        #expect(try compare(record(1), record(1), second: renumbered).divergence != nil)
    }

    @Test func registersAreComparedByName() throws {
        let map = try RegisterMap(text: """
            block TIMER 0x100 # A timer.
            register FIRST 0x4 32 # Comes first.
            field value 0 32 rw rw reset=0 # A value.
            register CTRL 0x0 32 # Control.
            field enable 0 1 rw rw reset=0 # Runs.
            """)
        let maps = [BusMap(name: "firmware", size: 1 << 32, blocks: [.init(name: "TIMER", base: 0x1000, map: map)])]
        let renumbered = makeDecoder(maps)
        let moved = AccessEvent.Target.register(1, element: 0, byte: 0)
        #expect(try compare([event(1, control)], [event(1, moved)], second: renumbered).divergence == nil)
        #expect(try compare([event(1, control)], [event(1, control)], second: renumbered).divergence != nil)
        #expect(try compare([event(1, count)], [event(1, moved)], second: renumbered).divergence != nil)
    }
}
