import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

/// The analyzer with software's view of it.
private struct Bench {
    let scheduler = Scheduler()
    let analyzer: WorkloadAnalyzer
    let probe: RegisterProbe

    init(window: UInt64 = 0) {
        analyzer = WorkloadAnalyzer(on: scheduler)
        probe = RegisterProbe(target: analyzer, map: WA.map, scheduler: scheduler)
        probe.write(WA.WINDOW_LENGTH, window)
        probe.write(WA.CONTROL, 1)
    }

    func latch() { probe.write(WA.CONTROL, 3) }

    /// Shows a record in DETAIL. `age` 0: totals.
    func select(_ owner: Int, queue: Int = 255, age: Int = 0) {
        probe.write(WA.SELECT, UInt64(owner | queue << 8 | age << 16))
    }

    func request(
        _ owner: Int, _ kind: IORequest.Kind = .read, queue: UInt16 = 0, at position: UInt64 = 0, bytes: UInt64 = 4096, arrival: Cycle,
        completion: Cycle
    ) -> IORequest {
        IORequest(
            owner: Owner(rawValue: UInt8(owner)), queue: queue, kind: kind, position: position, bytes: bytes, arrival: arrival,
            completion: completion, depth: 1)
    }

    /// A request that arrives and completes, with device time carried along.
    func serve(_ request: IORequest) {
        scheduler.advance(to: request.arrival)
        analyzer.requestArrived(request)
        scheduler.advance(to: request.completion)
        analyzer.requestCompleted(request)
    }
}

/// What the analyzer should say, from a list of everything that happened: slow, and obviously right.
private struct GroundTruth {
    var arrivals: [IORequest] = []
    var completions: [IORequest] = []

    func bucket(_ number: UInt64) -> Int { number < 2 ? 0 : min(String(number, radix: 2).count - 1, 31) }

    func check(_ probe: RegisterProbe, _ label: String) {
        for (number, kind) in [IORequest.Kind.read, .write, .flush, .discard, .other].enumerated() {
            let done = completions.filter { $0.kind == kind }
            #expect(probe.read(WA.DETAIL_REQUESTS, number) == UInt64(done.count), "\(label) \(kind)")
            #expect(probe.read(WA.DETAIL_BYTES, number) == done.reduce(0) { $0 + $1.bytes }, "\(label) \(kind)")
        }
        #expect(probe.read(WA.DETAIL_ARRIVALS) == UInt64(arrivals.count), "\(label)")
        let latencies = completions.map { $0.completion - $0.arrival }
        #expect(probe.read(WA.DETAIL_LATENCY_SUM) == latencies.reduce(0, +), "\(label)")
        #expect(probe.read(WA.DETAIL_LATENCY_MAX) == latencies.max() ?? 0, "\(label)")
        for (number, stage) in [\StageTimes.cores, \.linkToDevice, \.medium, \.linkToHost].enumerated() {
            let sum = completions.reduce(0) { $0 + $1.stages[keyPath: stage] }
            #expect(probe.read(WA.DETAIL_STAGE, number) == sum, "\(label) stage \(number)")
        }
        let sizes = arrivals.filter { $0.kind == .read || $0.kind == .write }
        for number in 0..<32 {
            #expect(probe.read(WA.DETAIL_LATENCY, number) == UInt64(latencies.count { bucket($0) == number }), "\(label) bucket \(number)")
            #expect(probe.read(WA.DETAIL_SIZE, number) == UInt64(sizes.count { bucket($0.bytes) == number }), "\(label) bucket \(number)")
        }
        var (sequential, runs, strided, run, longest) = (0, 0, 0, 0, 0)
        for (number, request) in sizes.enumerated() {
            if number > 0, request.position == sizes[number - 1].position + sizes[number - 1].bytes {
                sequential += 1
                run += 1
            } else {
                runs += 1
                run = 1
                let distance = { (a: Int) in sizes[a].position &- sizes[a - 1].position }
                if number > 1, distance(number) == distance(number - 1) { strided += 1 }
            }
            longest = max(longest, run)
        }
        #expect(probe.read(WA.DETAIL_SEQUENTIAL) == UInt64(sequential), "\(label)")
        #expect(probe.read(WA.DETAIL_RUNS) == UInt64(runs), "\(label)")
        #expect(probe.read(WA.DETAIL_STRIDED) == UInt64(strided), "\(label)")
        #expect(probe.read(WA.DETAIL_RUN_MAX) == UInt64(longest), "\(label)")
    }
}

