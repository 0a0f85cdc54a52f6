/// What is known of one policy by experience. Utilities are in 1/65536.
public struct PolicyRecord: BitwiseCopyable, Equatable, Sendable {
    /// What it does better, measured, than the model predicts for it, beside what all policies do.
    public var advantage: Int32 = 0
    /// Epochs in which it was in force, in 1/256, the older the less.
    public var experience: UInt32 = 0
    /// In the latest epoch: what the model predicts of it, what is expected of it with what was learned, and that with what it
    /// would be worth to learn more.
    public var predicted: UInt32 = 0
    public var expected: UInt32 = 0
    public var score: UInt32 = 0
    /// It isn't chosen before this epoch.
    public var blockedUntil: UInt32 = 0
    /// Epochs for which it is blocked the next time: 4 << backoff.
    public var backoff: UInt8 = 0
    /// Epochs in a row in which an uploaded policy was found good in the shadow.
    public var proof: UInt8 = 0
    /// Epochs in force without trouble since `backoff` last changed.
    public var good: UInt16 = 0
    /// How often what it did was undone, or it had to give way to the fallback.
    public var failures: UInt32 = 0
}

/// Learns what each policy is worth beyond what the model predicts, and chooses: discounted UCB (Garivier, Moulines, ALT 2011) on the
/// difference between what was measured and what was predicted.
///
/// An epoch after a change of policy tells of the policy, one in which the same policy stayed tells of the load: the former moves the
/// policy's own advantage, the latter what is common to all. Nothing in it is random.
public struct PolicyLearner: BitwiseCopyable, Equatable, Sendable {
    /// How wrong predictions are for all policies alike. Positive: that part of what is predicted to be lost isn't, in 1/65536;
    /// negative: so much less than is predicted is reached. So an expectation never exceeds the best that there can be, and the order of
    /// the predictions stays.
    public var common: Int32 = 0
    /// How far off expectations are, on average.
    public var deviation: UInt32 = 0
    /// Epochs that were measured, at most `warmUp`.
    public var epochs: UInt32 = 0

    /// Epochs after which what was learned is worth something.
    static let warmUp: UInt32 = 4
    /// What it is worth to try a policy of which nothing is known, times the square root of the logarithm of all experience.
    static let curiosity: UInt32 = 256
    static let mostCommon: Int32 = 61_440
    /// What changing costs.
    static let inertia: UInt32 = 512
    /// Experience of an epoch; a 64th of what there is fades in each.
    static let epoch: UInt32 = 256

    public init() {}

    /// Takes in an epoch.
    /// - Parameters:
    ///   - record: of the policy that was in force.
    ///   - isNew: it has just come into force.
    mutating func learn(_ record: inout PolicyRecord, measured: UInt32, predicted: UInt32, isNew: Bool) {
        let error = Int32(bitPattern: measured) &- sum(record, predicted)
        if epochs < Self.warmUp {
            common &+= error / 2
            epochs &+= 1
        } else if isNew {
            record.advantage &+= error / 2
        } else {
            common &+= error / 4
            record.advantage &+= error / 16
        }
        deviation = deviation &- deviation >> 3 &+ error.magnitude >> 3
        common = min(max(common, -Int32(Utility.one)), Self.mostCommon)
        record.experience &+= Self.epoch
    }

    private func sum(_ record: PolicyRecord, _ predicted: UInt32) -> Int32 {
        let predicted = Int32(bitPattern: predicted), lost = Int32(Utility.one) &- predicted
        return predicted &+ record.advantage &+ (common < 0 ? common : ((lost >> 1) &* (common >> 1)) >> 14)
    }

    /// What is expected of a policy, or of an allocation that it made.
    func expected(_ record: PolicyRecord, predicted: UInt32) -> UInt32 {
        UInt32(min(max(sum(record, predicted), 0), Int32(Utility.one)))
    }

    /// Whether so little was measured that it can't be chance: less than a twentieth below what is expected of something else if the model
    /// says as well that it is worse, else no less than twice the usual deviation.
    /// - Parameter predictions: what the model says of what was measured, and of the other.
    func isWorse(_ measured: UInt32, than expected: UInt32, predictions: (UInt32, UInt32)) -> Bool {
        let tolerance = expected / 20
        let isPredicted = predictions.0 &+ predictions.1 / 20 < predictions.1
        return measured &+ (isPredicted ? tolerance : max(tolerance, deviation &* 2)) < expected
    }

    /// The bonus of a policy that isn't well known.
    public static func bonus(_ experience: UInt32, of all: UInt32) -> UInt32 {
        // log2(1 + all) in 1/256, linear between the powers of 2; over 1 + experience.
        let epochs = all &+ epoch
        let exponent = 31 &- UInt32(truncatingIfNeeded: epochs.leadingZeroBitCount)
        let logarithm = (exponent &- 8) << 8 &+ ((epochs &<< 8) &>> exponent) &- 256
        return (curiosity &* squareRoot((logarithm &<< 8) / max((experience &+ epoch) >> 8, 1))) >> 8
    }

    public static func squareRoot(_ value: UInt32) -> UInt32 {
        var root: UInt32 = 0
        var bit: UInt32 = 1 << 15
        while bit != 0 {
            let next = root | bit
            if next &* next <= value { root = next }
            bit >>= 1
        }
        return root
    }
}
