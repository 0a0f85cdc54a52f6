import AdminProtocol
import Hardware
import PolicyEngine

/// Analyses what every owner does, interval by interval: what it asks for and will ask for, what is normal for it, what holds it up.
///
/// An interval is a fixed number of windows. Owners are analysed one in a window, so that no window costs much more than another; each
/// owner's own interval ends when its turn comes. A second series of forecasts looks ten intervals ahead.
public struct WorkloadAnalysis: ~Copyable {
    public static let owners = 65
    /// Intervals that the longer forecasts are about.
    public static let longIntervals: UInt32 = 10
    /// Windows in an interval: enough for a turn of every owner.
    public static let windowRange: ClosedRange<UInt32> = 100...100_000
    /// Forecasts of an owner that must have been compared with what came before anything is decided by them.
    private static let fewestForecasts: UInt32 = 8
    /// Intervals without a request after which an owner is forgotten.
    private static let mostIdleIntervals: UInt16 = 200

    /// What is known of an owner.
    public struct Report: BitwiseCopyable {
        public var bottleneck = BindingResource.none.rawValue
        public var pattern = AccessPattern.unknown.rawValue
        public var isOwnShare = false
        public var shares: (UInt16, UInt16, UInt16, UInt16) = (0, 0, 0, 0)
        public var depth: UInt32 = 0
        public var utilisation: UInt16 = 0
        /// Intervals with an anomaly.
        public var anomalies: UInt16 = 0
        /// Levels of the latest interval, and of the latest ten.
        public var latest: (Int32, Int32, Int32) = (0, 0, 0)
        public var latestLong: (Int32, Int32, Int32) = (0, 0, 0)
        public var intervals: UInt32 = 0
    }

    struct OwnerState: BitwiseCopyable {
        /// Totals have been read at least once; those of the last time follow.
        var isKnown = false
        var idle: UInt16 = 0
        var requests: UInt64 = 0
        var readBytes: UInt64 = 0
        var writtenBytes: UInt64 = 0
        var stages: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        var sequential: UInt64 = 0
        var runs: UInt64 = 0
        var strided: UInt64 = 0
        var end: UInt64 = 0
        /// Sums since the last of the longer intervals.
        var longRequests: UInt64 = 0
        var longReadBytes: UInt64 = 0
        var longWrittenBytes: UInt64 = 0
    }

    private let analyzer: WA
    private let states: Table<OwnerState>
    private let reports: Table<Report>
    private let baselines: Table<OwnerBaseline>
    private let reported: Table<ReportedBaseline>
    /// Forecasts of the next interval, and of the next ten.
    public private(set) var next: DemandPredictor
    public private(set) var nextLong: DemandPredictor

    /// Windows in an interval.
    public private(set) var windows: UInt32 = 1000
    private var windowsToInterval: UInt32 = 1000
    /// Intervals that have ended.
    public private(set) var intervals: UInt32 = 0
    /// Owners that have ever done anything and aren't forgotten, and those of them whose turn is still to come: for an interval, and for
    /// a longer one.
    public private(set) var members = OwnerSet()
    private var due = OwnerSet()
    private var dueLong = OwnerSet()
    /// Utilisation of cores, link to the device, link to the host and fabric in the latest interval, in 1/1000.
    public private(set) var utilisation = InlineArray<4, UInt16>(repeating: 0)
    private var busyMarks = InlineArray<4, UInt64>(repeating: 0)
    private var intervalStart: UInt64 = 0
    private var forecastCycles: UInt32 = 0

    public init(_ analyzer: WA, in arena: inout Arena) {
        self.analyzer = analyzer
        states = arena.table(of: Self.owners, repeating: OwnerState())
        reports = arena.table(of: Self.owners, repeating: Report())
        baselines = arena.table(of: Self.owners, repeating: OwnerBaseline())
        reported = arena.table(of: Self.owners, repeating: ReportedBaseline())
        next = DemandPredictor(owners: Self.owners, in: &arena)
        nextLong = DemandPredictor(owners: Self.owners, in: &arena)
    }

    // MARK: Results

    public func report(of owner: Int) -> Report { reports[owner] }
    public func baseline(of owner: Int) -> OwnerBaseline { baselines[owner] }
    public func reportedBaseline(of owner: Int) -> ReportedBaseline { reported[owner] }