/// Resources whose counters a test sets.
private final class Meters: UtilisationSource {
    var busy: [UInt64] = [0, 0, 0, 0]
    var used: [Int: [UInt64]] = [:]

    func usage(of resource: Int) -> ResourceUsage { ResourceUsage(units: UInt32(4 + resource), busy: busy[resource]) }
    func used(_ resource: Int, by owner: Owner) -> UInt64 { used[Int(owner.rawValue)]?[resource] ?? 0 }
}

@Suite struct WorkloadAnalyzerCounts {
    /// Random requests of several owners and queues, overlapping in time, over random windows: every total equals the truth.
    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func totalsEqualARecordOfEverything(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let bench = Bench()
        let owners = [0, 1, 7, 64]
        var truth: [Int: GroundTruth] = [:]
        var queueTruth: [Int: GroundTruth] = [:]
        var depths: [Int: (now: Int, most: Int, integral: UInt64, since: Cycle)] = [:]
        var flying: [IORequest] = []
        var now: Cycle = 0
        for owner in owners { depths[owner] = (0, 0, 0, 0) }

        func settle(_ owner: Int, _ change: Int) {
            var depth = depths[owner]!
            depth.integral += UInt64(depth.now) * (now - depth.since)
            depth = (depth.now + change, max(depth.most, depth.now + change), depth.integral, now)
            depths[owner] = depth
        }
        var lastEnd: UInt64 = 0
        for _ in 0..<3000 {
            now += random.next() % 500
            bench.scheduler.advance(to: now)
            if flying.isEmpty || random.next() % 2 == 0 && flying.count < 40 {
                let owner = owners[Int(random.next() % 4)]
                let bytes = random.next() % 5 == 0 ? random.next() % 3 : 512 << (random.next() % 10)
                let position = switch random.next() % 3 {
                case 0: lastEnd
                case 1: lastEnd &+ 65536
                default: random.next() % (1 << 34)
                }
                let kind = IORequest.Kind(rawValue: UInt8(random.next() % 5))!
                var request = bench.request(
                    owner, kind, queue: UInt16(random.next() % 10), at: position, bytes: bytes, arrival: now, completion: 0)
                request.depth = 1
                if kind == .read || kind == .write { lastEnd = position + bytes }
                bench.analyzer.requestArrived(request)
                settle(owner, +1)
                truth[owner, default: .init()].arrivals.append(request)
                queueTruth[owner * 16 + Int(request.queue), default: .init()].arrivals.append(request)
                flying.append(request)
            } else {
                var request = flying.remove(at: Int(random.next() % UInt64(flying.count)))
                request.completion = now
                let parts = (0..<3).map { _ in request.arrival + random.next() % (now - request.arrival + 1) }.sorted()
                request.stages = StageTimes(
                    from: request.arrival, served: parts[0], fetched: parts[1], mediumDone: parts[2], completion: now)
                let owner = Int(request.owner.rawValue)
                bench.analyzer.requestCompleted(request)
                settle(owner, -1)
                truth[owner, default: .init()].completions.append(request)
                queueTruth[owner * 16 + Int(request.queue), default: .init()].completions.append(request)
            }
            if random.next() % 200 == 0 { bench.latch() }
        }
        bench.latch()
        for owner in owners {
            bench.select(owner)
            truth[owner, default: .init()].check(bench.probe, "seed \(seed) owner \(owner)")
            settle(owner, 0)
            let depth = depths[owner]!
            #expect(bench.probe.read(WA.DETAIL_DEPTH_INTEGRAL) == depth.integral, "seed \(seed) owner \(owner)")
            #expect(bench.probe.read(WA.DETAIL_DEPTH) == UInt64(depth.now) | UInt64(depth.most) << 32, "seed \(seed) owner \(owner)")
            for queue in 0..<8 {
                bench.select(owner, queue: queue)
                queueTruth[owner * 16 + queue, default: .init()].check(bench.probe, "seed \(seed) owner \(owner) queue \(queue)")
            }
        }
        #expect(bench.probe.read(WA.DETAIL_DURATION) == now)
    }

