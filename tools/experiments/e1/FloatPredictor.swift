import Foundation

/// The firmware's predictor again, in floating point and with nothing shared: what integers may cost is measured against it.
/// firmware/OffloadManager/Prediction explains each part.
struct FloatPredictor {
    private var series: [FloatSeries]
    private var signals: [Double] = []
    private var distances = [Double](repeating: 64, count: 128)

    init(series count: Int) { series = Array(repeating: FloatSeries(), count: count) }

    /// - Parameter levels: log2(1 + amount / unit) of each series.
    /// - Returns: the levels that are forecast for the next interval.
    mutating func observe(_ levels: [Double]) -> [Double] {
        for index in series.indices { series[index].learn(levels[index]) }
        return zip(series.indices, push(levels)).map { series[$0].forecast($1) }
    }

    /// The values that followed the nine lags of least distance, for each series; the latest value while there are too few.
    private mutating func push(_ levels: [Double]) -> [[Double]] {
        let signal = levels.reduce(0, +)
        let known = min(signals.count, 127)
        guard known >= 9 else {
            signals.append(signal)
            return levels.map { [$0] }
        }
        for lag in 1...known {
            distances[lag] += min(abs(signal - signals[signals.count - lag]), 4) - distances[lag] / 16
        }
        signals.append(signal)
        let lags = (1...known).sorted { (distances[$0], $0) < (distances[$1], $1) }.prefix(9)
        let farthest = 2 * distances[lags[0]]
        let kept = lags.map { distances[$0] <= farthest ? $0 : lags[0] }
        return series.map { series in kept.map { series.values[series.values.count - $0] } }
    }
}

/// One metric's experts and their mixture.
struct FloatSeries {
    private(set) var values: [Double] = []
    private var (fast, slow, base) = (0.0, 0.0, 0.0)
    private var coefficients = [0.3] + [Double](repeating: 0, count: 5)
    private var inputs = [Double](repeating: 0, count: 10)
    private var forecasts = [Double](repeating: 0, count: 7)
    private var weights = [Double](repeating: 1 / 7, count: 7)

    mutating func learn(_ level: Double) {
        defer { values.append(level) }
        guard !values.isEmpty else {
            (fast, slow, base) = (level, level, level)
            values = Array(repeating: level, count: 255)
            forecasts = Array(repeating: level, count: 7)
            return
        }
        let pull = min(max((level - forecasts[5]) * 2, -1), 1)
        let power = 1 + inputs.reduce(0) { $0 + $1 * $1 }
        for place in coefficients.indices {
            coefficients[place] = min(max(coefficients[place] + pull * inputs[place] / power / 16, -2), 2)
        }
        for expert in weights.indices { weights[expert] *= exp(-0.3 * min(abs(level - forecasts[expert]), 8)) }
        let sum = weights.reduce(0, +)
        for expert in weights.indices { weights[expert] = weights[expert] / sum * (127 / 128) + 1 / 128 / 7 }
    }

    mutating func forecast(_ followers: [Double]) -> Double {
        let level = values[values.count - 1]
        fast += (level - fast) / 2
        slow += (level - slow) / 8
        base += (level - base) / 64
        for lag in 0..<4 { inputs[lag] = min(max(values[values.count - 1 - lag] - base, -16), 16) }
        inputs[4] = 1
        inputs[5] = slow - base
        let linear = base + zip(coefficients, inputs).reduce(0) { $0 + $1.0 * $1.1 }
        forecasts = [
            level, fast, slow, Self.median(values.suffix(5)), Self.median(values.suffix(21)), min(max(linear, 0), 32),
            Self.median(followers),
        ]
        var below = 0.0
        for expert in forecasts.indices.sorted(by: { (forecasts[$0], $0) < (forecasts[$1], $1) }) {
            below += weights[expert]
            if below >= 0.5 { return forecasts[expert] }
        }
        return forecasts[0]
    }

    private static func median<Values: Collection<Double>>(_ values: Values) -> Double { values.sorted()[values.count / 2] }
}