    /// What the policies are told of an owner's next interval: nothing while the predictors are off or know too little of it.
    public func forecast(of owner: Int) -> DemandForecast {
        guard next.experts != .none, next.record(of: owner, .requests).checked >= Self.fewestForecasts else { return DemandForecast() }
        let requests = next.forecast(of: owner, .requests), latest = reports[owner].latest.0
        let read = next.forecast(of: owner, .readBytes), written = next.forecast(of: owner, .writtenBytes)
        func bytes(_ read: Int32, _ written: Int32) -> UInt32 {
            let unit = DemandMetric.readBytes.unit
            let sum = Level.amount(read, unit: unit) &+ Level.amount(written, unit: unit)
            // One 32-bit division: kilobytes are fine enough for sums that don't fit.
            return sum >> 32 == 0 ? UInt32(sum) / windows : UInt32(clamping: sum >> 10) / windows &<< 10
        }
        func factor(_ level: Int32) -> UInt32 {
            let change = max(min(level &- latest, 4 &* Level.one), -4 &* Level.one)
            // 2^(change + 8), at most 2^12.
            return UInt32(truncatingIfNeeded: Level.amount(change &+ 8 &* Level.one)) &+ 1
        }
        return DemandForecast(
            bytes: bytes(read.expected, written.expected), bytesHigh: bytes(read.high, written.high), load: factor(requests.expected),
            loadHigh: factor(requests.high))
    }

    /// Cycles that forecasts of the next interval have taken since the last call.
    public mutating func takeForecastCycles() -> UInt32 {
        defer { forecastCycles = 0 }
        return forecastCycles
    }

    /// All owners have had their turn for the latest interval.
    public var isCaughtUp: Bool { due.isEmpty }

    // MARK: Settings

    /// - Parameter count: windows in an interval, one of `windowRange`. Forecasts of intervals of another length are forgotten.
    public mutating func setWindows(_ count: UInt32) {
        guard count != windows else { return }
        windows = count
        windowsToInterval = count
        var rest = members
        while let owner = rest.popFirst() { forget(owner) }
    }

    public mutating func use(_ experts: PredictorSet) {
        next.use(experts)
        nextLong.use(experts)
    }

    /// Takes what the host has measured of an owner, of which its block I/O is the first word about the owner's own baseline.
    public func take(_ report: Baseline, of owner: Int, intervalMicroseconds: UInt32) {
        reported[owner].learn(report)
        // 1024 / 1,000,000 bytes, half of them in each direction.
        let bytes = UInt64(report.blockKiBPerSecond) &* UInt64(intervalMicroseconds) / 1953
        baselines[owner].take(
            hint: Level.of(bytes, unit: DemandMetric.readBytes.unit), confidence: UInt16(truncatingIfNeeded: report.confidencePermille))
    }

    private mutating func forget(_ owner: Int) {
        members.remove(owner)
        due.remove(owner)
        dueLong.remove(owner)
        states[owner] = OwnerState()
        reports[owner] = Report()
        baselines[owner] = OwnerBaseline()
        next.forget(owner)
        nextLong.forget(owner)
    }

    // MARK: Windows

    /// Ends a window.
    /// - Parameters:
    ///   - active: who was active in it.
    ///   - isBusy: the window has been dear already; whose turn it is waits for the next one.
    /// - Returns: the owner that was analysed, if one was.
    @discardableResult public mutating func endWindow(active: OwnerSet, isBusy: Bool, grantedPages: (Int) -> UInt32) -> Int? {
        members = members.union(active)
        windowsToInterval &-= 1
        if windowsToInterval == 0 {
            windowsToInterval = windows
            intervals &+= 1
            due = due.union(members)
            measureUtilisation()
            return nil
        }
        guard !isBusy else { return nil }
        if let owner = due.popFirst() {
            analyse(owner, grantedPages: grantedPages(owner))
            return owner
        }
        if let owner = dueLong.popFirst() { forecastLong(owner) }
        return nil
    }

    private mutating func measureUtilisation() {
        let end = analyzer.windowEnd.rawValue
        let cycles = end &- intervalStart
        intervalStart = end
        for resource in 0..<4 {
            let registers = analyzer.resource[resource]
            let total = registers.busyTotal.cycles
            let share = Bottleneck.ratio(total &- busyMarks[resource], cycles &* UInt64(registers.units.count), of: 1000)
            utilisation[resource] = UInt16(clamping: share)
            busyMarks[resource] = total
        }
    }

    // MARK: An owner's turn

