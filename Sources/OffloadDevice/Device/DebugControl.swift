import Registers
import RISCV
import Simulation

/// What a hart does when a debugger lets device time go on.
public enum HartAction: Hashable, Sendable {
    /// It executes nothing: its turns pass. That changes the device's future, as no other action does.
    case hold
    /// It executes until something stops it.
    case run
    /// It executes one instruction, and more as long as the program counter is in the range. Handlers of interrupts that come meanwhile
    /// run to their end first.
    case step(while: Range<UInt32>)
    /// It executes one instruction, or enters the handler of an interrupt.
    case instruction
}

/// Bus addresses whose accesses by harts stop the core.
public struct Watchpoint: Hashable, Sendable {
    public enum Kind: Sendable { case write, read, access }

    public var address: UInt64
    /// Bytes, at least 1.
    public var count: UInt64
    public var kind: Kind

    public init(address: UInt64, count: UInt64, kind: Kind) {
        self.address = address
        self.count = max(count, 1)
        self.kind = kind
    }

    func isMet(address other: UInt64, count otherCount: UInt64, isWrite: Bool) -> Bool {
        guard kind == .access || (kind == .write) == isWrite else { return false }
        return address < other &+ otherCount && other < address &+ count
    }
}

/// Why a debugger holds the management core.
public struct DebugStop: Hashable, Sendable {
    public enum Reason: Hashable, Sendable {
        /// The debugger asked for it.
        case request
        case step
        /// Before the instruction at the program counter.
        case breakpoint
        /// Before the instruction with the access, as a trigger of RISC-V stops a hart.
        case watchpoint(Watchpoint)
        /// After what happened, for one who observes the device.
        case event
        /// Device time has come to the cycle that the debugger wanted.
        case cycle
    }

    public var hart: Int
    public var reason: Reason
    /// A position from which the device comes to the reason at once.
    public var position: Position

    public init(hart: Int, reason: Reason, position: Position) {
        self.hart = hart
        self.reason = reason
        self.position = position
    }
}

/// What a debugger has asked of the management core.
final class DebugControl {
    /// By hart.
    var actions: [HartAction]
    /// By hart: its next instruction is executed even if it has a breakpoint, because the debugger has seen it stop there.
    var passesBreakpoint: [Bool]
    /// By hart: the instruction whose accesses meet no watchpoint, because the debugger has seen it stop there.
    var passedInstruction: [(retired: UInt64, pc: UInt32)?]
    /// By hart, during a step: where the interrupt came whose handler runs, and the stack pointer there.
    var interrupted: [(pc: UInt32, stack: UInt32)?]
    var breakpoints: Set<UInt32> = []
    var watchpoints: [Watchpoint] = []
    /// No instruction begins in this cycle or later, and no more time passes.
    var end: Cycle = .max
    /// Set while device time is held.
    var stop: DebugStop?
    let onStop: () -> Void

    init(harts: Int, onStop: @escaping () -> Void) {
        actions = Array(repeating: .run, count: harts)
        passesBreakpoint = Array(repeating: false, count: harts)
        passedInstruction = Array(repeating: nil, count: harts)
        interrupted = Array(repeating: nil, count: harts)
        self.onStop = onStop
    }
}

extension ManagementCore {
    /// A debugger holds all harts, and device time with them.
    var isHeld: Bool { debug?.stop != nil }

    /// - Parameter onStop: is called for every stop, by whoever carries the device on.
    func attachDebugger(onStop: @escaping () -> Void) {
        detachDebugger()
        debug = DebugControl(harts: harts.count, onStop: onStop)
        hold(0, .request)
    }

    /// Takes breakpoints and watchpoints away and lets the harts go on.
    func detachDebugger() {
        guard let debug else { return }
        for address in debug.breakpoints { removeBreakpoint(address) }
        for watchpoint in debug.watchpoints { removeWatchpoint(watchpoint) }
        self.debug = nil
    }

    /// Keeps the harts with a 1 in the mask, and no others, from executing: an input.
    func keepHarts(_ mask: UInt64) {
        for hart in state.isKept.indices { state.isKept[hart] = hart < 64 && mask >> UInt64(hart) & 1 != 0 }
    }

    /// The harts that are kept.
    var keptHarts: UInt64 { state.isKept.indices.reduce(0) { $0 | (state.isKept[$1] && $1 < 64 ? 1 << UInt64($1) : 0) } }

    /// A position from which the device comes at once to what happens right now.
    var momentBefore: Position {
        var before = position
        // What is due in a cycle happens on the way to it.
        if before.isBetweenRounds { before.cycle = before.cycle == 0 ? 0 : before.cycle - 1 }
        if before.hart == Position.roundEnd { before.cycle = turnsOver }
        return before
    }

    func hold(_ hart: Int, _ reason: DebugStop.Reason) {
        guard let debug, debug.stop == nil else { return }
        debug.stop = DebugStop(hart: hart, reason: reason, position: momentBefore)
        interruptTurn()
        debug.onStop()
    }

