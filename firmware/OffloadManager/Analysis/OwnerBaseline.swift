/// What is normal for an owner: mean level and mean deviation of each metric, learned from its own intervals, and how far they can be
/// trusted.
///
/// It begins as a plain mean, so that the first intervals establish it, and then follows slowly; an interval that is not normal moves it
/// sixteen times more slowly still, so that an anomaly isn't learned as normal before it has lasted.
public struct OwnerBaseline: BitwiseCopyable, Sendable {
    /// Mean and mean absolute deviation of each metric's level, in 1/16 of a level.
    private var mean: (Int32, Int32, Int32) = (0, 0, 0)
    private var deviation: (Int32, Int32, Int32) = (0, 0, 0)
    /// Intervals learned from; stays at its maximum.
    private var count: UInt16 = 0
    /// What the host trusts its own report of the owner, in 1/1000.
    private var hintConfidence: UInt16 = 0
    /// Metrics that were not normal in the latest interval, a bit each.
    public private(set) var anomalies: UInt8 = 0

    /// Intervals after which the mean follows exponentially, with this weight.
    private static let memory: Int32 = 64
    /// Intervals without which nothing is called anomalous.
    private static let establishing: UInt16 = 16
    /// An anomaly is this many mean deviations off, and at least one octave.
    private static let deviations: Int32 = 5

    public init() {}

    public func mean(of metric: DemandMetric) -> Int32 { get(mean, metric) &>> 4 }
    public func deviation(of metric: DemandMetric) -> Int32 { get(deviation, metric) &>> 4 }

    /// In 1/1000: a half after 16 intervals of its own, or what the host says, whichever is more.
    public var confidence: UInt16 { max(UInt16(truncatingIfNeeded: UInt32(count) &* 1000 / (UInt32(count) &+ 16)), hintConfidence) }

    public var isEstablished: Bool { count >= Self.establishing }

    /// What the host has measured of the bytes in an interval, before there was an interval: it weighs as much as 16 intervals if the host
    /// is sure of it. Later reports only count for the confidence.
    public mutating func take(hint level: Int32, confidence permille: UInt16) {
        hintConfidence = min(permille, 1000)
        guard count == 0 else { return }
        (mean.1, mean.2) = (level &<< 4, level &<< 4)
        (deviation.1, deviation.2) = (Level.one &<< 4, Level.one &<< 4)
    }

    private var priorIntervals: Int32 { Int32(hintConfidence) / 63 }

    /// Learns an interval.
    /// - Returns: whether a metric was not normal; `anomalies` says which.
    @discardableResult public mutating func learn(_ levels: InlineArray<3, Int32>) -> Bool {
        anomalies = 0
        if count < .max { count &+= 1 }
        let own = min(Int32(count), Self.memory), withPrior = min(Int32(count) &+ priorIntervals, Self.memory)
        let isLearned = count > Self.establishing
        if !Self.learn(levels[0], &mean.0, &deviation.0, weight: own, isLearned) { anomalies |= 1 }
        if !Self.learn(levels[1], &mean.1, &deviation.1, weight: withPrior, isLearned) { anomalies |= 2 }
        if !Self.learn(levels[2], &mean.2, &deviation.2, weight: withPrior, isLearned) { anomalies |= 4 }
        return anomalies != 0
    }

    /// - Returns: whether the level was normal.
    private static func learn(
        _ level: Int32, _ mean: inout Int32, _ deviation: inout Int32, weight: Int32, _ isLearned: Bool
    ) -> Bool {
        let off = (level &<< 4) &- mean
        let distance = max(off, 0 &- off)
        let isNormal = !isLearned || distance <= max(deviation &* deviations, Level.one &<< 4)
        let divisor = isNormal ? weight : weight &* 16
        mean &+= off / divisor
        deviation &+= (distance &- deviation) / divisor
        return isNormal
    }

    private func get(_ values: (Int32, Int32, Int32), _ metric: DemandMetric) -> Int32 {
        switch metric {
        case .requests: values.0
        case .readBytes: values.1
        case .writtenBytes: values.2
        }
    }
}