    /// What resources did in a window, and what owners used of them, as the source tells it; a cleared counter is no negative use.
    @Test func utilisationIsCountedByWindows() {
        let bench = Bench()
        let meters = Meters()
        withExtendedLifetime(meters) {
            (meters.busy, meters.used) = ([1000, 2000, 3000, 4000], [7: [10, 20, 30]])
            bench.probe.write(WA.CONTROL, 0)
            bench.analyzer.utilisation = meters
            bench.probe.write(WA.CONTROL, 1)
            (meters.busy, meters.used) = ([1500, 2000, 3100, 4001], [7: [11, 20, 34], 64: [0, 5, 0]])
            bench.latch()
            #expect((0..<4).map { bench.probe.read(WA.RESOURCE_BUSY, $0) } == [500, 0, 100, 1])
            #expect((0..<4).map { bench.probe.read(WA.RESOURCE_UNITS, $0) } == [4, 5, 6, 7])
            (meters.busy, meters.used) = ([1600, 50, 3100, 4001], [7: [11, 25, 4], 64: [0, 5, 0]])
            bench.latch()
            #expect((0..<4).map { bench.probe.read(WA.RESOURCE_BUSY, $0) } == [100, 50, 0, 0])
            #expect((0..<4).map { bench.probe.read(WA.RESOURCE_BUSY_TOTAL, $0) } == [600, 50, 100, 1])
            bench.select(7)
            #expect((0..<3).map { bench.probe.read(WA.DETAIL_USED, $0) } == [1, 5, 8])
            bench.select(7, age: 2)
            #expect((0..<3).map { bench.probe.read(WA.DETAIL_USED, $0) } == [1, 0, 4])
            bench.select(64)
            #expect((0..<3).map { bench.probe.read(WA.DETAIL_USED, $0) } == [0, 5, 0])
            bench.probe.write(WA.CONTROL, 5)
            #expect((0..<4).map { bench.probe.read(WA.RESOURCE_BUSY_TOTAL, $0) } == [0, 0, 0, 0])
            bench.latch()
            #expect((0..<4).map { bench.probe.read(WA.RESOURCE_BUSY_TOTAL, $0) } == [0, 0, 0, 0])
        }
    }

    /// (distances between the starts, sequential, runs, strided): it takes one request to be sequential, two for a stride.
    @Test(arguments: [
        ([0, 0, 0], 0, 4, 2), ([4096, 4096], 2, 1, 0), ([8192, 8192, 8192], 0, 4, 2), ([-8192, -8192], 0, 3, 1),
        ([8192, 4096, 8192], 1, 3, 0),
    ] as [([Int64], UInt64, UInt64, UInt64)])
    func patternsAreToldApart(_ distances: [Int64], _ sequential: UInt64, _ runs: UInt64, _ strided: UInt64) {
        let bench = Bench()
        var position: UInt64 = 1 << 30
        bench.serve(bench.request(1, at: position, arrival: 1, completion: 2))
        for (index, distance) in distances.enumerated() {
            position = position &+ UInt64(bitPattern: distance)
            bench.serve(bench.request(1, at: position, arrival: UInt64(10 + index), completion: UInt64(10 + index)))
        }
        bench.latch()
        bench.select(1)
        #expect(bench.probe.read(WA.DETAIL_SEQUENTIAL) == sequential)
        #expect(bench.probe.read(WA.DETAIL_RUNS) == runs)
        #expect(bench.probe.read(WA.DETAIL_STRIDED) == strided)
        #expect(bench.probe.read(WA.DETAIL_STRIDE) == UInt64(bitPattern: distances.last!))
    }

