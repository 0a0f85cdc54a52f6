/// The head of the analysis page; ``entries`` times ``AnalysisEntry`` follow.
public struct AnalysisHeader: WireLayout {
    public static let byteCount = 32

    public var layoutVersion: UInt16 = 1
    public var entryBytes: UInt16 = UInt16(AnalysisEntry.byteCount)
    public var firstOwner: UInt16 = 0
    public var entries: UInt16 = 0
    /// Microseconds in an interval.
    public var interval: UInt32 = 0
    /// Intervals since the firmware started.
    public var intervals: UInt32 = 0
    /// As ``Feature/predictors``.
    public var predictors: UInt32 = 0
    /// Intervals that the longer forecasts are about.
    public var longIntervals: UInt16 = 0
    /// How busy resources were in the latest interval, in 1/1000.
    public var coresPermille: UInt16 = 0
    public var linkToDevicePermille: UInt16 = 0
    public var linkToHostPermille: UInt16 = 0
    public var fabricPermille: UInt16 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        layoutVersion = bytes.number(0)
        entryBytes = bytes.number(2)
        firstOwner = bytes.number(4)
        entries = bytes.number(6)
        interval = bytes.number(8)
        intervals = bytes.number(12)
        predictors = bytes.number(16)
        longIntervals = bytes.number(20)
        coresPermille = bytes.number(22)
        linkToDevicePermille = bytes.number(24)
        linkToHostPermille = bytes.number(26)
        fabricPermille = bytes.number(28)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(layoutVersion, 0)
        bytes.put(entryBytes, 2)
        bytes.put(firstOwner, 4)
        bytes.put(entries, 6)
        bytes.put(interval, 8)
        bytes.put(intervals, 12)
        bytes.put(predictors, 16)
        bytes.put(longIntervals, 20)
        bytes.put(coresPermille, 22)
        bytes.put(linkToDevicePermille, 24)
        bytes.put(linkToHostPermille, 26)
        bytes.put(fabricPermille, 28)
        bytes.zero(30, count: 2)
    }
}

/// What is known of one metric of an owner. All are levels: log2(1 + amount / unit) in 1/2048, the unit being a request or 4 KiB.
public struct MetricAnalysis: WireLayout {
    public static let byteCount = 20

    /// In the latest interval.
    public var latest: UInt16 = 0
    /// Of the next interval: what is expected, and the ends of the range that holds it nine times in ten.
    public var expected: UInt16 = 0
    public var low: UInt16 = 0
    public var high: UInt16 = 0
    /// The same of the longer interval.
    public var longLatest: UInt16 = 0
    public var longExpected: UInt16 = 0
    public var longLow: UInt16 = 0
    public var longHigh: UInt16 = 0
    /// What is normal.
    public var mean: UInt16 = 0
    public var deviation: UInt16 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        latest = bytes.number(0)
        expected = bytes.number(2)
        low = bytes.number(4)
        high = bytes.number(6)
        longLatest = bytes.number(8)
        longExpected = bytes.number(10)
        longLow = bytes.number(12)
        longHigh = bytes.number(14)
        mean = bytes.number(16)
        deviation = bytes.number(18)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(latest, 0)
        bytes.put(expected, 2)
        bytes.put(low, 4)
        bytes.put(high, 6)
        bytes.put(longLatest, 8)
        bytes.put(longExpected, 10)
        bytes.put(longLow, 12)
        bytes.put(longHigh, 14)
        bytes.put(mean, 16)
        bytes.put(deviation, 18)
    }
}

/// What the host last reported of an owner's use, and what is normal of it. All are levels: log2(1 + figure) in 1/2048, in the order of
/// ``Baseline``: processor (1/1000), memory (KiB), network and block I/O (KiB per second), waiting for processor, memory, I/O (percent).
public struct ReportedUse: WireLayout {
    public static let byteCount = 32
    public static let figures = 7

