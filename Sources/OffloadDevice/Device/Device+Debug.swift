import RISCV
import Registers

// The management core as a debugger sees it.

extension Device {
    /// The harts, by `mhartid`. To be changed only while a debugger holds them.
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

    /// Stops the harts after an access of a hart's to this range. Loads and stores to the memory region that it is in take the way over
    /// the bus, and its time, meanwhile.
    public func insertWatchpoint(_ watchpoint: Watchpoint) { core.insertWatchpoint(watchpoint) }
    public func removeWatchpoint(_ watchpoint: Watchpoint) { core.removeWatchpoint(watchpoint) }

    /// A write on the firmware's bus, with all side effects. It takes no device time.
    public func debuggerWrite(_ value: UInt64, to address: UInt64, size: Int) -> BusStatus {
        let now = scheduler.now
        var access = BusAccess(write: value, to: address, size: size, initiator: .debugger, time: now)
        recorder.begin()
        let status = crossbar.access(&access, in: .firmware)
        if recorder.isRecording { recorder.finish(access, address: address, bus: .firmware, issued: now, status: status) }
        if status == .ok { core.memory.wasWritten(UInt32(truncatingIfNeeded: address), bytes: size) }
        return status
    }

    /// Restarts the firmware while the harts are held: they are at its first instruction when this returns.
    public func restartHeldFirmware() throws(MachineError) {
        try restartFirmware()
        if core.isHeld { core.performRequests() }
    }
}
