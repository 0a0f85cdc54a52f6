/// An entry of the event ring.
public struct DeviceEvent: WireLayout {
    public static let byteCount = 32

    /// ``Kind``, or a number that isn't one.
    public var kind: UInt16 = 0
    public var owner: UInt8 = 0
    /// ``Severity``, or a number that isn't one.
    public var severity: UInt8 = 0
    /// 0 for the first one posted, one more for each, posted or dropped.
    public var sequence: UInt32 = 0
    /// Device cycle.
    public var cycle: UInt64 = 0
    /// By kind.
    public var argument0: UInt64 = 0
    /// By kind.
    public var argument1: UInt64 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        kind = bytes.number(0)
        owner = bytes.number(2)
        severity = bytes.number(3)
        sequence = bytes.number(4)
        cycle = bytes.number(8)
        argument0 = bytes.number(16)
        argument1 = bytes.number(24)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(kind, 0)
        bytes.put(owner, 2)
        bytes.put(severity, 3)
        bytes.put(sequence, 4)
        bytes.put(cycle, 8)
        bytes.put(argument0, 16)
        bytes.put(argument1, 24)
    }

    public enum Severity: UInt8, Sendable { case information = 0, warning = 1, error = 2 }

    /// What happened; the arguments in their order.
    public enum Kind: UInt16, Sendable {
        /// Firmware version, reset cause.
        case firmwareStarted = 1
        /// Generation, guarantee before and from bit 16 now.
        case partitionChanged = 2
        /// RESULT of the Resource Manager.
        case partitionRejected = 3
        /// Head, tail.
        case logWatermark = 4
        /// Records lost.
        case logOverflow = 5
        /// Error.
        case logError = 6
        /// Cause, program counter.
        case fault = 7
        /// Address; holder, and from bit 32 the kind (``AuditEntry/Kind``).
        case isolationDenied = 8
        /// Window number, latency bucket of the 99th percentile.
        case thresholdCrossed = 9
        /// State, location.
        case componentChanged = 10
        /// What was found, where.
        case queueError = 11
        /// ``PolicyNumber`` that is in force now, and from bit 32 the one whose program has failed; kind of the fault, and from bit 32 the
        /// instruction.
        case policyFault = 12
        /// ``PolicyNumber`` that is in force now, from bit 16 ``PolicyReason``, from bit 32 the one before; utility that was measured in
        /// the latest epoch, and from bit 32 in the one before.
        case policyChanged = 13
        /// What an epoch did to the allocation is undone. ``PolicyNumber`` in force now, and from bit 32 the one whose work that was;
        /// utilities as for `policyChanged`.
        case changeUndone = 14
    }

    public init(
        _ kind: Kind, owner: UInt8 = 0, severity: Severity = .information, sequence: UInt32, cycle: UInt64,
        _ argument0: UInt64 = 0, _ argument1: UInt64 = 0
    ) {
        self.kind = kind.rawValue; self.owner = owner; self.severity = severity.rawValue; self.sequence = sequence; self.cycle = cycle
        self.argument0 = argument0; self.argument1 = argument1
    }
}
