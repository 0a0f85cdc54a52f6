import Testing
import Simulation

/// Remembers what fired, and may arm more.
private final class Recorder: DeadlineTarget {
    var fired: [(tag: Int, at: Cycle)] = []
    var onFire: ((Int, Cycle) -> Void)?
    func deadlineReached(_ tag: Int, at cycle: Cycle) {
        fired.append((tag, cycle))
        onFire?(tag, cycle)
    }
}

@Suite struct SchedulerTests {
    @Test func theLastCycleIsReachedWithNothingArmed() {
        let scheduler = Scheduler(), recorder = Recorder()
        let deadline = Deadline("d", on: scheduler, target: recorder)
        deadline.arm(at: .max)
        for _ in 0..<2 { scheduler.advance(to: .max) }
        #expect(scheduler.now == .max && recorder.fired.map(\.at) == [.max])
    }

    @Test func deadlinesFireAtTheirCycleInOrderOfArming() {
        let scheduler = Scheduler(), recorder = Recorder()
        let deadlines = (0..<4).map { Deadline("d\($0)", on: scheduler, target: recorder, tag: $0) }
        for (tag, cycle) in [(2, 7), (0, 7), (3, 3), (1, 7)] { deadlines[tag].arm(at: Cycle(cycle)) }
        #expect(scheduler.nextDue == 3)
        #expect(scheduler.pending.map(\.name) == ["d3", "d2", "d0", "d1"])
        scheduler.advance(to: 6)
        #expect(recorder.fired.map(\.tag) == [3])
        #expect(scheduler.now == 6)
        scheduler.advance(to: 100)
        #expect(recorder.fired.map(\.tag) == [3, 2, 0, 1])
        #expect(recorder.fired.map(\.at) == [3, 7, 7, 7])
        #expect(scheduler.now == 100 && scheduler.nextDue == .max)
        withExtendedLifetime(deadlines) {}
    }

    @Test func aDeadlineThatGoesLeavesTheScheduler() {
        let scheduler = Scheduler(), recorder = Recorder()
        var first: Deadline? = Deadline("first", on: scheduler, target: recorder, tag: 1)
        let second = Deadline("second", on: scheduler, target: recorder, tag: 2)
        first?.arm(at: 10)
        second.arm(at: 20)
        first = nil
        #expect(scheduler.nextDue == 20 && scheduler.pending.map(\.name) == ["second"])
        scheduler.advance(to: 30)
        #expect(recorder.fired.map(\.tag) == [2])
        withExtendedLifetime(second) {}
    }

    @Test func armingAgainReplacesAndCancellingRemoves() {
        let scheduler = Scheduler(), recorder = Recorder()
        let a = Deadline("a", on: scheduler, target: recorder, tag: 1), b = Deadline("b", on: scheduler, target: recorder, tag: 2)
        a.arm(at: 10)
        b.arm(at: 20)
        a.arm(at: 30)
        #expect(a.due == 30 && scheduler.nextDue == 20)
        b.cancel()
        #expect(b.due == nil && scheduler.nextDue == 30)
        scheduler.advance(to: 40)
        #expect(recorder.fired.map(\.tag) == [1])
    }

    @Test func whatIsArmedWhileFiringFiresInTheSameAdvanceIfDue() {
        let scheduler = Scheduler(), recorder = Recorder()
        let tick = Deadline("tick", on: scheduler, target: recorder)
        recorder.onFire = { _, at in tick.arm(at: at + 10) }
        tick.arm(at: 10)
        scheduler.advance(to: 55)
        #expect(recorder.fired.map(\.at) == [10, 20, 30, 40, 50])
        #expect(tick.due == 60)
        tick.arm(at: 1)
        #expect(tick.due == 55, "the past means now")
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func aHeapOfRandomDeadlinesEqualsASortedList(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let scheduler = Scheduler(), recorder = Recorder()
        let deadlines = (0..<200).map { Deadline("d", on: scheduler, target: recorder, tag: $0) }
        var expected: [Int: (Cycle, Int)] = [:]
        for step in 0..<2000 {
            let tag = Int.random(in: 0..<200, using: &random)
            if Bool.random(using: &random) {
                let cycle = Cycle.random(in: 0..<64, using: &random)
                deadlines[tag].arm(at: cycle)
                expected[tag] = (cycle, step)
            } else {
                deadlines[tag].cancel()
                expected[tag] = nil
            }
        }
        scheduler.advance(to: 1000)
        #expect(recorder.fired.map(\.tag) == expected.sorted { ($0.value.0, $0.value.1) < ($1.value.0, $1.value.1) }.map(\.key))
        withExtendedLifetime(deadlines) {}
    }
}

@Suite struct WireTests {
    private final class Sink: WireSink {
        var changes: [Bool] = []
        func wireChanged(_ input: Int, level: Bool) { changes.append(level) }
    }

    @Test func aSinkHearsOfChangesOnly() {
        let wire = Wire("irq"), sink = Sink()
        wire.drive(true)
        wire.connect(to: sink, input: 3)
        wire.drive(true)
        wire.drive(false)
        wire.drive(false)
        #expect(sink.changes == [true, false])
    }
}
