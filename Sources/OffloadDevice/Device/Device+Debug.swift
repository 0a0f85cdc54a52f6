import RISCV
import Registers
import Simulation
import Tracing

// The device as people and debuggers see it.

extension Device {
    /// The harts, by `mhartid`.
    public var harts: [Hart] { core.harts }

    /// Plain memory as the harts see it.
    public var memoryRegions: [MemoryRegion] { core.memory.regions }

    /// Why the debugger holds the harts; nil while they run.
    public var debugStop: DebugStop? { core.debug?.stop }

    /// What a hart is doing, for people: `running`, `waiting (wfi)`, `off`.
    public func activity(ofHart hart: Int) -> String {
        let status = core.hartStatus(hart)
        return !status.isRunning ? "off" : status.isWaiting ? "waiting (wfi)" : "running"
    }

    /// Stops every hart before the instruction at this address, without changing memory. Nothing without a debugger.
    public func insertBreakpoint(_ address: UInt32) { core.insertBreakpoint(address) }
    public func removeBreakpoint(_ address: UInt32) { core.removeBreakpoint(address) }

    /// Stops the harts after an access of a hart's to this range.
    public func insertWatchpoint(_ watchpoint: Watchpoint) { core.insertWatchpoint(watchpoint) }
    public func removeWatchpoint(_ watchpoint: Watchpoint) { core.removeWatchpoint(watchpoint) }

    // MARK: For who has the device to himself

    /// Holds the harts for a debugger: ``Machine/attachDebugger(onStop:)`` is for a device that others use.
    package func attachDebugger() { core.attachDebugger {} }

    /// Holds the harts that a debugger has let go; also from within what it observes.
    package func hold(_ reason: DebugStop.Reason, hart: Int = 0) { core.hold(hart, reason) }

    /// Lets time go on, with whoever carries the device on.
    /// - Parameters:
    ///   - actions: by hart; empty: all run.
    ///   - end: where to stop if nothing else does.
    ///   - passingBreakpoints: one where the hart is that was stopped doesn't stop it again.
    package func resume(_ actions: [HartAction] = [], until end: Cycle = .max, passingBreakpoints: Bool = true) {
        let actions = actions.isEmpty ? Array(repeating: .run, count: harts.count) : actions
        core.resume(actions, until: end, passingBreakpoints: passingBreakpoints)
    }

    /// Is given every event while set.
    package var onEvent: ((TraceEvent) -> Void)? {
        get { recorder.listener }
        set { recorder.listener = newValue }
    }

    /// A position from which the device comes at once to what happens right now, for who observes it.
    package var momentBefore: Position { core.momentBefore }

    /// What a read on one of the buses would return, without side effects. Addresses on the functions' buses are offsets in the BAR that
    /// the register map describes.
    /// - Parameter function: of the virtio functions' bus: the index of which one.
    public func peek(_ bus: DeviceBus, _ address: UInt64, size: Int, function: Int = 1) -> UInt64? {
        switch bus {
        case .firmware: crossbar.peek(address, size: size, in: .firmware)
        case .physicalFunction: crossbar.peek(address, size: size, in: .host)
        case .virtualFunction: virtioFunction(function)?.transport.peek(address, size: size)
        case .legacyFunction: virtioFunction(function)?.legacy?.peek(address, size: size)
        }
    }
}