    @Test func pastWindowsAddUpToTheTotals() {
        let bench = Bench(window: 10_000)
        var random = SplitMix64(seed: 9)
        for number in 0..<600 as Range<UInt64> {
            bench.serve(bench.request(3, .write, bytes: 1 + random.next() % 9000, arrival: number * 100, completion: number * 100 + 50))
        }
        bench.scheduler.advance(to: 60_000)
        #expect(bench.probe.read(WA.WINDOW_NUMBER) == 6)
        var requests: UInt64 = 0
        var bytes: UInt64 = 0
        for age in 1...6 {
            bench.select(3, age: age)
            #expect(bench.probe.read(WA.SELECTED) == 1 << 31 | UInt64(7 - age))
            #expect(bench.probe.read(WA.DETAIL_DURATION) == 10_000)
            #expect(bench.probe.read(WA.DETAIL_REQUESTS, 1) == 100)
            requests += bench.probe.read(WA.DETAIL_REQUESTS, 1)
            bytes += bench.probe.read(WA.DETAIL_BYTES, 1)
        }
        bench.select(3, age: 0)
        #expect(bench.probe.read(WA.DETAIL_REQUESTS, 1) == requests)
        #expect(bench.probe.read(WA.DETAIL_BYTES, 1) == bytes)
        bench.select(3, age: 7)
        #expect(bench.probe.read(WA.SELECTED) == 0, "there have been six windows")
        #expect(bench.probe.read(WA.DETAIL_REQUESTS, 1) == 0)
    }

    @Test func onlyEightWindowsAreKept() {
        let bench = Bench(window: 1000)
        for window in 0..<20 as Range<UInt64> {
            for _ in 0...window { bench.serve(bench.request(1, arrival: window * 1000 + 10, completion: window * 1000 + 20)) }
        }
        bench.scheduler.advance(to: 20_000)
        for age in 1...8 {
            bench.select(1, age: age)
            #expect(bench.probe.read(WA.DETAIL_REQUESTS, 0) == UInt64(21 - age))
        }
        bench.select(1, age: 9)
        #expect(bench.probe.read(WA.SELECTED) == 0)
        bench.select(65, age: 1)
        #expect(bench.probe.read(WA.SELECTED) == 0)
        bench.select(1, queue: 8, age: 1)
        #expect(bench.probe.read(WA.SELECTED) == 0)
    }

    @Test func ownersWithoutCountersAreCountedAsSuch() {
        let bench = Bench()
        bench.serve(bench.request(65, arrival: 1, completion: 2))
        bench.analyzer.memoryWritten(owner: .device, address: 0, bytes: 1, at: 3)
        #expect(bench.probe.read(WA.UNATTRIBUTED) == 3)
    }

    @Test func nothingCountsWhileItIsOff() {
        let bench = Bench()
        bench.serve(bench.request(1, arrival: 1, completion: 2))
        bench.probe.write(WA.CONTROL, 0)
        #expect(bench.probe.read(WA.WINDOW_NUMBER) == 1, "what was counted is latched")
        bench.analyzer.requestArrived(bench.request(1, arrival: 3, completion: 0))
        bench.probe.write(WA.CONTROL, 1)
        bench.scheduler.advance(to: 100)
        bench.latch()
        bench.select(1, age: 1)
        #expect(bench.probe.read(WA.DETAIL_ARRIVALS) == 0)
        #expect(bench.probe.read(WA.DETAIL_DEPTH) == 1 << 32 | 1, "a request that came while it was off is in flight all the same")
        bench.select(1)
        #expect(bench.probe.read(WA.DETAIL_ARRIVALS) == 1)
    }
}

