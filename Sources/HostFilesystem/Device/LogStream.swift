import OffloadDevice

/// The records of one virtual machine's log (regmaps/log), consumed by reading: whole records of 32 bytes, none when there is none.
///
/// It does what a host driver does: looks at the head, copies records out of BAR2, moves the tail.
final class LogStream: StreamFile, @unchecked Sendable {
    // Safe to share: all access to the machine is under its lock.
    private let machine: Machine
    private let virtualMachine: Int
    private static let recordBytes = 32

    init(_ machine: Machine, virtualMachine: Int) {
        self.machine = machine
        self.virtualMachine = virtualMachine
        super.init(permissions: 0o600)
    }

    /// A register of this owner's log, in the physical function's BAR0.
    private enum Field: UInt64 {
        case status = 0x00, ringOffset = 0x04, ringSize = 0x08, head = 0x0c, tail = 0x10
    }

    @discardableResult
    private func access(_ field: Field, write value: UInt32? = nil) -> UInt32 {
        let offset = 0x1000 + 0x20 * UInt64(virtualMachine) + field.rawValue
        if let value {
            machine.writeBAR(function: 0, bar: 0, offset: offset, size: 4, value: UInt64(value), origin: 0)
            return value
        }
        return UInt32(truncatingIfNeeded: machine.readBAR(function: 0, bar: 0, offset: offset, size: 4, origin: 0).value)
    }

    override func take(_ count: Int, for open: OpenFile?) -> Outcome {
        guard count >= Self.recordBytes else { return .failed(.invalidArgument) }
        let size = access(.ringSize), offset = access(.ringOffset)
        // All ones: memory space of the function is switched off.
        guard size != .max else { return .failed(.inputOutput) }
        guard size > 0, size & (size - 1) == 0 else { return .bytes([]) }
        let head = access(.head), tail = access(.tail)
        let records = min(Int(head &- tail), Int(size), count / Self.recordBytes)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(records * Self.recordBytes)
        for record in 0..<records {
            let index = (tail &+ UInt32(record)) & (size - 1)
            let start = Int(offset) + Int(index) * Self.recordBytes
            guard start <= machine.sharedMemory.bytes.count - Self.recordBytes else { return .failed(.inputOutput) }
            bytes += machine.sharedMemory.bytes[start..<(start + Self.recordBytes)]
        }
        if records > 0 { access(.tail, write: tail &+ UInt32(records)) }
        return .bytes(bytes)
    }
}
