import PolicyEngine

/// The ways in which a series is forecast, by their bits in `PredictorSet`.
public enum Expert: Int, CaseIterable, Sendable {
    /// The latest value.
    case last
    /// Exponential averages of weight 1/2 and 1/8.
    case fastAverage, slowAverage
    /// Medians of the latest 5 and 21 values.
    case shortMedian, longMedian
    /// The latest eight values, linearly.
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
    private static let mostLoss: UInt32 = 8 &* 2048
    private static let one: UInt32 = 0x1_0000

    private let forecasts: Table<Int32>
    private let weights: Table<UInt32>

    init(series: Int, in arena: inout Arena) {
        forecasts = arena.table(of: series &* Expert.count, repeating: 0)
        weights = arena.table(of: series &* Expert.count, repeating: 0)
    }

    /// Trusts all of `experts` alike; their forecasts are `level`.
    func clear(_ series: Int, _ experts: PredictorSet, at level: Int32) {
        let weights = weights.part(series, of: Expert.count)
        for expert in 0..<Expert.count { weights[expert] = share(of: expert, in: experts, Self.one) }
        forecasts.part(series, of: Expert.count).update(repeating: level, count: Expert.count)
    }

    @inline(__always) private func share(of expert: Int, in experts: PredictorSet, _ whole: UInt32) -> UInt32 {
        (experts.bits &>> UInt32(truncatingIfNeeded: expert)) & 1 != 0 ? whole / max(experts.count, 1) : 0
    }

    func set(_ expert: Expert, of series: Int, _ level: Int32) {
        forecasts.part(series, of: Expert.count)[expert.rawValue] = min(max(level, 0), Level.highest)
    }

    func forecast(of series: Int, by expert: Expert) -> Int32 { forecasts.part(series, of: Expert.count)[expert.rawValue] }

    /// In 1/65536.
    func weight(of series: Int, for expert: Expert) -> UInt32 { weights.part(series, of: Expert.count)[expert.rawValue] }

    /// Learns which experts were right.
    func learn(_ series: Int, _ level: Int32, _ experts: PredictorSet) {
        let forecasts = forecasts.part(series, of: Expert.count), weights = weights.part(series, of: Expert.count)
        var sum: UInt32 = 0
        for expert in 0..<Expert.count where weights[expert] != 0 {
            let loss = min(UInt32(bitPattern: max(level &- forecasts[expert], forecasts[expert] &- level)), Self.mostLoss)
            weights[expert] = max((weights[expert] &* (Level.inversePower((loss &* Self.rate) &>> 11) &>> 1)) &>> 15, 1)
            sum &+= weights[expert]
        }
        guard sum != 0 else { return }
        // A weight is at most the sum, so its product with the reciprocal is at most 2^31.
        let reciprocal = (1 &<< 31) / sum
        let dealt = (Self.one &>> 7) / max(experts.count, 1)
        for expert in 0..<Expert.count where weights[expert] != 0 {
            let weight = (weights[expert] &* reciprocal) &>> 15
            weights[expert] = weight &- weight &>> 7 &+ dealt
        }
    }

    /// The weighted median of the forecasts.
    func median(of series: Int) -> Int32 {
        let forecasts = forecasts.part(series, of: Expert.count), weights = weights.part(series, of: Expert.count)
        // Level in the upper part, expert in the lower three bits, in order.
        var order = InlineArray<7, Int32>(repeating: 0)
        var count = 0
        var sum: UInt32 = 0
        for expert in 0..<Expert.count where weights[expert] != 0 {
            let entry = (forecasts[expert] &<< 3) | Int32(truncatingIfNeeded: expert)
            var place = count
            while place > 0, order[unchecked: place &- 1] > entry {
                order[unchecked: place] = order[unchecked: place &- 1]
                place &-= 1
            }
            order[unchecked: place] = entry
            count &+= 1
            sum &+= weights[expert]
        }
        var below: UInt32 = 0
        for place in 0..<count {
            below &+= weights[Int(order[unchecked: place] & 7)]
            if below &* 2 >= sum { return order[unchecked: place] &>> 3 }
        }
        return 0
    }
}
