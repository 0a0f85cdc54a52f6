import Foundation
import OffloadManager
import PolicyEngine
import Simulation
import Testing

/// Forecasts against loads of known kind.
@Suite struct DemandPredictorTests {
    /// The memory of the one predictor that a test has.
    final class Memory {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 8)
        deinit { bytes.deallocate() }
    }

    let memory = Memory()

    func predictor(owners: Int = 1) -> DemandPredictor {
        var arena = Arena(memory.bytes)
        return DemandPredictor(owners: owners, in: &arena)
    }

    func levels(requests: UInt64, bytes: UInt64 = 0, written: UInt64 = 0) -> InlineArray<3, Int32> {
        [Level.of(requests), Level.of(bytes, unit: 12), Level.of(written, unit: 12)]
    }

    // MARK: Levels

    @Test(arguments: [0, 12] as [UInt32])
    func levelsAreLogarithms(unit: UInt32) {
        var random = SplitMix64(seed: 1)
        var worst = 0.0
        for _ in 0..<20_000 {
            let amount = random.next() >> (random.next() % 60 + 4)
            let exact = min(log2(1 + Double(amount) / exp2(Double(unit))), 65_535 / 2048)
            worst = max(worst, abs(Double(Level.of(amount, unit: unit)) / 2048 - exact))
        }
        #expect(worst < 0.0005, "octaves")
        #expect(Level.of(0, unit: unit) == 0)
        #expect(Level.of(.max, unit: 0) == Level.highest)
    }

    @Test(arguments: [0, 12] as [UInt32])
    func amountsComeBackFromLevels(unit: UInt32) {
        var random = SplitMix64(seed: 2)
        for _ in 0..<20_000 {
            let amount = random.next() >> (random.next() % 40 + 34)
            let back = Level.amount(Level.of(amount, unit: unit), unit: unit)
            let allowed = (Double(amount) + exp2(Double(unit))) / 1000 + 1
            #expect(abs(Double(back) - Double(amount)) <= allowed, "\(amount) came back as \(back)")
        }
        #expect(Level.amount(-1, unit: unit) == 0)
        #expect(Level.amount(Level.highest, unit: 20) == .max)
    }

    // MARK: Loads

    @Test func aConstantLoadIsForecastExactly() {
        var predictor = predictor()
        let level = Level.of(100)
        for _ in 0..<100 { predictor.observe(levels(requests: 100), of: 0) }
        let forecast = predictor.forecast(of: 0, .requests)
        #expect(forecast.expected == level)
        #expect(forecast.low >= level - Level.one / 2 && forecast.high <= level + Level.one / 2)
        #expect(predictor.error(of: 0, .requests) == 0)
        #expect(predictor.record(of: 0, .requests) == (99, 0))
    }

    /// What seven random amounts, over and over, are followed by is known to whoever remembers.
    @Test(arguments: [3, 7, 24, 100]) func aPeriodIsFound(period: Int) {
        var random = SplitMix64(seed: UInt64(period))
        let shape = (0..<period).map { _ in random.next() % 5000 }
        var predictor = predictor()
        var missed: Int32 = 0
        for step in 0..<600 {
            let next = levels(requests: shape[step % period])
            if step >= 500 { missed = max(missed, abs(predictor.forecast(of: 0, .requests).expected - next[0])) }
            predictor.observe(next, of: 0)
        }
        #expect(missed == 0, "period \(period)")
        #expect(predictor.trust(in: .analogues, of: 0, .requests) > 0x8000)
    }

    /// The interval holds nine of ten values, of loads that change their mean and their spread.
    @Test(arguments: 1...6) func theIntervalHoldsNineOfTen(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        func uniform() -> Double { Double(random.next() >> 11) / exp2(53) }
        var predictor = predictor()
        var (mean, spread) = (6.0, 1.0)
        for _ in 0..<4000 {
            if random.next() % 200 == 0 { (mean, spread) = (2 + 8 * uniform(), 0.2 + 2 * uniform()) }
            let noise = (0..<6).reduce(-3) { sum, _ in sum + uniform() } * spread
            predictor.observe(levels(requests: UInt64(exp2(max(mean + noise, 0)))), of: 0)
        }
        let (checked, missed) = predictor.record(of: 0, .requests)
        let inside = 100 - 100 * Double(missed) / Double(checked)
        #expect((87...93).contains(inside), "seed \(seed): \(inside) %")
    }

    /// A forecast is never much worse than its best expert's, on loads that suit different ones.
    @Test(arguments: 1...4) func theMixtureFollowsItsBestExpert(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var predictor = predictor()
        var mixed = 0.0
        var single = [Double](repeating: 0, count: Expert.count)
        var walk: Int64 = 500
        for step in 0..<3000 {
            walk = max(walk + Int64(random.next() % 41) - 20, 0)
            let amount = step / 500 % 2 == 0 ? UInt64(walk) : 50 + random.next() % 200
            let next = levels(requests: amount)
            if step > 0 {
                mixed += Double(abs(predictor.forecast(of: 0, .requests).expected - next[0]))
                for expert in Expert.allCases {
                    single[expert.rawValue] += Double(abs(predictor.forecast(of: 0, .requests, by: expert) - next[0]))
                }
            }
            predictor.observe(next, of: 0)
        }
        #expect(mixed <= single.min()! * 1.02, "seed \(seed): \(mixed), experts \(single)")
    }

    // MARK: Choice of experts

    /// The experts that look into the past, computed anew from all of it each time.
    @Test(arguments: 1...4) func mediansAndAnaloguesAreExact(seed: UInt64) {
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        var predictor = predictor()
        var values: [Int32] = []
        var distances = [Int](repeating: 0, count: 128)
        for step in 0..<400 {
            // Quiet spells, steps, and repeated values.
            let level = random.next() % 3 == 0 ? values.last ?? 0 : Int32(random.next() % (step % 100 < 50 ? 3000 : 50_000))
            let signals = (values + [level]).map { Int($0) / 8 }
            let known = min(values.count, 127)
            if values.count < 128 { distances[known] = 16 * 1024 }
            if known >= 9 {
                for lag in 1...known {
                    distances[lag] += min(abs(signals[step] - signals[step - lag]), 1024) - distances[lag] / 16
                }
            }
            values.append(level)
            predictor.observe([level, 0, 0], of: 0)

            // The first value counts as all before it.
            func median(_ count: Int) -> Int32 { (0..<count).map { values[max(step - $0, 0)] }.sorted()[count / 2] }
            #expect(predictor.forecast(of: 0, .requests, by: .shortMedian) == median(5))
            #expect(predictor.forecast(of: 0, .requests, by: .longMedian) == median(21))
            guard known >= 9 else { continue }
            let nearest = (1...known).sorted { (distances[$0], $0) < (distances[$1], $1) }.prefix(9)
            let followers = nearest.map { values[step + 1 - (distances[$0] <= 2 * distances[nearest[0]] ? $0 : nearest[0])] }
            #expect(predictor.forecast(of: 0, .requests, by: .analogues) == followers.sorted()[4], "step \(step)")
        }
    }

    @Test func expertsAreSwitchedOff() {
        var predictor = predictor()
        predictor.use(PredictorSet(.last))
        for amount in [10, 1000, 3] as [UInt64] {
            predictor.observe(levels(requests: amount), of: 0)
            #expect(predictor.forecast(of: 0, .requests).expected == Level.of(amount))
        }
        #expect(predictor.trust(in: .analogues, of: 0, .requests) == 0)
        predictor.use(.none)
        var average = Double(Level.of(10))
        for amount in [10, 1000, 3] as [UInt64] { average += (Double(Level.of(amount)) - average) / 8 }
        for amount in [7, 70, 700] as [UInt64] {
            average += (Double(Level.of(amount)) - average) / 8
            predictor.observe(levels(requests: amount), of: 0)
            #expect(abs(Double(predictor.forecast(of: 0, .requests).expected) - average) < 2)
        }
        predictor.use(.all)
        #expect(predictor.trust(in: .last, of: 0, .requests) == 0x1_0000 / 7)
        #expect(PredictorSet(bits: .max) == .all)
    }

    @Test func anOwnerIsForgotten() {
        var predictor = predictor(owners: 2)
        for owner in 0..<2 { for _ in 0..<50 { predictor.observe(levels(requests: 1000), of: owner) } }
        predictor.forget(1)
        for owner in 0..<2 { predictor.observe(levels(requests: 1), of: owner) }
        #expect(predictor.record(of: 0, .requests).checked == 50)
        #expect(predictor.record(of: 1, .requests).checked == 0)
        #expect(predictor.forecast(of: 0, .requests).expected > Level.of(100))
        #expect(predictor.forecast(of: 1, .requests).expected == Level.of(1))
    }

    // MARK: Bounds

    /// Whatever comes: no trap, and every forecast is a level within its interval.
    @Test(arguments: 1...4) func extremesAreForecastWithinBounds(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var predictor = predictor(owners: 3)
        for step in 0..<3000 {
            if step % 500 == 499 { predictor.use(PredictorSet(bits: UInt32(truncatingIfNeeded: random.next()))) }
            let owner = Int(random.next() % 3)
            let amounts = (0..<3).map { _ in random.next() % 3 == 0 ? 0 : random.next() >> (random.next() % 64) }
            predictor.observe(levels(requests: amounts[0], bytes: amounts[1], written: amounts[2]), of: owner)
            for metric in DemandMetric.allCases {
                let forecast = predictor.forecast(of: owner, metric)
                #expect(0 <= forecast.low && forecast.low <= forecast.expected && forecast.expected <= forecast.high)
                #expect(forecast.high <= Level.highest)
            }
        }
    }

    /// One owner's forecasts don't depend on what others do.
    @Test func ownersAreApart() {
        var random = SplitMix64(seed: 9)
        let load = (0..<400).map { _ in random.next() % 1000 }
        var alone = predictor()
        let expected = load.map { amount in
            alone.observe(levels(requests: amount, written: amount << 12), of: 0)
            return alone.forecast(of: 0, .writtenBytes)
        }
        var together = predictor(owners: 3)
        let found = load.map { amount in
            together.observe(levels(requests: random.next() >> 40), of: 0)
            together.observe(levels(requests: amount, written: amount << 12), of: 1)
            together.observe(levels(requests: random.next() >> 20, bytes: .max), of: 2)
            return together.forecast(of: 1, .writtenBytes)
        }
        #expect(found == expected)
    }
}