@Suite struct WorkloadAnalyzerWindows {
    @Test func aWindowIsLatchedAtItsCycleForAllOwnersAtOnce() {
        let bench = Bench(window: 50_000)
        bench.probe.write(WA.INTR_ENABLE, 1)
        for owner in [1, 33, 64] {
            bench.serve(bench.request(owner, arrival: 1000 * UInt64(owner), completion: 1000 * UInt64(owner) + 300))
        }
        #expect(bench.probe.read(WA.WINDOW_NUMBER) == 1, "owner 64's request came after the first window")
        #expect(bench.analyzer.interrupt.level)
        #expect(bench.probe.read(WA.ACTIVE, 0) == 1 << 1 && bench.probe.read(WA.ACTIVE, 1) == 1 << 1 && bench.probe.read(WA.ACTIVE, 2) == 0)
        #expect(bench.probe.read(WA.SUMMARY_REQUESTS, 1) == 1 && bench.probe.read(WA.SUMMARY_REQUESTS, 64) == 0)
        #expect(bench.probe.read(WA.WINDOW_START) == 0 && bench.probe.read(WA.WINDOW_END) == 50_000)
        bench.probe.write(WA.INTR_STATE, 7)
        #expect(!bench.analyzer.interrupt.level)

        bench.scheduler.advance(to: 100_000)
        #expect(bench.probe.read(WA.ACTIVE, 0) == 0 && bench.probe.read(WA.ACTIVE, 1) == 0 && bench.probe.read(WA.ACTIVE, 2) == 1)
        #expect(bench.probe.read(WA.SUMMARY_REQUESTS, 1) == 0, "an inactive owner's summary is zero")
        #expect(bench.probe.read(WA.SUMMARY_READ_BYTES, 64) == 4096)
        #expect(bench.probe.read(WA.INTR_STATE) == 1)
        bench.scheduler.advance(to: 150_000)
        #expect(bench.probe.read(WA.INTR_STATE) == 5, "the window cause was still set")
    }

    @Test func depthIsWeightedByTimeAcrossWindows() {
        let bench = Bench(window: 1000)
        bench.scheduler.advance(to: 500)
        bench.analyzer.requestArrived(bench.request(2, arrival: 500, completion: 0))
        bench.analyzer.requestArrived(bench.request(2, arrival: 500, completion: 0))
        bench.scheduler.advance(to: 1000)
        #expect(bench.probe.read(WA.SUMMARY_DEPTH, 2) == 2 | 2 << 16)
        #expect(bench.probe.read(WA.SUMMARY_DEPTH_MEAN, 2) == 256, "two requests over half of the window")
        bench.scheduler.advance(to: 2000)
        #expect(bench.probe.read(WA.SUMMARY_DEPTH_MEAN, 2) == 512, "in flight all the time, with no event of their own")
        #expect(bench.probe.read(WA.SUMMARY_ARRIVALS, 2) == 0)
    }

    /// A request that is in flight at a window's start and withdrawn in it, and nothing else: it is part of that window, not of a later one.
    @Test func aWithdrawalIsPartOfItsWindow() {
        let bench = Bench()
        bench.scheduler.advance(to: 100)
        bench.analyzer.requestArrived(bench.request(3, arrival: 100, completion: 0))
        for (end, withdrawn, depth, integral) in [
            (1000, 0, 1 | 1 << 32, 900), (3000, 2500, 1 << 32, 1500), (4000, 0, 0, 0),
        ] as [(Cycle, Cycle, UInt64, UInt64)] {
            if withdrawn != 0 {
                bench.scheduler.advance(to: withdrawn)
                bench.analyzer.requestWithdrawn(bench.request(3, arrival: 100, completion: 0))
            }
            bench.scheduler.advance(to: end)
            bench.latch()
            #expect(bench.probe.read(WA.ACTIVE) == (integral == 0 ? 0 : 1 << 3), "window to \(end)")
            guard integral != 0 else { continue }
            bench.select(3, age: 1)
            #expect(bench.probe.read(WA.DETAIL_DEPTH) == depth && bench.probe.read(WA.DETAIL_DEPTH_INTEGRAL) == integral, "window to \(end)")
        }
    }

