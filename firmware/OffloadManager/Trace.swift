import AdminProtocol

/// What happened inside the firmware, in a ring of fixed records in memory that survives a restart.
///
/// A debugger or the host's tools find it by its symbol, `offload_trace`, and do the formatting: the firmware pays four stores for a
/// record. The ring begins with four words: `TraceRing.magic`, the layout's version, the number of records (a power of two), and how
/// many were written since power-on, wrapping. Record n is at place n modulo the number: `mcycle`, the kind, and eight bytes of payload.
///
/// What kinds there are and what their payloads mean is read from the image's debug information. A kind's number is its place among
/// the cases of ``Kind``; its payload is the structure of ``TraceRing`` with the case's name, in memory as the compiler lays it out. Its
/// members are integers and enumerations; members of the same name must have the same type in all of them (the compiler's debug
/// information has them only once).
public struct TraceRing {
    public enum Kind: UInt32, Sendable, CaseIterable {
        case boot, command, unknownCommand, queueBroken, window, windowsMissed, committed, rejected, fault, analysis, policyFault
    }

    /// The firmware has started.
    public struct Boot: TraceRecord {
        public static var kind: Kind { .boot }
        /// `SYSCTL.RESET_CAUSE`.
        public let causes: UInt32
        /// How often it has started since power-on.
        public let starts: UInt32

        public init(causes: UInt32, starts: UInt32) {
            self.causes = causes
            self.starts = starts
        }
    }

    /// A command was served.
    public struct Command: TraceRecord {
        public static var kind: Kind { .command }
        public let opcode: AdminOpcode
        public let status: AdminStatus
        public let qualifier: AdminQualifier
    }

    /// A command without a known opcode was refused.
    public struct UnknownCommand: TraceRecord {
        public static var kind: Kind { .unknownCommand }
        public let code: UInt16
        public let status: AdminStatus
        public let qualifier: AdminQualifier
    }

    /// The admin queue's rings were found broken.
    public struct QueueBroken: TraceRecord {
        public static var kind: Kind { .queueBroken }
        public let defect: AdminQueue.Defect
        public let place: UInt32
    }

    /// A window was sampled.
    public struct Window: TraceRecord {
        public static var kind: Kind { .window }
        public let number: UInt32
        /// What sampling took.
        public let cycles: UInt32

        public init(number: UInt32, cycles: UInt32) {
            self.number = number
            self.cycles = cycles
        }
    }

    /// Windows were missed.
    public struct WindowsMissed: TraceRecord {
        public static var kind: Kind { .windowsMissed }
        public let count: UInt32
    }

    /// Shares were committed.
    public struct Committed: TraceRecord {
        public static var kind: Kind { .committed }
        public let generation: UInt32
        /// Owners whose share has changed.
        public let owners: UInt32
    }

    /// A commit was rejected.
    public struct Rejected: TraceRecord {
        public static var kind: Kind { .rejected }
        /// `RM.RESULT.reason`.
        public let reason: UInt32
        public let owner: UInt32
    }

    /// A policy's program was ended before its end.
    public struct PolicyFault: TraceRecord {
        public static var kind: Kind { .policyFault }
        public let policy: UInt32
        public let instruction: UInt32
    }

    /// A trap.
    public struct Fault: TraceRecord {
        public static var kind: Kind { .fault }
        public let cause: UInt32
        public let pc: UInt32
    }

    /// An owner's interval was analysed.
    public struct Analysis: TraceRecord {
        public static var kind: Kind { .analysis }
        public let owner: UInt32
        public let cycles: UInt32
    }

    public static let magic: UInt32 = 0x6f74_7263
    static let version: UInt32 = 2
    static let headWords = 4
    static let recordWords = 4

    private let words: UnsafeMutablePointer<UInt32>
    private let mask: UInt32

    /// Takes over the ring in `words`, or makes a new one if there is none, as after power-on.
    /// - Parameter count: words of memory, at least 8.
    public init(_ words: UnsafeMutablePointer<UInt32>, count: Int) {
        self.words = words
        let records = UInt32(truncatingIfNeeded: (count &- Self.headWords) / Self.recordWords)
        let capacity: UInt32 = 1 &<< (31 &- UInt32(truncatingIfNeeded: records.leadingZeroBitCount))
        mask = capacity &- 1
        if words[0] != Self.magic || words[1] != Self.version || words[2] != capacity {
            words[1] = Self.version
            words[2] = capacity
            words[3] = 0
            words[0] = Self.magic
        }
    }

    public func record<Record: TraceRecord>(_ record: Record, at cycle: UInt32) {
        let number = words[3]
        let place = words + (Self.headWords &+ Int(number & mask) &* Self.recordWords)
        place[0] = cycle
        place[1] = Record.kind.rawValue
        // What the payload doesn't fill reads as zero.
        place[2] = 0
        place[3] = 0
        UnsafeMutableRawPointer(place + 2).storeBytes(of: record, as: Record.self)
        words[3] = number &+ 1
    }

    /// Records written since power-on, wrapping.
    public var written: UInt32 { words[3] }
}

/// The payload of one kind of record: at most eight bytes.
public protocol TraceRecord: Sendable {
    static var kind: TraceRing.Kind { get }
}
