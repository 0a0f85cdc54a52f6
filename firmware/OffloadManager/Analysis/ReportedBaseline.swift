import AdminProtocol

/// What is normal of the use that the host reports: of itself, as it measures it in /proc, or of a virtual machine. A report counts as
/// much as the host trusts it.
public struct ReportedBaseline: BitwiseCopyable, Sendable {
    private var ranges = InlineArray<7, NormalRange>(repeating: NormalRange())
    private var latest = InlineArray<7, UInt16>(repeating: 0)
    /// Sum of the reports' confidences, in 1/1000; stays at its maximum.
    private var trust: UInt32 = 0
    /// Figures that were not normal in the latest report, a bit each.
    public private(set) var anomalies: UInt8 = 0

    /// Reports of full confidence after which the mean follows exponentially, and without which nothing is called anomalous.
    private static let memory: Int32 = 64
    private static let establishing: UInt32 = 16
    private static let mostTrust: UInt32 = 1_000_000
    /// Reports that are trusted less are learned from, not judged.
    private static let judged: UInt32 = 500

    public init() {}

    /// In 1/1000: a half after 16 reports of full confidence.
    public var confidence: UInt16 { UInt16(truncatingIfNeeded: trust &* 1000 / (trust &+ Self.establishing &* 1000)) }
    public var isEstablished: Bool { trust >= Self.establishing &* 1000 }

    /// Learns a report.
    /// - Returns: whether a figure was not normal; `anomalies` says which.
    @discardableResult public mutating func learn(_ report: Baseline) -> Bool {
        let confidence = min(report.confidencePermille, 1000)
        anomalies = 0
        guard confidence != 0 else { return false }
        let isJudged = isEstablished && confidence >= Self.judged
        trust = min(trust &+ confidence, Self.mostTrust)
        // The first report is what is normal; from then on one of confidence c moves it by c of what a report of full confidence would.
        let seen = min(Int32(truncatingIfNeeded: trust), Self.memory &* 1000)
        let weight = max(seen / Int32(truncatingIfNeeded: confidence), 1)
        let levels: InlineArray<7, Int32> = [
            Level.of(UInt64(report.processorPermille)), Level.of(UInt64(report.memoryKiB)), Level.of(UInt64(report.networkKiBPerSecond)),
            Level.of(UInt64(report.blockKiBPerSecond)), Level.of(UInt64(report.processorPressure)),
            Level.of(UInt64(report.memoryPressure)), Level.of(UInt64(report.ioPressure)),
        ]
        for figure in 0..<ReportedUse.figures {
            let isNormal = ranges[figure].learn(levels[figure], weight: weight, isJudged: isJudged)
            if !isNormal { anomalies |= 1 &<< UInt8(truncatingIfNeeded: figure) }
            latest[figure] = UInt16(truncatingIfNeeded: levels[figure])
        }
        return anomalies != 0
    }

    public var report: ReportedUse {
        var report = ReportedUse()
        report.latest = latest
        for figure in 0..<ReportedUse.figures { report.normal[figure] = UInt16(truncatingIfNeeded: ranges[figure].mean) }
        report.confidencePermille = confidence
        report.anomalies = anomalies
        return report
    }
}
