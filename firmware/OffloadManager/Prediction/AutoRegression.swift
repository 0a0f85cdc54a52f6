import PolicyEngine

/// A linear forecast from the four latest values, learned as it goes by normalised least mean squares with the error's sign (Nagumo,
/// Noda: A learning method for system identification, 1967): one outlier moves it no more than any other error.
///
/// Values are taken as deviations from their slow average, in octaves/64.
struct AutoRegression {
    static let lags = 4
    /// The lags, a constant, and the fast average.
    static let inputs = 6
    /// Where a weight's one is.
    private static let weightShift: Int32 = 15
    private static let mostWeight: Int32 = 2 &<< weightShift
    private static let mostInput: Int32 = 16 &* 64

    private let weights: Table<Int32>
    /// The latest inputs, and the sum of their squares with a little more, so that it is never 0.
    private let values: Table<Int32>
    private let powers: Table<Int32>

    init(series: Int, in arena: inout Arena) {
        weights = arena.table(of: series &* Self.inputs, repeating: 0)
        values = arena.table(of: series &* Self.inputs, repeating: 0)
        powers = arena.table(of: series, repeating: 1)
    }

    func clear(_ series: Int) {
        let weights = weights.part(series, of: Self.inputs)
        weights.update(repeating: 0, count: Self.inputs)
        // It begins as a slow average with some of the latest value.
        weights[0] = 3 &* (1 &<< Self.weightShift) / 10
        values.part(series, of: Self.inputs).update(repeating: 0, count: Self.inputs)
        powers[series] = 1
    }

    /// - Parameters:
    ///   - history: levels, the newest at `head`, the one before at the next higher place modulo the analogues' places.
    ///   - slow: the slow average.
    ///   - fast: the fast average.
    /// - Returns: a level, perhaps below 0 or above the highest.
    func forecast(_ series: Int, from history: UnsafePointer<UInt16>, head: Int, slow: Int32, fast: Int32) -> Int32 {
        let weights = weights.part(series, of: Self.inputs), values = values.part(series, of: Self.inputs)
        var sum: Int32 = 0, power: Int32 = 64 &* 64
        @inline(__always) func take(_ value: Int32, _ place: Int) {
            values[place] = value
            sum &+= weights[place] &* value
            power &+= value &* value
        }
        for lag in 0..<Self.lags { take(Self.input(Int32(history[(head &+ lag) & (Analogues.places &- 1)]) &- slow), lag) }
        take(64, Self.lags)
        take(Self.input(fast &- slow), Self.lags &+ 1)
        powers[series] = power
        // Octaves/64 and the weight's shift, to octaves/2048.
        return slow &+ (sum &>> (Self.weightShift &+ 6 &- 11))
    }

    /// Learns from what the latest forecast missed.
    func learn(_ series: Int, error: Int32) {
        let weights = weights.part(series, of: Self.inputs), values = values.part(series, of: Self.inputs)
        // The error's sign, linear within half an octave so that it comes to rest; 1/1024.
        let pull = min(max(error, -1024), 1024)
        // pull / 1024 * step / power, in weights per 2^13 of input: a step of 1/16.
        let gain = (pull &<< 20) / powers[series]
        for place in 0..<Self.inputs {
            let weight = weights[place] &+ ((values[place] &* gain &+ 0x1000) &>> 13)
            weights[place] = min(max(weight, -Self.mostWeight), Self.mostWeight)
        }
    }

    @inline(__always) private static func input(_ deviation: Int32) -> Int32 { min(max(deviation &>> 5, -mostInput), mostInput) }
}
