import PolicyEngine

/// What is forecast of an owner.
public enum DemandMetric: Int, CaseIterable, Sendable {
    /// Requests arrived: work for service cores.
    case requests
    /// Bytes read and bytes written: work for the link's two directions and for the medium.
    case readBytes, writtenBytes

    public static let count = 3
    /// log2 of the amount below which levels are proportional: a request, a page.
    public var unit: UInt32 { self == .requests ? 0 : 12 }
}

/// What an owner is expected to ask for in the next interval, in levels.
public struct Forecast: Equatable, BitwiseCopyable, Sendable {
    public var expected: Int32 = 0
    /// What it will be, nine times in ten.
    public var low: Int32 = 0
    public var high: Int32 = 0

    public init() {}
}

/// Forecasts every owner's demand, one interval ahead: seven experts for each metric, mixed by how right they have been lately, with an
/// interval around that holds nine of ten values.
///
/// Nothing is trained beforehand: all of it is learned from the owner's own past. It is pure and works on integers alone: the same calls
/// give the same forecasts. docs/analysis.md has what it achieves and costs.
public struct DemandPredictor: ~Copyable {
    struct SeriesState: BitwiseCopyable {
        /// Exponential averages: of 1/2, 1/8 and 1/64, in 1/16 of a level.
        var fast: Int32 = 0
        var slow: Int32 = 0
        var base: Int32 = 0
        var forecast = Forecast()
        /// Forecasts that have been compared with what came, and those whose interval didn't hold it; wrapping.
        var checked: UInt32 = 0
        var missed: UInt32 = 0
        /// Exponential average of the absolute error, of weight 1/32, in 1/16 of a level.
        var error: Int32 = 0
    }

    struct OwnerState: BitwiseCopyable {
        /// Place of the newest value in the rings.
        var head: Int32 = 0
        /// Values so far; stays at its maximum.
        var count: UInt32 = 0
    }

    private static let places = Analogues.places
    private static let long = 21

    public private(set) var experts = PredictorSet.all
    public let owners: Int
    private let ownerStates: Table<OwnerState>
    private let states: Table<SeriesState>
    private let histories: Table<UInt16>
    /// The latest values in order, of which the middle one is the long median.
    private let longWindows: Table<UInt16>
    private let analogues: Analogues
    private let autoRegression: AutoRegression
    private var mixture: Mixture
    private let errors: ErrorHistogram

    public init(owners: Int, in arena: inout Arena) {
        let series = owners &* DemandMetric.count
        self.owners = owners
        ownerStates = arena.table(of: owners, repeating: OwnerState())
        states = arena.table(of: series, repeating: SeriesState())
        histories = arena.table(of: series &* Self.places, repeating: 0)
        longWindows = arena.table(of: series &* Self.long, repeating: 0)
        analogues = Analogues(owners: owners, in: &arena)
        autoRegression = AutoRegression(series: series, in: &arena)
        mixture = Mixture(series: series, in: &arena)
        errors = ErrorHistogram(series: series, in: &arena)
    }

    // MARK: Results

    public func forecast(of owner: Int, _ metric: DemandMetric) -> Forecast { states[series(owner, metric)].forecast }

    /// The mean absolute error of late, in levels.
    public func error(of owner: Int, _ metric: DemandMetric) -> Int32 { states[series(owner, metric)].error &>> 4 }

    /// How many forecasts have been compared with what came, and how many of these intervals didn't hold it.
    public func record(of owner: Int, _ metric: DemandMetric) -> (checked: UInt32, missed: UInt32) {
        let state = states[series(owner, metric)]
        return (state.checked, state.missed)
    }

    /// How much an expert is trusted, in 1/65536.
    public func trust(in expert: Expert, of owner: Int, _ metric: DemandMetric) -> UInt32 {
        mixture.trust(in: expert, of: series(owner, metric))
    }

    /// An expert's own forecast, a level.
    public func forecast(of owner: Int, _ metric: DemandMetric, by expert: Expert) -> Int32 {
        mixture.forecasts(of: series(owner, metric))[expert]
    }

    @inline(__always) private func series(_ owner: Int, _ metric: DemandMetric) -> Int { owner &* DemandMetric.count &+ metric.rawValue }

    // MARK: Learning

    /// Chooses who has a say; all that are chosen begin with the same trust. With nobody, forecasts are the average of weight 1/8.
    public mutating func use(_ experts: PredictorSet) {
        guard experts != self.experts else { return }
        self.experts = experts
        mixture.use(experts)
        for series in 0..<owners &* DemandMetric.count { mixture.clear(series, experts, at: states[series].forecast.expected) }
    }

    /// Forgets an owner's past.
    public func forget(_ owner: Int) { ownerStates[owner] = OwnerState() }

    /// Takes in what an owner did in an interval, and forecasts the next.
    /// - Parameter levels: of the metrics in their order.
    public mutating func observe(_ levels: InlineArray<3, Int32>, of owner: Int) {
        var state = ownerStates[owner]
        if state.count == 0 {
            // As if it had always been so.
            for metric in 0..<DemandMetric.count { begin(owner &* DemandMetric.count &+ metric, at: levels[metric]) }
        }
        state.head = (state.head &- 1) & Int32(Self.places &- 1)
        let head = Int(state.head)
        var signal: Int32 = 0
        for metric in 0..<DemandMetric.count {
            let series = owner &* DemandMetric.count &+ metric
            if state.count != 0 { check(series, levels[metric]) }
            remember(series, levels[metric], head: head)
            signal &+= levels[metric] &>> 3
        }
        // Without analogues all lags are 1, which is the latest value.
        var lags = InlineArray<9, UInt32>(repeating: 1)
        if experts.contains(.analogues) { analogues.push(signal, at: head, of: owner, count: state.count, lags: &lags) }
        for metric in 0..<DemandMetric.count {
            predict(owner &* DemandMetric.count &+ metric, levels[metric], head: head, lags)
        }
        if state.count < .max { state.count &+= 1 }
        ownerStates[owner] = state
    }

