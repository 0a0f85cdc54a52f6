import Interconnect
import Registers

/// A part of a bus as a target of its own: what a BAR shows of the fabric.
final class BusWindow: BusTarget {
    private let bus: any BusTarget
    private let base: UInt64
    private let size: UInt64
    /// Asked about every access of the host's, if what is shown is memory that owners share.
    private let memoryGuard: (any MemoryGuard)?

    init(_ bus: any BusTarget, base: UInt64, size: UInt64, memoryGuard: (any MemoryGuard)? = nil) {
        self.bus = bus
        self.base = base
        self.size = size
        self.memoryGuard = memoryGuard
    }

    func access(_ access: inout BusAccess) -> BusStatus {
        guard access.address < size, UInt64(access.size) <= size - access.address else { return .unmapped }
        if let memoryGuard, !memoryGuard.permits(.host, offset: access.address, count: UInt64(access.size), at: access.time) {
            return .denied
        }
        access.address &+= base
        return bus.access(&access)
    }

    func peek(_ address: UInt64, size: Int) -> UInt64? {
        address < self.size ? bus.peek(base + address, size: size) : nil
    }
}