    private mutating func analyse(_ owner: Int, grantedPages: UInt32) {
        let before = states[owner]
        var now = read(owner)
        guard before.isKnown else {
            states[owner] = now
            return
        }
        var interval = OwnerInterval()
        interval.cycles = now.end &- before.end
        interval.requests = UInt32(truncatingIfNeeded: now.requests &- before.requests)
        interval.readBytes = now.readBytes &- before.readBytes
        interval.writtenBytes = now.writtenBytes &- before.writtenBytes
        interval.stages[0] = now.stages.0 &- before.stages.0
        interval.stages[1] = now.stages.1 &- before.stages.1
        interval.stages[2] = now.stages.2 &- before.stages.2
        interval.stages[3] = now.stages.3 &- before.stages.3
        interval.sequential = UInt32(truncatingIfNeeded: now.sequential &- before.sequential)
        interval.runs = UInt32(truncatingIfNeeded: now.runs &- before.runs)
        interval.strided = UInt32(truncatingIfNeeded: now.strided &- before.strided)
        interval.grantedPages = grantedPages
        if grantedPages != 0 { interval.touchedPages = touchedPages(owner) }
        now.idle = interval.requests == 0 ? before.idle &+ 1 : 0
        now.longRequests = before.longRequests &+ UInt64(interval.requests)
        now.longReadBytes = before.longReadBytes &+ interval.readBytes
        now.longWrittenBytes = before.longWrittenBytes &+ interval.writtenBytes
        states[owner] = now
        guard now.idle < Self.mostIdleIntervals else { return forget(owner) }

        let levels = Self.levels(UInt64(interval.requests), interval.readBytes, interval.writtenBytes)
        let isAnomalous = baselines[owner].learn(levels)
        let start = Hart.cycle
        next.observe(levels, of: owner)
        forecastCycles &+= Hart.cycle &- start
        let found = Bottleneck(interval, utilisation: [utilisation[0], utilisation[1], utilisation[2]])
        var report = reports[owner]
        report.bottleneck = found.resource.rawValue
        report.pattern = found.pattern.rawValue
        report.isOwnShare = found.isOwnShare
        report.shares = (found.shares[0], found.shares[1], found.shares[2], found.shares[3])
        report.depth = found.depth
        report.utilisation = found.utilisation
        if isAnomalous, report.anomalies < .max { report.anomalies &+= 1 }
        report.latest = (levels[0], levels[1], levels[2])
        report.intervals &+= 1
        reports[owner] = report
        if report.intervals % Self.longIntervals == 0 { dueLong.insert(owner) }
    }

    private mutating func forecastLong(_ owner: Int) {
        let state = states[owner]
        let levels = Self.levels(state.longRequests, state.longReadBytes, state.longWrittenBytes)
        nextLong.observe(levels, of: owner)
        reports[owner].latestLong = (levels[0], levels[1], levels[2])
        (states[owner].longRequests, states[owner].longReadBytes, states[owner].longWrittenBytes) = (0, 0, 0)
    }

    private static func levels(_ requests: UInt64, _ readBytes: UInt64, _ writtenBytes: UInt64) -> InlineArray<3, Int32> {
        [
            Level.of(requests, unit: DemandMetric.requests.unit), Level.of(readBytes, unit: DemandMetric.readBytes.unit),
            Level.of(writtenBytes, unit: DemandMetric.writtenBytes.unit),
        ]
    }

    /// The most pages of its memory that the device wrote in one of the latest eight windows.
    private func touchedPages(_ owner: Int) -> UInt32 {
        var most: UInt32 = 0
        for age in 1...8 as ClosedRange<UInt32> {
            analyzer.select = .init(owner: UInt32(truncatingIfNeeded: owner), queue: 255, age: age)
            most = max(most, UInt32(clamping: analyzer.detail.dirtyPages.count))
        }
        return most
    }

    /// The owner's totals up to the latest latch.
    private func read(_ owner: Int) -> OwnerState {
        analyzer.select = .init(owner: UInt32(truncatingIfNeeded: owner), queue: 255, age: 0)
        let totals = analyzer.detail
        var state = OwnerState()
        state.isKnown = true
        let (reads, writes) = (totals.requests[0].count, totals.requests[1].count)
        state.requests = reads &+ writes &+ totals.requests[2].count &+ totals.requests[3].count &+ totals.requests[4].count
        state.readBytes = totals.bytes[0].count
        state.writtenBytes = totals.bytes[1].count
        state.stages = (totals.stage[0].cycles, totals.stage[1].cycles, totals.stage[2].cycles, totals.stage[3].cycles)
        state.sequential = totals.sequential.count
        state.runs = totals.runs.count
        state.strided = totals.strided.count
        state.end = analyzer.windowEnd.rawValue
        return state
    }
}
