/// What happened inside the firmware, in a ring of fixed records in memory that survives a restart.
///
/// A debugger or the host's tools find it by its symbol, `offload_trace`, and do the formatting: the firmware pays four stores for a
/// record. The ring begins with four words: `TraceRing.magic`, the layout's version, the number of records (a power of two), and how
/// many were written since power-on, wrapping. Record n of four words (`mcycle`, kind, two arguments) is at place n modulo the number.
public struct TraceRing {
    public enum Kind: UInt32, Sendable {
        /// The firmware has started; reset causes, and how often it has.
        case boot = 1
        /// It reached a stage of the boot; stage.
        case stage
        /// A command was served; opcode, status.
        case command
        /// The admin queue's rings were found broken; defect, place.
        case queueBroken
        /// A window was sampled; its number, cycles that it took.
        case window
        /// Windows were missed; how many.
        case windowsMissed
        /// Shares were committed; generation, owners changed.
        case committed
        /// A commit was rejected; reason, owner.
        case rejected
        /// A trap; cause, program counter.
        case fault
        /// An event was dropped; kind.
        case eventDropped
    }

    public static let magic: UInt32 = 0x6f74_7263
    static let version: UInt32 = 1
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

    public func record(_ kind: Kind, _ first: UInt32 = 0, _ second: UInt32 = 0, at cycle: UInt32) {
        let number = words[3]
        let place = Self.headWords &+ Int(number & mask) &* Self.recordWords
        words[place] = cycle
        words[place &+ 1] = kind.rawValue
        words[place &+ 2] = first
        words[place &+ 3] = second
        words[3] = number &+ 1
    }

    /// Records written since power-on, wrapping.
    public var written: UInt32 { words[3] }
}
