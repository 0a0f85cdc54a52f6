/// What is normal of one figure: mean and mean deviation of its level, learned from what has been seen of it.
///
/// An observation that is not normal moves it sixteen times more slowly, so that an anomaly isn't learned as normal before it has lasted.
public struct NormalRange: BitwiseCopyable, Sendable {
    /// In 1/16 of a level.
    private var sixteenths: Int32 = 0
    private var deviationSixteenths: Int32 = 0

    /// An anomaly is this many mean deviations off, and at least one octave.
    private static let deviations: Int32 = 5

    public init() {}

    /// What somebody says is normal, to within an octave.
    public init(around level: Int32) {
        (sixteenths, deviationSixteenths) = (level &<< 4, Level.one &<< 4)
    }

    public var mean: Int32 { sixteenths &>> 4 }
    public var deviation: Int32 { deviationSixteenths &>> 4 }

    /// Learns an observation.
    /// - Parameters:
    ///   - weight: of what has been seen, the observation included, in observations; 1 or more.
    ///   - isJudged: enough has been seen to tell what is not normal.
    /// - Returns: whether it was normal.
    mutating func learn(_ level: Int32, weight: Int32, isJudged: Bool) -> Bool {
        // The first of all says nothing of deviations.
        guard weight > 1 else {
            (sixteenths, deviationSixteenths) = (level &<< 4, 0)
            return true
        }
        let off = (level &<< 4) &- sixteenths
        let distance = max(off, 0 &- off)
        let isNormal = !isJudged || distance <= max(deviationSixteenths &* Self.deviations, Level.one &<< 4)
        let divisor = isNormal ? weight : weight &* 16
        sixteenths &+= off / divisor
        deviationSixteenths &+= (distance &- deviationSixteenths) / divisor
        return isNormal
    }
}
