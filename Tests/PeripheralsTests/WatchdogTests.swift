import Peripherals
import RegisterMaps
import Simulation
import Testing

private final class Bites: WireSink {
    let scheduler: Scheduler
    var cycles: [Cycle] = []
    init(_ scheduler: Scheduler) { self.scheduler = scheduler }
    func wireChanged(_ input: Int, level: Bool) { if level { cycles.append(scheduler.now) } }
}

@Suite struct WatchdogTests {
    private let scheduler = Scheduler()
    private let watchdog: Watchdog
    private let probe: RegisterProbe
    private let bites: Bites

    init() {
        watchdog = Watchdog(on: scheduler)
        probe = RegisterProbe(target: watchdog, map: WDT.map, scheduler: scheduler)
        bites = Bites(scheduler)
        watchdog.bite.connect(to: bites, input: 0)
    }

    private func configure(bark: UInt64, bite: UInt64, control: UInt64) {
        probe.write(WDT.UNLOCK, 0x1acc_e551)
        probe.write(WDT.BARK, bark)
        probe.write(WDT.BITE, bite)
        probe.write(WDT.CTRL, control)
        probe.write(WDT.UNLOCK, 0)
    }

    @Test func itBarksThenBitesOnce() {
        probe.write(WDT.INTR_ENABLE, 1)
        configure(bark: 3, bite: 7, control: 3)
        scheduler.advance(to: 2999)
        #expect(!watchdog.interrupt.level && probe.read(WDT.COUNT) == 2)
        scheduler.advance(to: 3000)
        #expect(watchdog.interrupt.level && probe.read(WDT.INTR_STATE) == 1)
        probe.write(WDT.INTR_STATE, 1)
        #expect(!watchdog.interrupt.level)
        scheduler.advance(to: 100_000)
        #expect(bites.cycles == [7000])
        #expect(!watchdog.interrupt.level)
    }

    @Test func aPatStartsItAnewAndTheKeyMatters() {
        configure(bark: 0, bite: 5, control: 3)
        scheduler.advance(to: 4000)
        probe.write(WDT.PAT, 0x600d_0d06)
        scheduler.advance(to: 8000)
        probe.write(WDT.PAT, 0x600d_0d07)
        scheduler.advance(to: 8999)
        #expect(bites.cycles.isEmpty)
        scheduler.advance(to: 20_000)
        #expect(bites.cycles == [9000])
    }

    @Test func lockedRegistersKeepTheirValues() {
        configure(bark: 1, bite: 2, control: 1)
        for register in [WDT.BARK.index, WDT.BITE.index, WDT.CTRL.index] {
            let address = WDT.map.registers[register.rawValue].offset
            #expect(probe.status(writing: 0xffff_ffff, to: address) == .ok)
        }
        #expect(probe.read(WDT.BARK) == 1 && probe.read(WDT.BITE) == 2 && probe.read(WDT.CTRL) == 1)
        #expect(probe.read(WDT.REGWEN) == 0)
        probe.write(WDT.UNLOCK, 0x1acc_e551)
        #expect(probe.read(WDT.REGWEN) == 1)
        probe.write(WDT.CTRL, 0)
        scheduler.advance(to: 1_000_000)
        #expect(bites.cycles.isEmpty)
    }

    @Test func withoutBitingItOnlyBarks() {
        configure(bark: 2, bite: 1, control: 1)
        scheduler.advance(to: 50_000)
        #expect(bites.cycles.isEmpty && probe.read(WDT.INTR_STATE) == 1 && probe.read(WDT.COUNT) == 50)
        watchdog.reset()
        #expect(scheduler.nextDue == .max && probe.read(WDT.INTR_STATE) == 0)
    }

    @Test func theTestRegisterBarks() {
        probe.write(WDT.INTR_ENABLE, 1)
        probe.write(WDT.INTR_TEST, 1)
        #expect(watchdog.interrupt.level)
    }
}