    /// - Parameters:
    ///   - actions: by hart. Those that are to be held have been kept by an input.
    ///   - end: where to stop if nothing else does.
    ///   - passingBreakpoints: that where the hart which stopped is has been seen.
    func resume(_ actions: [HartAction], until end: Cycle = .max, passingBreakpoints: Bool = true) {
        guard let debug else { return }
        debug.end = end
        let seen = debug.stop?.hart ?? state.turn
        // Not one to which it came by a step, say: only the access itself is what a watchpoint is about.
        let hasMetAccess = if case .watchpoint? = debug.stop?.reason { true } else { debug.stop == nil }
        for hart in harts.indices {
            debug.actions[hart] = hart < actions.count ? actions[hart] : .hold
            // Others have not been seen where they are.
            let isSeen = passingBreakpoints && hart == seen
            debug.passesBreakpoint[hart] = isSeen
            debug.passedInstruction[hart] = isSeen && hasMetAccess ? (harts[hart].retired, harts[hart].pc) : nil
            debug.interrupted[hart] = nil
        }
        debug.stop = nil
    }

    /// Runs a hart until `limit` as the debugger wants it.
    func runDebugged(_ number: Int, until limit: Cycle) -> StopReason {
        guard let debug else { return .horizon }
        let hart = harts[number]
        switch debug.actions[number] {
        case .step(let range): return step(number, while: range, until: limit)
        case .instruction: return step(number, while: nil, until: limit)
        case .run, .hold: break
        }
        guard hart.time < limit else { return .horizon }
        // The hart itself passes a breakpoint at which a run begins, and runs begin anywhere.
        if !debug.passesBreakpoint[number], hart.hasBreakpoint(hart.pc) {
            hold(number, .breakpoint)
            return .breakpoint
        }
        let start = hart.time
        let reason = run(hart, until: limit)
        if hart.time != start { debug.passesBreakpoint[number] = false }
        if reason == .breakpoint { hold(number, .breakpoint) }
        return reason
    }

    /// - Parameter range: nil: a single instruction, or the entry of a handler.
    private func step(_ number: Int, while range: Range<UInt32>?, until limit: Cycle) -> StopReason {
        guard let debug else { return .horizon }
        let hart = harts[number]
        while hart.time < limit {
            let (start, before) = (hart.time, hart.pc)
            let interrupt = hart.pendingInterrupt
            let reason = profile?.step(hart) ?? hart.step()
            guard hart.time != start else { return reason }
            // Held: the instruction has met a watchpoint.
            if isHeld { return .horizon }
            guard let range else {
                hold(number, .step)
                return reason
            }
            if let place = debug.interrupted[number] {
                if hart.pc == place.pc, hart[register: 2] == place.stack { debug.interrupted[number] = nil }
            } else if interrupt != nil {
                debug.interrupted[number] = (before, hart[register: 2])
            } else if !range.contains(hart.pc) {
                hold(number, .step)
                return reason
            }
            if hart.hasBreakpoint(hart.pc) {
                hold(number, .breakpoint)
                return reason
            }
        }
        return .horizon
    }

    // MARK: Breakpoints and watchpoints

    func insertBreakpoint(_ address: UInt32) {
        guard let debug, debug.breakpoints.insert(address).inserted else { return }
        for hart in harts { hart.insertBreakpoint(address) }
    }

    func removeBreakpoint(_ address: UInt32) {
        guard debug?.breakpoints.remove(address) != nil else { return }
        for hart in harts { hart.removeBreakpoint(address) }
    }

    func insertWatchpoint(_ watchpoint: Watchpoint) {
        debug?.watchpoints.append(watchpoint)
        watchpointsChanged()
    }

    func removeWatchpoint(_ watchpoint: Watchpoint) {
        guard let debug, let index = debug.watchpoints.firstIndex(of: watchpoint) else { return }
        debug.watchpoints.remove(at: index)
        watchpointsChanged()
    }

    /// Harts ask before accesses to registers, and to a memory with a watchpoint.
    private func watchpointsChanged() {
        let watchpoints = debug?.watchpoints ?? []
        for hart in harts { hart.isWatched = !watchpoints.isEmpty }
        for region in memory.regions {
            region.isWatched = watchpoints.contains { $0.address < region.base &+ region.size && region.base < $0.address &+ $0.count }
        }
    }

    /// A hart wants to make an access.
    func permits(_ access: BusAccess) -> Bool {
        guard let debug else { return true }
        let hart = access.initiator.number
        if let passed = debug.passedInstruction[hart], passed == (harts[hart].retired, harts[hart].pc) { return true }
        for watchpoint in debug.watchpoints
        where watchpoint.isMet(address: access.address, count: UInt64(access.size), isWrite: access.isWrite) {
            hold(hart, .watchpoint(watchpoint))
            return false
        }
        return true
    }
}