    @Test func percentilesAreBucketsOfTheHistogram() {
        let bench = Bench()
        // 90 requests of 100 cycles, 9 of 5000, 1 of 70000: buckets 6, 12, 16.
        var cycle: Cycle = 0
        for (count, latency) in [(90, 100), (9, 5000), (1, 70_000)] as [(Int, UInt64)] {
            for _ in 0..<count {
                bench.serve(bench.request(1, arrival: cycle, completion: cycle + latency))
                cycle += latency
            }
        }
        bench.latch()
        #expect(bench.probe.read(WA.SUMMARY_LATENCY, 1) == 6 | 6 << 8 | 12 << 16 | 16 << 24)
        bench.serve(bench.request(1, arrival: cycle, completion: cycle + 64))
        bench.latch()
        #expect(bench.probe.read(WA.SUMMARY_LATENCY, 1) == 0x0606_0606)
    }

    @Test func thresholdsAreComparedAtTheLatch() {
        let bench = Bench()
        bench.probe.write(WA.INTR_ENABLE, 2)
        bench.probe.write(WA.OWNER_THRESHOLD_BYTES, 1, 8192)
        bench.probe.write(WA.OWNER_THRESHOLD_LATENCY, 40, 10)
        bench.serve(bench.request(1, bytes: 8191, arrival: 1, completion: 2))
        bench.serve(bench.request(40, arrival: 3, completion: 3 + 1023))
        bench.latch()
        #expect(!bench.analyzer.interrupt.level)
        bench.serve(bench.request(1, bytes: 8192, arrival: 2000, completion: 2001))
        bench.serve(bench.request(40, arrival: 3000, completion: 3000 + 1024))
        #expect(!bench.analyzer.interrupt.level, "not before the latch")
        bench.latch()
        #expect(bench.analyzer.interrupt.level)
        #expect(bench.probe.read(WA.OVER, 0) == 1 << 1 && bench.probe.read(WA.OVER, 1) == 1 << 8 && bench.probe.read(WA.OVER, 2) == 0)
        bench.probe.write(WA.OVER, 0, 1 << 1)
        #expect(bench.probe.read(WA.OVER, 0) == 0)
    }

    @Test func reportsRememberTheirWindow() {
        let bench = Bench()
        bench.latch()
        bench.latch()
        bench.probe.write(WA.OWNER_REPORT_CPU, 5, 750)
        bench.latch()
        #expect(bench.probe.read(WA.OWNER_REPORT_CPU, 5) == 750)
        #expect(bench.probe.read(WA.OWNER_REPORT_WINDOW, 5) == 2)
    }

    @Test func clearAndResetForgetEverythingButRequestsInFlight() {
        for isReset in [false, true] {
            let bench = Bench()
            bench.serve(bench.request(1, arrival: 1, completion: 2))
            bench.analyzer.requestArrived(bench.request(1, arrival: 3, completion: 0))
            bench.latch()
            if isReset {
                bench.analyzer.reset(.hard)
                #expect(bench.probe.read(WA.CONTROL) == 0)
                bench.probe.write(WA.CONTROL, 1)
            } else {
                bench.probe.write(WA.CONTROL, 5)
            }
            #expect(bench.probe.read(WA.WINDOW_NUMBER) == 0)
            bench.select(1)
            #expect(bench.probe.read(WA.DETAIL_ARRIVALS) == 0)
            bench.latch()
            #expect(bench.probe.read(WA.SUMMARY_DEPTH, 1) == 1 | 1 << 16)
        }
    }

