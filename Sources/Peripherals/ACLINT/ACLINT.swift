import Registers
import RegisterMaps
import Simulation

/// Software and timer interrupts of the harts (RISC-V ACLINT 1.0-rc4).
public final class CoreLocalInterruptor: BusTarget, RegisterModel, DeadlineTarget, ArchivedModel {
    public static let harts = 2

    public struct State: Sendable {
        /// MTIME minus the device cycle.
        var offset: UInt64 = 0
    }

    public let registers: RegisterBlock
    public var state = State()
    /// By hart: machine software interrupt (MSIP) and machine timer interrupt (MTIP).
    public let softwareInterrupts: [Wire]
    public let timerInterrupts: [Wire]
    private let scheduler: Scheduler
    private var deadline: Deadline!

    public init(on scheduler: Scheduler, number: Int = 0) {
        registers = RegisterBlock(ACLINT.map, number: number)
        softwareInterrupts = (0..<Self.harts).map { Wire("aclint.msip\($0)") }
        timerInterrupts = (0..<Self.harts).map { Wire("aclint.mtip\($0)") }
        self.scheduler = scheduler
        deadline = Deadline("aclint.mtimecmp", on: scheduler, target: self)
    }

    public func access(_ access: inout BusAccess) -> BusStatus { registers.access(&access, model: self) }

    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        registers[ACLINT.MTIME] = scheduler.now &+ state.offset
        return registers.peek(address, size: size)
    }

    /// A firmware reset: no interrupts; time goes on.
    public func reset() {
        let time = registers[ACLINT.MTIME]
        registers.reset(.hard)
        registers[ACLINT.MTIME] = time
        for hart in 0..<Self.harts { softwareInterrupts[hart].drive(false) }
        update(at: scheduler.now)
    }

    public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
        if case ACLINT.MTIME = register { registers[ACLINT.MTIME] = access.time &+ state.offset }
    }

    public func willWrite(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) -> CoincidentEvents {
        // A 32-bit write replaces one half of the time of this moment.
        if case ACLINT.MTIME = register { registers[ACLINT.MTIME] = access.time &+ state.offset }
        return .none
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case ACLINT.MSIP:
            softwareInterrupts[element].drive(new & 1 != 0)
        case ACLINT.MTIME:
            state.offset = new &- access.time
            update(at: scheduler.now)
        case ACLINT.MTIMECMP:
            update(at: scheduler.now)
        default:
            break
        }
    }

    public func deadlineReached(_ tag: Int, at cycle: Cycle) { update(at: cycle) }

    /// Drives the timer interrupts and waits for the first comparison that lies ahead.
    private func update(at cycle: Cycle) {
        let time = cycle &+ state.offset
        var next = Cycle.max
        for hart in 0..<Self.harts {
            let compare = registers[ACLINT.MTIMECMP, hart]
            timerInterrupts[hart].drive(time >= compare)
            // One that lies beyond the end of device time never comes.
            if time < compare, compare &- time < Cycle.max - cycle { next = min(next, cycle + (compare &- time)) }
        }
        if next == .max { deadline.cancel() } else { deadline.arm(at: next) }
    }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        // Shown on demand, also to people who only look: what is saved must not tell whether somebody has.
        if !archive.isLoading { registers[ACLINT.MTIME] = scheduler.now &+ state.offset }
        try archive.section("aclint") { (archive, _) throws(SnapshotError) in
            try registers.archive(&archive)
            try archive.integer(&state.offset)
            try deadline.archive(&archive)
            for wire in softwareInterrupts + timerInterrupts { try wire.archive(&archive) }
        }
    }
}
