import Registers
import RegisterMaps
import Simulation

/// Barks (interrupts), then bites (has the firmware restarted) when it isn't patted.
public final class Watchdog: BusTarget, RegisterModel, DeadlineTarget, ArchivedModel {
    public static let cyclesPerTick: Cycle = 1000
    static let unlockKey: UInt64 = 0x1acc_e551
    static let patKey: UInt64 = 0x600d_0d06

    public struct State: Sendable {
        /// The cycle from which it counts.
        var start: Cycle = 0
        /// Has barked, and has bitten, since the last pat.
        var hasBarked = false
        var hasBitten = false
    }

    public let registers: RegisterBlock
    public var state = State()
    public let interrupt = Wire("wdt.bark")
    /// Goes high for a moment when the watchdog bites.
    public let bite = Wire("wdt.bite")
    private let scheduler: Scheduler
    private var deadline: Deadline!

    public init(on scheduler: Scheduler, number: Int = 0) {
        registers = RegisterBlock(WDT.map, number: number)
        self.scheduler = scheduler
        deadline = Deadline("wdt", on: scheduler, target: self)
    }

    public func access(_ access: inout BusAccess) -> BusStatus { registers.access(&access, model: self) }

    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        registers[WDT.COUNT] = count(at: scheduler.now)
        return registers.peek(address, size: size)
    }

    /// A firmware reset: off.
    public func reset() {
        registers.reset(.hard)
        state = State(start: scheduler.now)
        update(at: scheduler.now)
    }

    public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
        if case WDT.COUNT = register { registers[WDT.COUNT] = count(at: access.time) }
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case WDT.INTR_TEST:
            if WDT.INTR_TEST.bark.isSet(in: new) { registers.raise(WDT.INTR_STATE.bark) }
        case WDT.UNLOCK:
            registers[WDT.REGWEN.open] = new == Self.unlockKey ? 1 : 0
        case WDT.PAT:
            if new == Self.patKey { pat(at: access.time) }
        case WDT.CTRL:
            if WDT.CTRL.enable.isSet(in: new & ~old) { pat(at: access.time) }
        default:
            break
        }
        update(at: scheduler.now)
    }

    public func deadlineReached(_ tag: Int, at cycle: Cycle) { update(at: cycle) }

    private func pat(at cycle: Cycle) {
        state = State(start: cycle)
    }

    private func count(at cycle: Cycle) -> UInt64 {
        guard registers[WDT.CTRL.enable] != 0, cycle > state.start else { return 0 }
        return min((cycle - state.start) / Self.cyclesPerTick, UInt64(UInt32.max))
    }

    /// Barks and bites if it is time, and waits for the next of the two.
    private func update(at cycle: Cycle) {
        var next = Cycle.max
        if registers[WDT.CTRL.enable] != 0 {
            let count = count(at: cycle)
            let bark = registers[WDT.BARK.ticks], bite = registers[WDT.BITE.ticks]
            if bark != 0, !state.hasBarked {
                if count >= bark {
                    state.hasBarked = true
                    registers.raise(WDT.INTR_STATE.bark)
                } else {
                    next = due(bark)
                }
            }
            if bite != 0, registers[WDT.CTRL.bite_enable] != 0, !state.hasBitten {
                if count >= bite {
                    state.hasBitten = true
                    self.bite.drive(true)
                    self.bite.drive(false)
                } else {
                    next = min(next, due(bite))
                }
            }
        }
        interrupt.drive(registers.interrupt)
        if next == .max { deadline.cancel() } else { deadline.arm(at: next) }
    }

    private func due(_ ticks: UInt64) -> Cycle { state.start &+ ticks &* Self.cyclesPerTick }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        // Shown on demand, also to people who only look: what is saved must not tell whether somebody has.
        if !archive.isLoading { registers[WDT.COUNT] = count(at: scheduler.now) }
        try archive.section("watchdog") { (archive, _) throws(SnapshotError) in
            try registers.archive(&archive)
            try archive.cycle(&state.start)
            try archive.flag(&state.hasBarked)
            try archive.flag(&state.hasBitten)
            try deadline.archive(&archive)
            try interrupt.archive(&archive)
            try bite.archive(&archive)
        }
    }
}
