import PolicyEngine

/// How far forecasts were off, and from that the interval around the next one that ought to hold 90 % of what comes.
///
/// Errors are counted in bins of half an octave, from four octaves too high to four too low; every 256 forecasts the counts are halved.
/// Whatever the errors' distribution does, the share of misses is steered to 10 %: each miss lowers the error rate that the interval is
/// made for, and each hit raises it (Gibbs, Candes: Adaptive conformal inference under distribution shift, 2021).
struct ErrorHistogram {
    static let bins = 16
    private static let binShift: Int32 = 10
    private static let limit: UInt32 = 256
    /// Rates in 1/65536.
    static let target: Int32 = 6554
    private static let mostRate: Int32 = 0x8000

    struct State: BitwiseCopyable {
        var total: UInt32 = 0
        /// The error rate that intervals are made for.
        var rate: Int32 = ErrorHistogram.target
    }

    private let counts: Table<UInt16>
    private let states: Table<State>

    init(series: Int, in arena: inout Arena) {
        counts = arena.table(of: series &* Self.bins, repeating: 0)
        states = arena.table(of: series, repeating: State())
    }

    func clear(_ series: Int) {
        counts.part(series, of: Self.bins).update(repeating: 0, count: Self.bins)
        states[series] = State()
    }

    /// - Parameters:
    ///   - error: what came less what was forecast, in levels.
    ///   - isInside: whether the interval held it.
    func learn(_ series: Int, error: Int32, isInside: Bool) {
        let counts = counts.part(series, of: Self.bins)
        var state = states[series]
        let bin = Int(min(max((error &>> Self.binShift) &+ Int32(Self.bins / 2), 0), Int32(Self.bins &- 1)))
        counts[bin] &+= 1
        state.total &+= 1
        if state.total >= 2 &* Self.limit {
            state.total = 0
            for bin in 0..<Self.bins {
                counts[bin] &>>= 1
                state.total &+= UInt32(counts[bin])
            }
        }
        state.rate = min(max(state.rate &+ (Self.target &- (isInside ? 0 : 0x1_0000)) &>> 6, 0), Self.mostRate)
        states[series] = state
    }

    /// The interval's ends less the forecast, in levels.
    func bounds(_ series: Int) -> (low: Int32, high: Int32) {
        let counts = counts.part(series, of: Self.bins)
        let state = states[series]
        guard state.total >= 16 else { return (-4 &* Level.one, 4 &* Level.one) }
        // Count that lies beyond each end, in 1/256: so many whole errors, and part of the next.
        let beyond = (state.total &* UInt32(bitPattern: state.rate)) &>> 9
        let whole = beyond &>> 8
        let first = counts, last = counts + (Self.bins &- 1)
        var bin = first, passed: UInt32 = 0
        while bin != last, passed &+ UInt32(bin.pointee) <= whole {
            passed &+= UInt32(bin.pointee)
            bin += 1
        }
        let lowEdge = Self.edge(bin - first) &+ Self.part(beyond &- passed &<< 8, of: bin.pointee)
        bin = last
        passed = 0
        while bin != first, passed &+ UInt32(bin.pointee) <= whole {
            passed &+= UInt32(bin.pointee)
            bin -= 1
        }
        let highEdge = Self.edge(bin - first &+ 1) &- Self.part(beyond &- passed &<< 8, of: bin.pointee)
        return (lowEdge, max(highEdge, lowEdge))
    }

    @inline(__always) private static func edge(_ bin: Int) -> Int32 { (Int32(truncatingIfNeeded: bin) &- Int32(bins / 2)) &<< binShift }

    /// How far into a bin a count in 1/256 reaches.
    @inline(__always) private static func part(_ count: UInt32, of bin: UInt16) -> Int32 {
        bin == 0 ? 0 : min(Int32(bitPattern: count &<< UInt32(binShift &- 8)) / Int32(bin), 1 &<< binShift)
    }
}
