import Peripherals
import RegisterMaps
import Simulation
import Testing

@Suite struct ACLINTTests {
    private let scheduler = Scheduler()
    private let aclint: CoreLocalInterruptor
    private let probe: RegisterProbe

    init() {
        aclint = CoreLocalInterruptor(on: scheduler)
        probe = RegisterProbe(target: aclint, map: ACLINT.map, scheduler: scheduler)
    }

    @Test func theLayoutIsTheSpecifications() {
        #expect(probe.address(ACLINT.MSIP, 1) == 4)
        #expect(probe.address(ACLINT.MTIMECMP, 1) == 0x4008)
        #expect(probe.address(ACLINT.MTIME) == 0xbff8)
    }

    @Test func timeRunsAndCanBeSetByHalves() {
        scheduler.advance(to: 0x1_2345_6789)
        #expect(probe.read(ACLINT.MTIME) == 0x1_2345_6789)
        #expect(probe.status(writing: 7, to: 0xbffc) == .ok)
        #expect(probe.read(ACLINT.MTIME) == 0x7_2345_6789)
        scheduler.advance(to: 0x1_2345_6799)
        #expect(probe.read(ACLINT.MTIME) == 0x7_2345_6799)
        #expect(aclint.peek(0xbff8, size: 4) == 0x2345_6799)
    }

    @Test func theTimerInterruptFollowsTheComparison() {
        for (cycle, hart) in [(5000 as UInt64, 0), (3000, 1)] {
            probe.write(ACLINT.MTIMECMP, hart, cycle)
            #expect(probe.status(writing: 0, to: probe.address(ACLINT.MTIMECMP, hart) + 4) == .ok)
        }
        scheduler.advance(to: 2999)
        #expect(!aclint.timerInterrupts[0].level && !aclint.timerInterrupts[1].level)
        scheduler.advance(to: 3000)
        #expect(!aclint.timerInterrupts[0].level && aclint.timerInterrupts[1].level)
        scheduler.advance(to: 6000)
        #expect(aclint.timerInterrupts[0].level)
        probe.write(ACLINT.MTIMECMP, 0, 7000)
        #expect(!aclint.timerInterrupts[0].level)
        scheduler.advance(to: 7000)
        #expect(aclint.timerInterrupts[0].level)
    }

    @Test func aComparisonBeyondTheEndOfTimeNeverComes() {
        scheduler.advance(to: 100)
        #expect(probe.status(writing: 0, to: 0xbff8) == .ok)
        #expect(probe.status(writing: 0xffff_ffff, to: probe.address(ACLINT.MTIMECMP) + 4) == .ok)
        #expect(probe.status(writing: 0xffff_fffe, to: probe.address(ACLINT.MTIMECMP)) == .ok)
        #expect(scheduler.nextDue == .max)
        // Setting the time beyond it makes the interrupt pend.
        #expect(probe.status(writing: 0xffff_ffff, to: 0xbffc) == .ok)
        #expect(probe.status(writing: 0xffff_ffff, to: 0xbff8) == .ok)
        #expect(aclint.timerInterrupts[0].level)
    }

    @Test func softwareInterruptsAndReset() {
        scheduler.advance(to: 1234)
        probe.write(ACLINT.MSIP, 1, 0xffff_ffff)
        #expect(!aclint.softwareInterrupts[0].level && aclint.softwareInterrupts[1].level)
        #expect(probe.read(ACLINT.MSIP, 1) == 1)
        probe.write(ACLINT.MTIMECMP, 0, 0)
        #expect(probe.status(writing: 0, to: probe.address(ACLINT.MTIMECMP) + 4) == .ok)
        #expect(aclint.timerInterrupts[0].level)
        aclint.reset()
        #expect(!aclint.softwareInterrupts[1].level && !aclint.timerInterrupts[0].level)
        #expect(probe.read(ACLINT.MTIME) == 1234)
    }
}
