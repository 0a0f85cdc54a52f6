import PolicyEngine

/// The ways in which a series is forecast, by their bits in `PredictorSet`.
public enum Expert: Int, CaseIterable, Sendable {
    /// The latest value.
    case last
    /// Exponential averages of weight 1/2 and 1/8.
    case fastAverage, slowAverage
    /// Medians of the latest 5 and 21 values.
    case shortMedian, longMedian
    /// The latest four values, linearly.
    case autoRegression
    /// What followed when the past was like the present.
    case analogues

    public static let count = 7
}

/// Which experts have a say.
public struct PredictorSet: Equatable, Sendable {
    public let bits: UInt32

    /// Bits that name no expert are dropped.
    public init(bits: UInt32) { self.bits = bits & Self.mask }
    public init(_ experts: Expert...) { bits = experts.reduce(0) { $0 | 1 &<< UInt32($1.rawValue) } }

    private static let mask: UInt32 = 1 &<< UInt32(Expert.count) &- 1
    public static let all = PredictorSet(bits: mask)
    public static let none = PredictorSet(bits: 0)

    public func contains(_ expert: Expert) -> Bool { bits &>> UInt32(expert.rawValue) & 1 != 0 }
    var count: UInt32 { UInt32(bits.nonzeroBitCount) }
}

/// The experts' forecasts and how much each is trusted: fixed-share Hedge (Herbster, Warmuth: Tracking the best expert, 1998). A weight
/// falls by e^-0.3 for each octave by which its expert errs; 1/128 of all weight is dealt out anew each time, so that whoever becomes
/// good is heard soon. The forecast is the weighted median, which a few bad experts can't move.
struct Mixture {
    /// log2(e) times 0.3, in 1/2048.
    private static let rate: UInt32 = 886
    /// Errors count up to eight octaves, in steps of 1/16.
    private static let mostLoss: UInt32 = 8 &* 2048
    private static let stepShift: UInt32 = 7
    private static let steps = Int(mostLoss &>> stepShift) &+ 1
    /// What all weights of a series come to: as much, and less than twice as much.
    private static let one: UInt32 = 0x1_0000

    private let forecasts: Table<Int32>
    private let weights: Table<UInt32>
    /// By steps of an error: the part of its weight that an expert keeps, in 1/32768.
    private let kept: Table<UInt16>
    /// 2^15 / those who have a say.
    private var portion: UInt32 = 0

    init(series: Int, in arena: inout Arena) {
        forecasts = arena.table(of: series &* Expert.count, repeating: 0)
        weights = arena.table(of: series &* Expert.count, repeating: 0)
        kept = arena.table(of: Self.steps, repeating: 0)
        for step in 0..<Self.steps {
            let loss = min(UInt32(truncatingIfNeeded: step) &<< Self.stepShift &+ 1 &<< (Self.stepShift &- 1), Self.mostLoss)
            kept[step] = UInt16(truncatingIfNeeded: Level.inversePower((loss &* Self.rate) &>> 11) &>> 1)
        }
        use(.all)
    }

    /// Only `experts` have a say, in each series that is cleared from now on.
    mutating func use(_ experts: PredictorSet) { portion = (1 &<< 15) / max(experts.count, 1) }

    /// Trusts all of `experts` alike; their forecasts are `level`.
    func clear(_ series: Int, _ experts: PredictorSet, at level: Int32) {
        let weights = weights.part(series, of: Expert.count)
        for expert in 0..<Expert.count {
            weights[expert] = (experts.bits &>> UInt32(truncatingIfNeeded: expert)) & 1 != 0 ? Self.one / experts.count &+ 1 : 0
        }
        forecasts.part(series, of: Expert.count).update(repeating: level, count: Expert.count)
    }

    /// What each expert says: levels.
    struct Forecasts {
        fileprivate let levels: UnsafeMutablePointer<Int32>

        @inline(__always) subscript(_ expert: Expert) -> Int32 {
            get { levels[expert.rawValue] }
            nonmutating set { levels[expert.rawValue] = newValue }
        }
    }

    func forecasts(of series: Int) -> Forecasts { Forecasts(levels: forecasts.part(series, of: Expert.count)) }

    /// An expert's part of all weight, in 1/65536.
    func trust(in expert: Expert, of series: Int) -> UInt32 {
        let weights = weights.part(series, of: Expert.count)
        var sum: UInt32 = 0
        for expert in 0..<Expert.count { sum &+= weights[expert] }
        return sum == 0 ? 0 : UInt32(truncatingIfNeeded: (UInt64(weights[expert.rawValue]) &<< 16) / UInt64(sum))
    }

    /// Learns which experts were right.
    func learn(_ series: Int, _ level: Int32) {
        let forecasts = forecasts.part(series, of: Expert.count), weights = weights.part(series, of: Expert.count)
        let kept = kept.part(0, of: Self.steps)
        var sum: UInt32 = 0
        for expert in 0..<Expert.count {
            let error = level &- forecasts[expert], weight = weights[expert]
            let loss = min(UInt32(bitPattern: max(error, 0 &- error)), Self.mostLoss)
            // Who has a say keeps it.
            let next = max((weight &* UInt32(kept[Int(loss &>> Self.stepShift)])) &>> 15, min(weight, 1))
            weights[expert] = next
            sum &+= next
        }
        guard sum != 0 else { return }
        // Back to one and more, by a shift.
        let shift = UInt32(max(sum.leadingZeroBitCount, Self.one.leadingZeroBitCount) &- Self.one.leadingZeroBitCount)
        let share = (((sum &<< shift) &>> 9) &* portion) &>> 13
        for expert in 0..<Expert.count where weights[expert] != 0 {
            let weight = weights[expert] &<< shift
            weights[expert] = weight &- weight &>> 7 &+ share
        }
    }

    /// The weighted median of the forecasts.
    func median(of series: Int) -> Int32 {
        let forecasts = forecasts.part(series, of: Expert.count), weights = weights.part(series, of: Expert.count)
        // Level in the upper part, expert in the lower three bits, in order. Who has no say has no weight either.
        var entries = InlineArray<7, Int32>(repeating: 0)
        var sum: UInt32 = 0
        for expert in 0..<Expert.count {
            entries[unchecked: expert] = (forecasts[expert] &<< 3) | Int32(truncatingIfNeeded: expert)
            sum &+= weights[expert]
        }
        guard sum != 0 else { return 0 }
        entries.order()
        var below: UInt32 = 0
        for place in 0..<Expert.count {
            below &+= weights[Int(entries[unchecked: place] & 7)]
            if below &* 2 >= sum { return entries[unchecked: place] &>> 3 }
        }
        return 0
    }
}
