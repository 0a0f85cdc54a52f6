import Debugging
import OffloadDevice
import RISCV
import Scratch
import Simulation
import Testing
import Tracing

/// Wherever a timeline goes, and however it comes there, it finds what a single way forwards finds.
@Suite struct TimelineTests {
    private func isWrite(_ event: TraceEvent) -> Bool {
        if case .access(let access) = event { access.isWrite } else { false }
    }

    /// All that a way forwards finds, with where it lands.
    private func all(_ search: TimelineSearch, _ timeline: Timeline) throws -> [(position: Position, before: Position)] {
        var found: [(Position, Position)] = []
        try timeline.go(to: timeline.start)
        while let finding = try timeline.findNext(search) { found.append((timeline.position, finding.before)) }
        return found
    }

    /// What the device is like.
    private struct Look: Equatable {
        var position: Position
        var digest: UInt32
        var words: [UInt64?]

        init(_ timeline: Timeline) {
            position = timeline.position
            digest = timeline.device.capture().digest
            words = (0..<16).map { timeline.device.peek(.firmware, RecordedRun.counter + 4 * $0, size: 4) }
        }
    }

    @Test func everyPlaceIsTheSameFromWhereverOneComes() throws {
        let folder = try TemporaryFolder()
        let timeline = try Timeline(RecordedRun.record(in: folder))
        let search = TimelineSearch(event: isWrite, breakpoints: [RecordedRun.handler])
        var looks: [Look] = []
        while try timeline.findNext(search) != nil { looks.append(Look(timeline)) }
        #expect(looks.count > 100)
        #expect(timeline.position == timeline.end)
        #expect(looks.map(\.position) == looks.map(\.position).sorted())
        var random = SplitMix64(seed: 1)
        for _ in 0..<20 {
            let look = looks.randomElement(using: &random)!
            try timeline.go(to: look.position)
            #expect(Look(timeline) == look, "\(look.position)")
        }
        try timeline.go(to: timeline.start)
        #expect(timeline.position == .start)
    }

    @Test(arguments: [
        ("writes", 0), ("breakpoints", 1), ("watchpoints", 2), ("traps", 3), ("all", 4),
    ]) func backwardsFindsWhatForwardsFinds(name: String, kind: Int) throws {
        let folder = try TemporaryFolder()
        let timeline = try Timeline(RecordedRun.record(in: folder))
        let watchpoints = [
            Watchpoint(address: RecordedRun.counter, count: 4, kind: .write), Watchpoint(address: RecordedRun.sum, count: 4, kind: .access),
        ]
        let search = switch kind {
        case 0: TimelineSearch(event: isWrite)
        case 1: TimelineSearch(breakpoints: [RecordedRun.handler, RecordedRun.second, RecordedRun.loop])
        case 2: TimelineSearch(watchpoints: watchpoints)
        case 3: TimelineSearch(event: { if case .interrupt = $0 { true } else { false } })
        default: TimelineSearch(event: isWrite, breakpoints: [RecordedRun.handler], watchpoints: watchpoints)
        }
        let found = try all(search, timeline)
        #expect(found.count > 10, "\(name): \(found.count)")
        var random = SplitMix64(seed: UInt64(kind))
        // One after the other from the end.
        try timeline.go(to: timeline.end)
        for (position, _) in found.suffix(6).reversed() where position < timeline.end {
            #expect(try timeline.findPrevious(search) != nil)
            #expect(timeline.position == position, "\(name)")
        }
        // From anywhere, to behind and to before.
        for _ in 0..<6 {
            let origin = found[.random(in: found.indices, using: &random)].position
            try timeline.go(to: origin)
            let behind = found.last { $0.position < origin }
            #expect(try (timeline.findPrevious(search) == nil) == (behind == nil))
            #expect(timeline.position == behind?.position ?? timeline.start, "\(name) before \(origin)")
            guard kind == 1 || kind == 2 else { continue }
            try timeline.go(to: origin)
            let before = found.last { $0.before < origin }
            #expect(try (timeline.findPrevious(search, landing: .before) == nil) == (before == nil))
            #expect(timeline.position == before?.before ?? timeline.start, "\(name) before \(origin)")
        }
    }

    @Test(arguments: [0, 1]) func stepsGoBackAsTheyWent(hart: Int) throws {
        let folder = try TemporaryFolder()
        let timeline = try Timeline(RecordedRun.record(in: folder, cycles: 300_000))
        // Near the end interrupts come.
        try timeline.go(toCycle: 162_700)
        var places: [(position: Position, pc: UInt32)] = []
        var handlers = 0
        for _ in 0..<400 {
            places.append((timeline.position, timeline.device.harts[hart].pc))
            try timeline.step(hart: hart)
            if timeline.device.harts[hart].pc == RecordedRun.handler { handlers += 1 }
        }
        #expect(handlers == 0, "handlers of interrupts run to their end")
        if hart == 0 {
            let entered = timeline.device.harts[0].state.x[18]
            try timeline.go(to: places[0].position)
            #expect(entered > timeline.device.harts[0].state.x[18], "there were interrupts")
            try timeline.go(to: places.last!.position)
        } else {
            try timeline.go(to: places.last!.position)
        }
        for (position, pc) in places.dropLast().suffix(60).reversed() {
            #expect(try timeline.stepBack(hart: hart))
            guard timeline.position == position, timeline.device.harts[hart].pc == pc else {
                Issue.record("expected \(position), pc \(hex(pc)), found \(timeline.position), pc \(hex(timeline.device.harts[hart].pc))")
                return
            }
        }
    }

    @Test func nothingIsBeforeTheStart() throws {
        let folder = try TemporaryFolder()
        let timeline = try Timeline(RecordedRun.record(in: folder))
        #expect(try !timeline.stepBack(hart: 0))
        #expect(try timeline.findPrevious(TimelineSearch(breakpoints: [RecordedRun.loop])) == nil)
        #expect(timeline.position == .start)
        #expect(try timeline.step(hart: 0) && timeline.device.harts[0].pc == 0x8000_0004)
        #expect(try timeline.stepBack(hart: 0))
        #expect(timeline.device.harts[0].pc == 0x8000_0000)
    }

    @Test func cycles() throws {
        let folder = try TemporaryFolder()
        let timeline = try Timeline(RecordedRun.record(in: folder))
        var random = SplitMix64(seed: 7)
        var looks: [Cycle: Look] = [:]
        let cycles = (0..<12).map { _ in Cycle.random(in: 0...59_000, using: &random) }
        for cycle in cycles.sorted() + cycles {
            try timeline.go(toCycle: cycle)
            #expect(timeline.device.scheduler.now <= cycle)
            let look = Look(timeline)
            #expect(looks[cycle] == nil || looks[cycle] == look, "cycle \(cycle)")
            looks[cycle] = look
        }
        try timeline.go(toCycle: 1 << 40)
        #expect(timeline.position == timeline.end)
    }

    private func hex(_ value: UInt32) -> String { String(value, radix: 16) }
}
