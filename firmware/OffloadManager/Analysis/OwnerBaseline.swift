/// What is normal for an owner: mean level and mean deviation of each metric, learned from its own intervals, and how far they can be
/// trusted.
///
/// It begins as a plain mean, so that the first intervals establish it, and then follows slowly.
public struct OwnerBaseline: BitwiseCopyable, Sendable {
    private var requests = NormalRange()
    private var readBytes = NormalRange()
    private var writtenBytes = NormalRange()
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

    public init() {}

    public func mean(of metric: DemandMetric) -> Int32 { range(of: metric).mean }
    public func deviation(of metric: DemandMetric) -> Int32 { range(of: metric).deviation }

    /// In 1/1000: a half after 16 intervals of its own, or what the host says, whichever is more.
    public var confidence: UInt16 { max(UInt16(truncatingIfNeeded: UInt32(count) &* 1000 / (UInt32(count) &+ 16)), hintConfidence) }

    public var isEstablished: Bool { count >= Self.establishing }

    /// What the host has measured of the bytes in an interval, before there was an interval: it weighs as much as 16 intervals if the host
    /// is sure of it. Later reports only count for the confidence.
    public mutating func take(hint level: Int32, confidence permille: UInt16) {
        hintConfidence = min(permille, 1000)
        guard count == 0 else { return }
        (readBytes, writtenBytes) = (NormalRange(around: level), NormalRange(around: level))
    }

    private var priorIntervals: Int32 { Int32(hintConfidence) / 63 }

    /// Learns an interval.
    /// - Returns: whether a metric was not normal; `anomalies` says which.
    @discardableResult public mutating func learn(_ levels: InlineArray<3, Int32>) -> Bool {
        anomalies = 0
        if count < .max { count &+= 1 }
        let own = min(Int32(count), Self.memory), withPrior = min(Int32(count) &+ priorIntervals, Self.memory)
        let isLearned = count > Self.establishing
        if !requests.learn(levels[0], weight: own, isJudged: isLearned) { anomalies |= 1 }
        if !readBytes.learn(levels[1], weight: withPrior, isJudged: isLearned) { anomalies |= 2 }
        if !writtenBytes.learn(levels[2], weight: withPrior, isJudged: isLearned) { anomalies |= 4 }
        return anomalies != 0
    }

    private func range(of metric: DemandMetric) -> NormalRange {
        switch metric {
        case .requests: requests
        case .readBytes: readBytes
        case .writtenBytes: writtenBytes
        }
    }
}