    public var latest = InlineArray<7, UInt16>(repeating: 0)
    public var normal = InlineArray<7, UInt16>(repeating: 0)
    /// In what is normal, in 1/1000.
    public var confidencePermille: UInt16 = 0
    /// Figures of the latest report that were not normal, a bit each.
    public var anomalies: UInt8 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        for figure in 0..<Self.figures {
            latest[figure] = bytes.number(2 &* figure)
            normal[figure] = bytes.number(14 &+ 2 &* figure)
        }
        confidencePermille = bytes.number(28)
        anomalies = bytes.number(30)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        for figure in 0..<Self.figures {
            bytes.put(latest[figure], 2 &* figure)
            bytes.put(normal[figure], 14 &+ 2 &* figure)
        }
        bytes.put(confidencePermille, 28)
        bytes.put(anomalies, 30)
        bytes.zero(31, count: 1)
    }

    public static func == (a: Self, b: Self) -> Bool {
        for figure in 0..<figures where a.latest[figure] != b.latest[figure] || a.normal[figure] != b.normal[figure] { return false }
        return a.confidencePermille == b.confidencePermille && a.anomalies == b.anomalies
    }
}

/// What the firmware has found out about an owner.
public struct AnalysisEntry: WireLayout {
    public static let byteCount = 128

    public var owner: UInt8 = 0
    /// What holds the owner's requests up: 0 nothing, 1 service cores, 2 link to the device, 3 medium, 4 link to the host, 5 memory.
    public var bottleneck: UInt8 = 0
    /// 0 unknown, 1 sequential, 2 strided, 3 random.
    public var pattern: UInt8 = 0
    /// ``anomalous``, ``established``, ``ownShare``.
    public var flags: UInt8 = 0
    /// Where the requests' time went, in 1/1000: cores, link to the device, medium, link to the host.
    public var coresPermille: UInt16 = 0
    public var linkToDevicePermille: UInt16 = 0
    public var mediumPermille: UInt16 = 0
    public var linkToHostPermille: UInt16 = 0
    /// Requests in flight on average, in 1/256.
    public var depth: UInt32 = 0
    /// Of the bottleneck, in 1/1000.
    public var utilisationPermille: UInt16 = 0
    /// In the baseline, in 1/1000.
    public var confidencePermille: UInt16 = 0
    /// Intervals analysed, and those of them that were not normal (saturates).
    public var intervals: UInt32 = 0
    public var anomalies: UInt16 = 0
    /// Forecasts of requests that have been compared with what came, and those whose range didn't hold it.
    public var checked: UInt32 = 0
    public var missed: UInt32 = 0
    public var requests = MetricAnalysis()
    public var readBytes = MetricAnalysis()
    public var writtenBytes = MetricAnalysis()
    public var use = ReportedUse()

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        owner = bytes.number(0)
        bottleneck = bytes.number(1)
        pattern = bytes.number(2)
        flags = bytes.number(3)
        coresPermille = bytes.number(4)
        linkToDevicePermille = bytes.number(6)
        mediumPermille = bytes.number(8)
        linkToHostPermille = bytes.number(10)
        depth = bytes.number(12)
        utilisationPermille = bytes.number(16)
        confidencePermille = bytes.number(18)
        intervals = bytes.number(20)
        anomalies = bytes.number(24)
        checked = bytes.number(28)
        missed = bytes.number(32)
        requests = MetricAnalysis(decoding: bytes + 36)
        readBytes = MetricAnalysis(decoding: bytes + 56)
        writtenBytes = MetricAnalysis(decoding: bytes + 76)
        use = ReportedUse(decoding: bytes + 96)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(owner, 0)
        bytes.put(bottleneck, 1)
        bytes.put(pattern, 2)
        bytes.put(flags, 3)
        bytes.put(coresPermille, 4)
        bytes.put(linkToDevicePermille, 6)
        bytes.put(mediumPermille, 8)
        bytes.put(linkToHostPermille, 10)
        bytes.put(depth, 12)
        bytes.put(utilisationPermille, 16)
        bytes.put(confidencePermille, 18)
        bytes.put(intervals, 20)
        bytes.put(anomalies, 24)
        bytes.put(checked, 28)
        bytes.put(missed, 32)
        requests.encode(to: bytes + 36)
        readBytes.encode(to: bytes + 56)
        writtenBytes.encode(to: bytes + 76)
        use.encode(to: bytes + 96)
        bytes.zero(26, count: 2)
    }

    /// In ``flags``: the latest interval was not normal.
    public static let anomalous: UInt8 = 1
    /// In ``flags``: there are enough intervals for a baseline.
    public static let established: UInt8 = 2
    /// In ``flags``: the bottleneck has room; the owner's own share or limit binds.
    public static let ownShare: UInt8 = 4
    /// In ``flags``: the owner has a key, which was not given; nothing else is shown.
    public static let withheld: UInt8 = 8
}
