import Registers

/// One bus access as the trace keeps it.
public struct AccessEvent: Sendable, Equatable {
    /// Device cycle at which it was issued.
    public var time: UInt64
    /// Cycles until it came back. The trace keeps up to 8,191.
    public var wait: UInt64
    public var initiator: Initiator
    /// Program counter of a hart, process id of a host program.
    public var origin: UInt32
    public var isWrite: Bool
    /// Bytes: 1, 2, 4 or 8.
    public var size: UInt8
    public var status: BusStatus
    public var target: Target
    /// The register's value before the access, or nothing of meaning where there is no register.
    public var old: UInt64
    /// The register's value after the access. Without a register: the data written or read.
    public var new: UInt64

    public enum Target: Sendable, Equatable {
        /// A register by its number in the ``RegisterCatalogue``, the array element, and the first byte of it that was accessed.
        case register(UInt16, element: UInt16, byte: UInt8)
        /// No register: the address on a bus.
        case address(UInt64, bus: UInt8)
    }

    public init(
        time: UInt64, wait: UInt64, initiator: Initiator, origin: UInt32, isWrite: Bool, size: UInt8, status: BusStatus, target: Target,
        old: UInt64, new: UInt64
    ) {
        self.time = time; self.wait = wait; self.initiator = initiator; self.origin = origin; self.isWrite = isWrite
        self.size = size; self.status = status; self.target = target; self.old = old; self.new = new
    }
}
