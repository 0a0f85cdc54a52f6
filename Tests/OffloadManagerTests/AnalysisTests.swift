import AdminProtocol
import OffloadManager
import Simulation
import Testing

/// What binds an owner, from what hardware counts.
@Suite struct BottleneckTests {
    func interval(_ stages: [UInt64], cycles: UInt64 = 1_000_000) -> OwnerInterval {
        var interval = OwnerInterval()
        interval.cycles = cycles
        interval.requests = 100
        for stage in 0..<4 { interval.stages[stage] = stages[stage] }
        return interval
    }

    @Test(arguments: [
        ([9, 1, 0, 0], .cores), ([1, 9, 0, 0], .linkToDevice), ([1, 2, 9, 0], .medium), ([1, 2, 3, 9], .linkToHost),
    ] as [([UInt64], BindingResource)])
    func theStageThatTakesMostBinds(stages: [UInt64], resource: BindingResource) {
        let found = Bottleneck(interval(stages.map { $0 * 1_000_000 }), utilisation: [950, 950, 950])
        #expect(found.resource == resource && !found.isOwnShare)
        #expect(found.utilisation == (resource == .medium ? 0 : 950))
        let sum = stages.reduce(0, +)
        for stage in 0..<4 { #expect(abs(Int(found.shares[stage]) - Int(1000 * stages[stage] / sum)) <= 1) }
        #expect(found.depth == UInt32(sum) * 256)
        let throttled = Bottleneck(interval(stages.map { $0 * 1_000_000 }), utilisation: [300, 300, 300])
        #expect(throttled.resource == resource && throttled.isOwnShare == (resource != .medium))
    }

    @Test func whoHardlyWaitsIsNotHeldUp() {
        #expect(Bottleneck(interval([100_000, 50_000, 200_000, 100_000]), utilisation: [0, 0, 0]).resource == .none)
        #expect(Bottleneck(interval([0, 0, 0, 0]), utilisation: [999, 999, 999]) == Bottleneck())
        #expect(Bottleneck(interval([9, 0, 0, 0], cycles: 0), utilisation: [0, 0, 0]).resource == .none)
    }

    @Test func aWorkingSetBeyondItsGrantBinds() {
        var interval = interval([10, 20, 9_000_000, 30])
        (interval.touchedPages, interval.grantedPages) = (33, 32)
        #expect(Bottleneck(interval, utilisation: [0, 0, 0]).resource == .memory)
        interval.grantedPages = 33
        #expect(Bottleneck(interval, utilisation: [0, 0, 0]).resource == .medium)
        interval.grantedPages = 0
        #expect(Bottleneck(interval, utilisation: [0, 0, 0]).resource == .medium, "no grant, no bound")
    }

    @Test(arguments: [
        (60, 40, 0, .sequential), (40, 60, 55, .strided), (40, 60, 20, .random), (0, 7, 7, .unknown), (0, 8, 8, .strided),
    ] as [(UInt32, UInt32, UInt32, AccessPattern)])
    func patternsGoByTheMajority(sequential: UInt32, runs: UInt32, strided: UInt32, pattern: AccessPattern) {
        var interval = OwnerInterval()
        (interval.sequential, interval.runs, interval.strided) = (sequential, runs, strided)
        #expect(Bottleneck(interval, utilisation: [0, 0, 0]).pattern == pattern)
    }

    /// Whatever hardware counts: no trap, shares of at most a whole.
    @Test(arguments: 1...4) func extremesDoNoHarm(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<2000 {
            func number() -> UInt64 { random.next() >> (random.next() % 64) }
            var interval = interval([number(), number(), number(), number()], cycles: number())
            interval.sequential = UInt32(truncatingIfNeeded: number())
            interval.runs = UInt32(truncatingIfNeeded: number())
            let found = Bottleneck(interval, utilisation: [UInt16(truncatingIfNeeded: number()), 0, 1000])
            for stage in 0..<4 { #expect(found.shares[stage] <= 1000) }
        }
    }
}

/// What is normal, and what is not.
@Suite struct OwnerBaselineTests {
    func levels(_ requests: UInt64, _ bytes: UInt64 = 0) -> InlineArray<3, Int32> {
        [Level.of(requests), Level.of(bytes, unit: 12), Level.of(bytes, unit: 12)]
    }

    @Test func aBaselineIsEstablishedAndTrusted() {
        var baseline = OwnerBaseline()
        #expect(!baseline.isEstablished && baseline.confidence == 0)
        for interval in 0..<64 {
            baseline.learn(levels(interval % 2 == 0 ? 90 : 110))
            #expect(baseline.anomalies == 0)
        }
        #expect(baseline.isEstablished && baseline.confidence == 800)
        #expect((Level.of(95)...Level.of(105)).contains(baseline.mean(of: .requests)))
        #expect(baseline.deviation(of: .requests) < Level.one / 4)
        let isTenfoldAnomalous = baseline.learn(levels(1000))
        #expect(isTenfoldAnomalous && baseline.anomalies == 1)
        let isUsualAnomalous = baseline.learn(levels(100))
        #expect(!isUsualAnomalous && baseline.anomalies == 0)
        // A new normal is learned, slowly.
        let anomalous = (0..<4000).reduce(into: 0) { count, _ in if baseline.learn(levels(1000)) { count += 1 } }
        #expect((100...3000).contains(anomalous), "\(anomalous) intervals until 1000 requests were normal")
    }

    /// The host's word is what is normal until there are intervals of the owner's own.
    @Test func theHostsReportBegins() {
        var sure = OwnerBaseline(), unsure = OwnerBaseline()
        let hint = Level.of(1 << 20, unit: 12)
        sure.take(hint: hint, confidence: 1000)
        unsure.take(hint: hint, confidence: 100)
        #expect(sure.mean(of: .readBytes) == hint && sure.confidence == 1000 && unsure.confidence == 100)
        for _ in 0..<4 {
            sure.learn(levels(1, 1 << 24))
            unsure.learn(levels(1, 1 << 24))
        }
        let come = Level.of(1 << 24, unit: 12)
        #expect(sure.mean(of: .readBytes) < unsure.mean(of: .readBytes) && unsure.mean(of: .readBytes) < come)
        #expect(sure.mean(of: .readBytes) > hint)
    }

    /// Relative to each owner's own baseline, anomalies are found that no bound for all can tell: eight owners of very different load,
    /// each of which now and then does eight times or an eighth of what it usually does.
    @Test(arguments: 1...10) func baselinesBeatEveryCommonBound(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var baselines = [OwnerBaseline](repeating: OwnerBaseline(), count: 8)
        var score = DetectionScore()
        for interval in 0..<400 {
            for owner in 0..<8 {
                let usual = 4.0 * Double(1 << (2 * owner))
                let spread = 0.7 + 0.6 * Double(random.next() >> 11) / Double(1 << 53 as UInt64)
                let isAnomaly = interval >= 40 && random.next() % 50 == 0
                let factor = isAnomaly ? (random.next() % 2 == 0 ? 8.0 : 1.0 / 8) : 1
                let next = levels(UInt64(usual * spread * factor))
                let isFound = baselines[owner].learn(next)
                guard interval >= 40 else { continue }
                score.add(next[0], isAnomaly: isAnomaly, isFound: isFound)
            }
        }
        #expect(score.relative > score.bestBound && score.relative > 0.8, "seed \(seed): F1 \(score.relative), else \(score.bestBound)")
    }
}

/// What is normal of what the host reports.
@Suite struct ReportedBaselineTests {
    func report(_ processors: Double, block: Double = 0, confidence: UInt32 = 1000) -> Baseline {
        var report = Baseline()
        report.processorPermille = UInt32(1000 * processors)
        report.memoryKiB = 8 << 20
        report.blockKiBPerSecond = UInt32(block)
        report.confidencePermille = confidence
        return report
    }

    @Test func itIsEstablishedByTrustedReports() {
        var baseline = ReportedBaseline()
        #expect(baseline.confidence == 0 && !baseline.isEstablished)
        let first = baseline.learn(report(2))
        #expect(!first && baseline.report.normal[0] == baseline.report.latest[0], "the first report is what is normal")
        for _ in 1..<16 { baseline.learn(report(2)) }
        #expect(baseline.isEstablished && baseline.confidence == 500)
        // Eightfold processors, and block I/O where there was none: bits 0 and 3.
        let isFound = baseline.learn(report(16, block: 100_000))
        #expect(isFound && baseline.anomalies == 0b1001)
        // A report that is hardly trusted accuses nobody, and moves little; one that isn't trusted at all is not even kept.
        let before = baseline.report.normal[0]
        let isUnsureFound = baseline.learn(report(16, confidence: 100))
        #expect(!isUnsureFound && baseline.report.normal[0] - before < UInt16(Level.one) / 50)
        baseline.learn(report(2))
        let untrusted = baseline.learn(report(60, confidence: 0))
        #expect(!untrusted && baseline.report.latest[0] == UInt16(Level.of(2000)))
    }

    /// Half-trusted reports establish half as fast.
    @Test func trustCounts() {
        var sure = ReportedBaseline(), unsure = ReportedBaseline()
        for _ in 0..<20 {
            sure.learn(report(1))
            unsure.learn(report(1, confidence: 500))
        }
        #expect(sure.isEstablished && !unsure.isEstablished && sure.confidence > unsure.confidence)
    }

    /// Hosts of very different size, each of which now and then uses eight times or an eighth of what it usually does: relative to its own
    /// baseline that is found, by no bound for all hosts alike.
    @Test(arguments: 1...10) func baselinesBeatEveryCommonBound(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        func part() -> Double { Double(random.next() >> 11) / Double(1 << 53 as UInt64) }
        var hosts = [ReportedBaseline](repeating: ReportedBaseline(), count: 6)
        var score = DetectionScore()
        for round in 0..<200 {
            for host in 0..<6 {
                let isAnomaly = round >= 40 && random.next() % 50 == 0
                let factor = isAnomaly ? (random.next() % 2 == 0 ? 8.0 : 1.0 / 8) : 1
                let next = report(0.25 * Double(1 << host) * (0.7 + 0.6 * part()) * factor, confidence: 700 + UInt32(300 * part()))
                hosts[host].learn(next)
                guard round >= 40 else { continue }
                score.add(Level.of(UInt64(next.processorPermille)), isAnomaly: isAnomaly, isFound: hosts[host].anomalies & 1 != 0)
            }
        }
        #expect(score.relative > score.bestBound && score.relative > 0.8, "seed \(seed): F1 \(score.relative), else \(score.bestBound)")
    }
}

/// How well anomalies were found, and how well the best bound that there is for all alike, chosen with hindsight, finds them.
private struct DetectionScore {
    private var samples: [(level: Int32, isAnomaly: Bool)] = []
    private var hits = 0, alarms = 0

    mutating func add(_ level: Int32, isAnomaly: Bool, isFound: Bool) {
        samples.append((level, isAnomaly))
        if isFound { if isAnomaly { hits += 1 } else { alarms += 1 } }
    }

    private var all: Int { samples.count(where: \.isAnomaly) }
    private func f1(_ hits: Int, _ alarms: Int) -> Double { 2 * Double(hits) / Double(max(hits + alarms + all, 1)) }

    var relative: Double { f1(hits, alarms) }

    /// Above a bound, or below it.
    var bestBound: Double {
        Swift.Set(samples.map(\.level)).map { bound in
            let above = samples.filter { $0.level >= bound }, below = samples.filter { $0.level <= bound }
            return [above, below].map { flagged in
                let hits = flagged.count(where: \.isAnomaly)
                return f1(hits, flagged.count - hits)
            }.max()!
        }.max()!
    }
}
