import Interconnect
import RegisterMaps
import Registers
import Simulation

/// WA, the Workload Analyzer: counts what every owner asks of the data path, in windows that are latched all at once.
/// Theory of operation and programmer's guide: regmaps/wa/README.md.
public final class WorkloadAnalyzer: BusTarget, RegisterModel, DeadlineTarget, DataPathObserver, DMAObserver, ArchivedModel {
    /// All that changes, beside the register values.
    public struct State: Sendable {
        var counters = WorkloadCounters()
        var utilisation = UtilisationMeter()
        /// Requests and writes of owners without counters.
        var unattributed: UInt32 = 0
        /// The owners whose SUMMARY isn't all zero.
        var summarised: (UInt64, UInt64) = (0, 0)
    }

    public let registers: RegisterBlock
    /// The block's interrupt.
    public let interrupt = Wire("wa")
    /// Each frame passes here; nothing comes in from outside while it is at work.
    @exclusivity(unchecked) public internal(set) var state = State()

    /// Is asked how busy resources are.
    public weak var utilisation: (any UtilisationSource)?

    let scheduler: Scheduler
    private var windowEnd: Deadline!

    /// - Parameter number: the number of the first register, for traces.
    public init(on scheduler: Scheduler, number: Int = 0) {
        self.scheduler = scheduler
        registers = RegisterBlock(WA.map, number: number)
        windowEnd = Deadline("wa.window", on: scheduler, target: self)
    }

    /// A reset of the device: counters, windows and configuration are gone; requests in flight stay known.
    public func reset(_ kind: ResetKind) {
        windowEnd.cancel()
        registers.reset(kind)
        state.counters.reset(at: scheduler.now)
        state.unattributed = 0
        state.summarised = (0, 0)
        settle()
    }

    // MARK: The data path's side

    public func requestArrived(_ request: IORequest) {
        guard let owner = countedOwner(request.owner) else { return }
        state.counters.arrive(request, owner: owner, counts: isEnabled)
    }

    public func requestCompleted(_ request: IORequest) {
        guard let owner = countedOwner(request.owner) else { return }
        state.counters.complete(request, owner: owner, counts: isEnabled)
    }

    public func requestWithdrawn(_ request: IORequest) {
        guard let owner = countedOwner(request.owner) else { return }
        state.counters.withdraw(request, owner: owner, at: scheduler.now, counts: isEnabled)
    }

    public func memoryWritten(owner: Owner, address: UInt64, bytes: Int, at cycle: Cycle) {
        guard bytes > 0, isEnabled, let owner = countedOwner(owner) else { return }
        state.counters.write(owner: owner, address: address, bytes: UInt64(bytes))
    }

    private var isEnabled: Bool { registers[WA.CONTROL.enable] != 0 }

    private func countedOwner(_ owner: Owner) -> Int? {
        if owner.rawValue < WorkloadCounters.owners { return Int(owner.rawValue) }
        if isEnabled { state.unattributed &+= 1 }
        return nil
    }

    // MARK: The firmware's side

    public func access(_ access: inout BusAccess) -> BusStatus {
        let status = registers.access(&access, model: self)
        if access.isWrite { settle() }
        return status
    }

    public func peek(_ address: UInt64, size: Int) -> UInt64? { registers.peek(address, size: size) }

    public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
        if case WA.UNATTRIBUTED = register { registers[WA.UNATTRIBUTED] = UInt64(state.unattributed) }
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case WA.INTR_TEST: registers[WA.INTR_STATE] |= new
        case WA.CONTROL: controlWritten(old, new, at: access.time)
        case WA.SELECT: showDetail()
        case WA.OWNER_REPORT_CPU, WA.OWNER_REPORT_MEMORY, WA.OWNER_REPORT_NETWORK:
            registers[WA.OWNER_REPORT_WINDOW, element] = registers[WA.WINDOW_NUMBER]
        default: break
        }
    }

    private func controlWritten(_ old: UInt64, _ new: UInt64, at cycle: Cycle) {
        let enable = WA.CONTROL.enable
        if WA.CONTROL.clear.isSet(in: new) {
            state.counters.reset(at: cycle)
            skipUtilisation()
            for resource in 0..<UtilisationMeter.resources {
                (registers[WA.RESOURCE_BUSY, resource], registers[WA.RESOURCE_BUSY_TOTAL, resource]) = (0, 0)
            }
            publish()
        }
        if enable.isSet(in: old) && (WA.CONTROL.latch.isSet(in: new) || !enable.isSet(in: new)) { endWindow(at: cycle) }
        if !enable.isSet(in: new) {
            windowEnd.cancel()
        } else if !enable.isSet(in: old) {
            state.counters.begin(at: cycle)
            skipUtilisation()
            armWindow(from: cycle)
        } else if WA.CONTROL.clear.isSet(in: new) {
            armWindow(from: cycle)
        }
    }

    // MARK: Windows

    public func deadlineReached(_ tag: Int, at cycle: Cycle) {
        endWindow(at: cycle)
        settle()
    }

    /// The shortest window: a shorter one would keep the machine busy with nothing but windows.
    private static let shortestWindow: UInt64 = 1000

    private func armWindow(from start: Cycle) {
        let length = registers[WA.WINDOW_LENGTH]
        guard length != 0 else { return windowEnd.cancel() }
        windowEnd.arm(at: start &+ max(length, Self.shortestWindow))
    }

    private func endWindow(at cycle: Cycle) {
        measureUtilisation()
        state.counters.latch(at: cycle)
        publish()
        if registers[WA.INTR_STATE.window] != 0 { registers.raise(WA.INTR_STATE.overrun) }
        registers.raise(WA.INTR_STATE.window)
        compareThresholds()
        armWindow(from: cycle)
    }

    private func settle() { interrupt.drive(registers.interrupt) }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("wa") { (archive, _) throws(SnapshotError) in
            try registers.archive(&archive)
            try archive.state(&state.counters)
            try archive.state(&state.utilisation)
            try archive.integer(&state.unattributed)
            try archive.integer(&state.summarised.0)
            try archive.integer(&state.summarised.1, in: 0...1)
            try windowEnd.archive(&archive)
            try interrupt.archive(&archive)
        }
    }
}
