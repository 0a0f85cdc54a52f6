// E1: how well the firmware forecasts demand, on a recorded virtual machine. It runs the very code of the firmware, built for this machine.
import Foundation
import OffloadManager
import PolicyEngine
import RecordedTrace

/// Forecasts of one series, by the interval that they are for.
struct Row {
    var name: String
    var levels: [Double]
    /// Of those that have one.
    var bounds: [(low: Double, high: Double)] = []
}

/// Mean |log2(1 + y) - log2(1 + f)| over some intervals.
func error(_ row: Row, _ truth: [Double], _ intervals: [Int]) -> Double {
    intervals.reduce(0) { $0 + abs(truth[$1] - row.levels[$1]) } / Double(max(intervals.count, 1))
}

/// The firmware's forecasts of requests and of written bytes.
func firmware(_ name: String, _ counts: [[UInt64]], _ experts: PredictorSet) -> [Row] {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 8)
    defer { memory.deallocate() }
    var arena = Arena(memory)
    var predictor = DemandPredictor(owners: 1, in: &arena)
    predictor.use(experts)
    var rows = [Row(name: name, levels: []), Row(name: name, levels: [])]
    for count in counts {
        for (index, metric) in [DemandMetric.requests, .writtenBytes].enumerated() {
            let forecast = predictor.forecast(of: 0, metric)
            rows[index].levels.append(Double(forecast.expected) / 2048)
            rows[index].bounds.append((Double(forecast.low) / 2048, Double(forecast.high) / 2048))
        }
        var levels = InlineArray<3, Int32>(repeating: 0)
        for metric in DemandMetric.allCases { levels[metric.rawValue] = Level.of(count[metric.rawValue], unit: metric.unit) }
        predictor.observe(levels, of: 0)
    }
    return rows
}

func float(_ counts: [[UInt64]]) -> [Row] {
    var predictor = FloatPredictor(series: DemandMetric.count)
    var rows = [Row(name: "all, in floating point", levels: [0]), Row(name: "all, in floating point", levels: [0])]
    for count in counts.dropLast() {
        let forecast = predictor.observe(DemandMetric.allCases.map { exactLevel(count[$0.rawValue], $0) })
        rows[0].levels.append(forecast[0])
        rows[1].levels.append(forecast[2])
    }
    return rows
}

func exactLevel(_ count: UInt64, _ metric: DemandMetric) -> Double { log2(1 + Double(count) / Double(UInt64(1) << metric.unit)) }

func report(_ trace: RecordedTrace, every seconds: UInt64) {
    let counts = trace.counted(every: seconds)
    let six = PredictorSet(bits: PredictorSet.all.bits & ~PredictorSet(.analogues).bits)
    let sets: [(String, PredictorSet)] = [
        ("predictors off", .none), ("six experts, no analogues", six), ("analogues alone", PredictorSet(.analogues)),
        ("all, the firmware's default", .all),
    ]
    let runs = sets.map { firmware($0.0, counts, $0.1) } + [float(counts)]
    for (index, metric) in [DemandMetric.requests, .writtenBytes].enumerated() {
        let truth = counts.map { exactLevel($0[metric.rawValue], metric) }
        let scored = Array(counts.count / 2..<counts.count)
        let sizes = scored.map { counts[$0][metric.rawValue] }.sorted()
        let quiet = scored.filter { counts[$0][metric.rawValue] <= 4 * max(sizes[sizes.count / 2], 1) }
        let train = truth.prefix(counts.count / 2).sorted()
        let rows = [
            Row(name: "constant: the first half's median", levels: Array(repeating: train[train.count / 2], count: truth.count)),
            Row(name: "last value", levels: [0] + truth.dropLast()),
        ] + runs.map { $0[index] }

        let name = metric == .requests ? "requests" : "written bytes"
        print("\n\(name) in \(seconds) s: \(scored.count) intervals, \(quiet.count) of them quiet")
        print("  predictor                            LMAE   quiet  inside  width")
        for row in rows {
            let name = row.name.padding(toLength: 34, withPad: " ", startingAt: 0)
            var line = String(format: "  %@ %6.3f  %6.3f", name, error(row, truth, scored), error(row, truth, quiet))
            if !row.bounds.isEmpty {
                let inside = scored.filter { truth[$0] >= row.bounds[$0].low - 0.001 && truth[$0] <= row.bounds[$0].high + 0.001 }
                let width = scored.reduce(0) { $0 + row.bounds[$1].high - row.bounds[$1].low } / Double(scored.count)
                line += String(format: "  %4.1f %%  %5.2f", 100 * Double(inside.count) / Double(scored.count), width)
            }
            print(line)
        }
        let (integer, reference) = (error(rows[5], truth, scored), error(rows[6], truth, scored))
        print(String(format: "  integers cost %+.1f %%", 100 * (integer / reference - 1)))
    }
}

guard CommandLine.arguments.count == 2 else {
    FileHandle.standardError.write(Data("usage: demand-forecast TRACE.vscsi\n".utf8))
    exit(64)
}
do {
    let trace = try RecordedTrace(contentsOf: CommandLine.arguments[1])
    print("One VM, two hours, one repeated burst: \(trace.requests.count) requests. Scored on the second half; LMAE is the mean of")
    print("|log2((1+y)/(1+f))|, width the interval's, in octaves; quiet are intervals of at most four times the median.")
    report(trace, every: 1)
    report(trace, every: 10)
} catch {
    FileHandle.standardError.write(Data("demand-forecast: \(error)\n".utf8))
    exit(1)
}
