/// What one access does to one field, as pure functions of the field's own bits: SystemRDL 2.0 tables 8 to 11, one function
/// per property. ``RegisterBlock`` does the same with masks over whole registers; tests hold the two against each other.
public enum NextValue {
    /// A software write of `data` where `strobe` has ones for the bits whose byte lane is enabled (SystemRDL `onwrite`).
    public static func write(_ old: UInt64, data: UInt64, strobe: UInt64, width: Int, _ onWrite: OnWrite?) -> UInt64 {
        let field = ones(width)
        let next: UInt64
        switch onWrite {
        case nil: next = (old & ~strobe) | (data & strobe)
        case .woset: next = old | (data & strobe)
        case .woclr: next = old & ~(data & strobe)
        case .wot: next = old ^ (data & strobe)
        case .wzs: next = old | (~data & strobe)
        case .wzc: next = old & (data | ~strobe)
        case .wzt: next = old ^ (~data & strobe)
        case .wclr: next = strobe & field == 0 ? old : 0
        case .wset: next = strobe & field == 0 ? old : .max
        case .wuser: next = old
        }
        return next & field
    }

    /// A software read (SystemRDL `onread`).
    public static func read(_ old: UInt64, width: Int, _ onRead: OnRead?) -> UInt64 {
        switch onRead {
        case .rclr: 0
        case .rset: ones(width)
        case .ruser, nil: old
        }
    }

    /// An interrupt or sticky field whose hardware input goes from `before` to `input`.
    public static func input(
        _ old: UInt64, before: UInt64, input: UInt64, width: Int, trigger: InterruptBehaviour.Trigger, sticky: Sticky
    ) -> UInt64 {
        let event: UInt64
        switch trigger {
        case .level: event = input
        case .posedge: event = ~before & input
        case .negedge: event = before & ~input
        case .bothedge: event = before ^ input
        }
        let shown = event & ones(width)
        switch sticky {
        case .none: return shown
        case .bit: return old | shown
        case .word: return old == 0 ? shown : old
        }
    }

    /// A counter that goes up by `amount` (SystemRDL `incrsaturate`: one that is beyond its saturation value goes back to it).
    public static func increment(_ old: UInt64, by amount: UInt64, width: Int, _ counter: CounterBehaviour) -> (UInt64, overflow: Bool) {
        let (sum, carried) = old.addingReportingOverflow(amount)
        let top = counter.incrementSaturation ?? ones(width)
        guard carried || sum > top else { return (sum, false) }
        return counter.incrementSaturation == nil ? (sum & ones(width), true) : (top, false)
    }

    /// A counter that goes down by `amount` (SystemRDL `decrsaturate`, likewise).
    public static func decrement(_ old: UInt64, by amount: UInt64, width: Int, _ counter: CounterBehaviour) -> (UInt64, underflow: Bool) {
        let (difference, borrowed) = old.subtractingReportingOverflow(amount)
        let bottom = counter.decrementSaturation ?? 0
        guard borrowed || difference < bottom else { return (difference, false) }
        return counter.decrementSaturation == nil ? (difference & ones(width), true) : (bottom, false)
    }
}