    private func begin(_ series: Int, at level: Int32) {
        let value = UInt16(truncatingIfNeeded: level)
        var state = SeriesState()
        (state.fast, state.slow, state.base) = (level &<< 4, level &<< 4, level &<< 4)
        state.forecast.expected = level
        states[series] = state
        // As far back as others than analogues look: the first value's place is the last one.
        histories.part(series, of: Self.places).update(repeating: value, count: Self.long &+ 1)
        longWindows.part(series, of: Self.long).update(repeating: value, count: Self.long)
        autoRegression.clear(series)
        mixture.clear(series, experts, at: level)
        errors.clear(series)
    }

    /// Compares the forecast with what came.
    private mutating func check(_ series: Int, _ level: Int32) {
        let state = states.part(series, of: 1)
        let error = level &- state.pointee.forecast.expected
        let isInside = level >= state.pointee.forecast.low && level <= state.pointee.forecast.high
        state.pointee.checked &+= 1
        if !isInside { state.pointee.missed &+= 1 }
        state.pointee.error &+= ((max(error, 0 &- error) &<< 4) &- state.pointee.error) &>> 5
        errors.learn(series, error: error, isInside: isInside)
        mixture.learn(series, level)
        if experts.contains(.autoRegression) {
            autoRegression.learn(series, error: level &- mixture.forecasts(of: series)[.autoRegression])
        }
    }

    /// Puts a value into the history and the window.
    private func remember(_ series: Int, _ level: Int32, head: Int) {
        let history = histories.part(series, of: Self.places)
        let value = UInt16(truncatingIfNeeded: level)
        Self.replace(history[(head &+ Self.long) & (Self.places &- 1)], by: value, in: longWindows.part(series, of: Self.long))
        history[head] = value
    }

    /// Takes a value out of ordered ones, which it is one of, and puts another in.
    @inline(__always) private static func replace(_ old: UInt16, by new: UInt16, in window: UnsafeMutablePointer<UInt16>) {
        guard new != old else { return }
        var place = window
        while place.pointee != old { place += 1 }
        if new > old {
            let last = window + (long &- 1)
            while place != last, place[1] < new {
                place.pointee = place[1]
                place += 1
            }
        } else {
            while place != window, place[-1] > new {
                place.pointee = place[-1]
                place -= 1
            }
        }
        place.pointee = new
    }

    // Mutating, like `check`: otherwise they would be handed a copy of the predictor.
    private mutating func predict(_ series: Int, _ level: Int32, head: Int, _ lags: InlineArray<9, UInt32>) {
        let state = states.part(series, of: 1)
        let history = histories.part(series, of: Self.places)
        let fine = level &<< 4
        state.pointee.fast &+= (fine &- state.pointee.fast) &>> 1
        state.pointee.slow &+= (fine &- state.pointee.slow) &>> 3
        state.pointee.base &+= (fine &- state.pointee.base) &>> 6
        let slow = state.pointee.slow &>> 4
        let forecasts = mixture.forecasts(of: series)
        forecasts[.last] = level
        forecasts[.fastAverage] = state.pointee.fast &>> 4
        forecasts[.slowAverage] = slow
        forecasts[.shortMedian] = Self.shortMedian(of: history, head: head)
        forecasts[.longMedian] = Int32(longWindows.part(series, of: Self.long)[Self.long / 2])
        if experts.contains(.autoRegression) {
            let value = autoRegression.forecast(series, from: history, head: head, slow: state.pointee.base &>> 4, fast: slow)
            forecasts[.autoRegression] = min(max(value, 0), Level.highest)
        }
        forecasts[.analogues] = Self.median(of: history, at: lags, head: head)

        let expected = experts == .none ? slow : mixture.median(of: series)
        let bounds = errors.bounds(series)
        state.pointee.forecast.expected = expected
        state.pointee.forecast.low = max(expected &+ min(bounds.low, 0), 0)
        state.pointee.forecast.high = min(expected &+ max(bounds.high, 0), Level.highest)
    }

    /// The median of the latest values.
    @inline(__always) private static func shortMedian(of history: UnsafePointer<UInt16>, head: Int) -> Int32 {
        var values = InlineArray<5, UInt32>(repeating: 0)
        for lag in 0..<5 { values[unchecked: lag] = UInt32(history[(head &+ lag) & (places &- 1)]) }
        return Int32(bitPattern: values.takeMedian())
    }

    /// The median of what followed the chosen lags.
    @inline(__always) private static func median(
        of history: UnsafePointer<UInt16>, at lags: InlineArray<9, UInt32>, head: Int
    ) -> Int32 {
        var values = InlineArray<9, UInt32>(repeating: 0)
        for choice in 0..<Analogues.choices {
            values[unchecked: choice] = UInt32(history[(head &+ Int(lags[unchecked: choice]) &- 1) & (places &- 1)])
        }
        return Int32(bitPattern: values.takeMedian())
    }
}
