import RISCV
import Registers

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

    /// Stops the harts after an access of a hart's to this range. Loads and stores to the memory region that it is in take the way over
    /// the bus, and its time, meanwhile.
    public func insertWatchpoint(_ watchpoint: Watchpoint) { core.insertWatchpoint(watchpoint) }
    public func removeWatchpoint(_ watchpoint: Watchpoint) { core.removeWatchpoint(watchpoint) }

    /// What a read on one of the buses would return, without side effects. Addresses on the functions' buses are offsets in the BAR that
    /// the register map describes.
    /// - Parameter function: of the virtio functions' bus: the index of which one.
    public func peek(_ bus: DeviceBus, _ address: UInt64, size: Int, function: Int = 1) -> UInt64? {
        switch bus {
        case .firmware: crossbar.peek(address, size: size, in: .firmware)
        case .physicalFunction: crossbar.peek(address, size: size, in: .host)
        case .virtualFunction: blockFunction(function)?.transport.peek(address, size: size)
        }
    }
}
