import Interconnect
import Registers

/// A part of a bus as a target of its own: what a BAR shows of the fabric.
final class BusWindow: BusTarget {
    private let bus: any BusTarget
    private let base: UInt64
    private let size: UInt64

    init(_ bus: any BusTarget, base: UInt64, size: UInt64) {
        self.bus = bus
        self.base = base
        self.size = size
    }

    func access(_ access: inout BusAccess) -> BusStatus {
        guard access.address < size, UInt64(access.size) <= size - access.address else { return .unmapped }
        access.address &+= base
        return bus.access(&access)
    }

    func peek(_ address: UInt64, size: Int) -> UInt64? {
        address < self.size ? bus.peek(base + address, size: size) : nil
    }
}
