import Registers

/// One thing that happened in the device, as a trace keeps it.
///
/// What is told by number (registers, buses, wires, record kinds) has its name in the trace's ``TraceNames``.
public enum TraceEvent: Sendable, Equatable {
    case access(AccessEvent)
    case interrupt(InterruptEvent)
    case dma(DMAEvent)
    case queue(QueueEvent)
    case fault(FaultEvent)
    case log(LogEvent)

    /// Device cycle at which it happened; of an access and a transfer, at which it was issued.
    public var time: UInt64 {
        switch self {
        case .access(let event): event.time
        case .interrupt(let event): event.time
        case .dma(let event): event.time
        case .queue(let event): event.time
        case .fault(let event): event.time
        case .log(let event): event.time
        }
    }

    /// Who caused it, in whose stream it is.
    public var initiator: Initiator {
        switch self {
        case .access(let event): event.initiator
        case .interrupt(let event): event.initiator
        case .dma(let event): event.initiator
        case .queue(let event): event.initiator
        case .fault(let event): event.initiator
        case .log(let event): event.initiator
        }
    }
}

/// An interrupt on one of the legs of its way: on a wire, as a message to the host, as a trap of a hart.
public struct InterruptEvent: Sendable, Equatable {
    /// Device cycle.
    public var time: UInt64
    public var step: Step

    public enum Step: Sendable, Equatable {
        /// A wire, by its number in ``TraceNames/wires``, has changed to this level.
        case line(UInt16, level: Bool)
        /// A PCI function has sent the host an MSI-X message, or changed its INTx line's level where `vector` is nil.
        case message(function: UInt8, vector: UInt16?, level: Bool)
        /// A hart has taken a trap: an interrupt, or an exception (the highest bit of `cause`, as in `mcause`, tells which).
        /// `pc` is where it was (`mepc`), `handler` where it goes on.
        case trap(hart: UInt8, cause: UInt32, pc: UInt32, handler: UInt32)
    }

    public init(time: UInt64, step: Step) { self.time = time; self.step = step }

    public var initiator: Initiator {
        switch step {
        case .line: .device
        case .message(let function, _, _): .dma(function: Int(function))
        case .trap(let hart, _, _, _): .hart(Int(hart))
        }
    }
}

/// One transfer between the device and the host's memory.
public struct DMAEvent: Sendable, Equatable {
    /// Device cycle at which it is made.
    public var time: UInt64
    /// PCI function index.
    public var function: UInt8
    /// The device writes to memory; otherwise it reads.
    public var isWrite: Bool
    /// As the function sees it: before the IOMMU.
    public var address: UInt64
    public var bytes: UInt32
    public var status: BusStatus

    public init(time: UInt64, function: UInt8, isWrite: Bool, address: UInt64, bytes: UInt32, status: BusStatus) {
        self.time = time; self.function = function; self.isWrite = isWrite; self.address = address; self.bytes = bytes
        self.status = status
    }

    public var initiator: Initiator { .dma(function: Int(function)) }
}

/// A step on the way of a request through a virtqueue.
public struct QueueEvent: Sendable, Equatable {
    /// Device cycle.
    public var time: UInt64
    /// PCI function index.
    public var function: UInt8
    public var queue: UInt16
    public var step: Step
    /// The head descriptor of the request that was taken or completed; otherwise 0.
    public var head: UInt16
    /// Bytes in the buffers of the request that was taken, bytes written to those of one that was completed; otherwise 0.
    public var bytes: UInt32
    /// Requests in flight after the step.
    public var depth: UInt16

    public enum Step: UInt8, Sendable, CaseIterable {
        /// The driver has rung the doorbell.
        case doorbell = 0
        /// The device has taken a request from the available ring.
        case taken
        /// It has put the request into the used ring.
        case completed
        /// It has told the driver.
        case notified
    }

    public init(time: UInt64, function: UInt8, queue: UInt16, step: Step, head: UInt16 = 0, bytes: UInt32 = 0, depth: UInt16) {
        self.time = time; self.function = function; self.queue = queue; self.step = step; self.head = head; self.bytes = bytes
        self.depth = depth
    }

    public var initiator: Initiator { .dma(function: Int(function)) }
}

/// Something has gone wrong, in a way that the hardware noticed.
public struct FaultEvent: Sendable, Equatable {
    /// Device cycle.
    public var time: UInt64
    public var kind: Kind
    /// Whose access, function or hart it is; ``Registers/Initiator/device`` where nobody's.
    public var initiator: Initiator
    /// The address that was in question; 0 where none was.
    public var address: UInt64
    /// Program counter of a hart, process id of a host program, virtqueue of a function; 0 where there is none.
    public var origin: UInt32
    /// What it was, in the terms of the kind: a status, an AER error's name, a watchdog's stage. At most ``longestName``
    /// bytes of UTF-8 are kept.
    public var name: String

    public enum Kind: UInt8, Sendable, CaseIterable {
        /// A bus error that a hart took.
        case bus = 0
        /// A transfer that the IOMMU refused.
        case iommu
        /// A PCI Express error that was reported by advanced error reporting.
        case aer
        /// An error that a memory's code found.
        case ecc
        /// A watchdog was not fed.
        case watchdog
        /// A virtqueue that the driver broke: the function needs a reset.
        case queue
    }

    /// Bytes of a name that a trace keeps.
    public static let longestName = 255

    public init(time: UInt64, kind: Kind, initiator: Initiator, address: UInt64 = 0, origin: UInt32 = 0, name: String) {
        self.time = time; self.kind = kind; self.initiator = initiator; self.address = address; self.origin = origin; self.name = name
    }
}

/// What the firmware has told: a line that it printed, or a record of its trace ring.
public struct LogEvent: Sendable, Equatable {
    /// Device cycle: of a line, when its end had left the UART; of a record, the end of the round in which it was written.
    public var time: UInt64
    public var content: Content

    public enum Content: Sendable, Equatable {
        /// A line without its end. At most ``longestLine`` bytes of UTF-8 are kept.
        case line(String)
        /// A record by the number of its kind in ``TraceNames/records``, with at most ``mostArguments`` arguments.
        case record(kind: UInt16, arguments: [UInt32])
    }

    /// Bytes of a line that a trace keeps.
    public static let longestLine = 1023
    /// Arguments of a record that a trace keeps.
    public static let mostArguments = 15

    public init(time: UInt64, content: Content) { self.time = time; self.content = content }

    /// The UART and the end of a round have a time of their own, which a hart's may be past.
    public var initiator: Initiator { .device }
}