    @Test func aClearBeginsANewWindow() {
        let bench = Bench(window: 1000)
        bench.scheduler.advance(to: 700)
        bench.probe.write(WA.CONTROL, 5)
        bench.scheduler.advance(to: 1699)
        #expect(bench.probe.read(WA.WINDOW_NUMBER) == 0)
        bench.scheduler.advance(to: 1700)
        #expect(bench.probe.read(WA.WINDOW_NUMBER) == 1 && bench.probe.read(WA.WINDOW_START) == 700)
    }

    @Test func aWindowOfLessThanAThousandCyclesCountsAsThat() {
        let bench = Bench(window: 1)
        bench.scheduler.advance(to: 10_000)
        #expect(bench.probe.read(WA.WINDOW_NUMBER) == 10)
    }

    @Test func interruptTestRaisesEveryCause() {
        let bench = Bench()
        bench.probe.write(WA.INTR_ENABLE, 4)
        bench.probe.write(WA.INTR_TEST, 4)
        #expect(bench.probe.read(WA.INTR_STATE) == 4 && bench.analyzer.interrupt.level)
        bench.analyzer.reset(.powerOn)
        #expect(!bench.analyzer.interrupt.level)
    }
}

@Suite struct PageEstimates {
    /// Linear counting with 512 groups of eight bits: 4 % standard error at 4096 pages in runs; 12 % is three of them.
    @Test(arguments: [8, 64, 512, 2048, 4096] as [UInt64]) func aSequentialScanIsCountedNearly(pages: UInt64) {
        let bench = Bench()
        for page in 0..<pages {
            bench.analyzer.requestArrived(bench.request(1, .write, at: (777 + page) * 4096, bytes: 4096, arrival: page, completion: 0))
        }
        bench.latch()
        bench.select(1)
        let estimates = [bench.probe.read(WA.SUMMARY_DISTINCT_PAGES, 1), bench.probe.read(WA.DETAIL_WRITTEN_PAGES)]
        for estimate in estimates {
            #expect(abs(Double(estimate) - Double(pages)) < Double(pages) * 0.12 + 1, "\(pages) pages, estimated \(estimate)")
        }
    }

    @Test(arguments: [100, 1000, 4000] as [Int]) func randomPagesAreCountedNearlyAndRepeatsNotAtAll(count: Int) {
        var random = SplitMix64(seed: UInt64(count))
        let bench = Bench()
        let pages = Set((0..<count).map { _ in random.next() % (1 << 24) }).sorted()
        for _ in 0..<3 {
            for page in pages { bench.analyzer.memoryWritten(owner: .virtualMachine(2), address: page << 12, bytes: 100, at: 1) }
        }
        bench.latch()
        let estimate = Double(bench.probe.read(WA.SUMMARY_DIRTY_PAGES, 2))
        #expect(abs(estimate - Double(pages.count)) < Double(pages.count) * 0.06 + 2, "\(pages.count) pages, estimated \(estimate)")
        bench.select(2)
        #expect(bench.probe.read(WA.DETAIL_DMA_BYTES) == UInt64(3 * 100 * pages.count))
        #expect(bench.probe.read(WA.DETAIL_DISTINCT_PAGES) == 0, "no request touched the medium")
    }

    @Test func hugeRequestsEndAtOnce() {
        let bench = Bench()
        bench.analyzer.requestArrived(bench.request(1, at: .max - 5, bytes: .max, arrival: 1, completion: 0))
        bench.analyzer.requestArrived(bench.request(1, at: 0, bytes: .max, arrival: 2, completion: 0))
        bench.latch()
        #expect(bench.probe.read(WA.SUMMARY_DISTINCT_PAGES, 1) == 36_434)
    }
}
