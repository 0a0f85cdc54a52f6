import AdminProtocol
import OffloadManager
import PolicyEngine
import Simulation
import Testing

/// Moves that the firmware decides on by itself, with its own forecasts, on loads that a seed makes.
@Suite struct PlacementTests {
    /// What a run has shown.
    struct Outcome {
        var overloaded = 0, away = 0, moves = 0
        var status = PlacementStatus()
    }

    private static let high: UInt16 = 600, low: UInt16 = 400
    /// Cycles of an interval for all cores, and of a request.
    private static let capacity: UInt64 = 1_000_000, cost: UInt64 = 200

    /// One owner with bursts, one that goes steadily along.
    private func run(_ mode: PlacementParameters.Mode, seed: UInt64, intervals: Int = 600, most: UInt16 = 32) -> Outcome {
        let storage = TestStorage()
        var arena = Arena(storage.value.arena)
        var placement = Placement(in: &arena)
        var predictor = DemandPredictor(owners: 3, in: &arena)
        var parameters = PlacementParameters()
        (parameters.mode, parameters.highPermille, parameters.lowPermille) = (mode.rawValue, Self.high, Self.low)
        parameters.mostMoves = most
        placement.set(parameters)
        var random = SplitMix64(seed: seed)
        func around(_ value: Int) -> UInt64 { UInt64(value + value * (Int(random.next() % 31) - 15) / 100) }
        let period = 12 + Int(seed % 13)
        var outcome = Outcome()
        var isAway = false
        for interval in 0..<intervals {
            let demands = [around(interval % period < 4 ? 3_000 : 300), around(800)]
            let onDevice = demands[1] + (isAway ? 0 : demands[0])
            let busy = onDevice * Self.cost
            if busy * 1000 / Self.capacity > UInt64(Self.high) { outcome.overloaded += 1 }
            if isAway { outcome.away += 1 }
            placement.begin()
            for owner in 1...2 {
                predictor.observe([Level.of(demands[owner - 1]), 0, 0], of: owner)
                let isKnown = predictor.record(of: owner, .requests).checked >= 16
                placement.add(.init(
                    owner: owner, latest: demands[owner - 1],
                    upper: isKnown ? Level.amount(predictor.forecast(of: owner, .requests).high) : demands[owner - 1],
                    isOnDevice: owner == 2 || !isAway, isMovable: owner == 1, blackout: 1_000))
            }
            let now = UInt64(interval + 1) * Self.capacity
            let decision = placement.decide(busy: busy, capacity: Self.capacity, now: now, cyclesPerMicrosecond: 1)
            switch decision {
            case .stay: continue
            case .leave(let owner):
                #expect(owner == 1 && !isAway)
                isAway = true
            case .comeBack(let owner):
                #expect(owner == 1 && isAway)
                isAway = false
            }
            outcome.moves += 1
            placement.carriedOut(decision, isBegun: true, now: now)
        }
        outcome.status = placement.status
        return outcome
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>) func aComponentLeavesBeforeItsBurst(seed: UInt64) {
        let off = run(.off, seed: seed), late = run(.reactive, seed: seed), early = run(.predictive, seed: seed)
        #expect(off.moves == 0 && off.away == 0)
        #expect(late.overloaded < off.overloaded, "seed \(seed)")
        #expect(early.overloaded * 2 < late.overloaded, "seed \(seed): \(early) against \(late)")
        #expect(early.status.ahead > early.status.late && early.status.lead >= 1_000_000, "seed \(seed): \(early.status)")
        #expect(late.status.ahead == 0, "who looks at the latest interval is never early")
        #expect(UInt32(off.overloaded) == off.status.overloaded && UInt32(early.overloaded) == early.status.overloaded)
    }

    @Test func movesAreLimited() {
        for mode in [.reactive, .predictive] as [PlacementParameters.Mode] {
            let outcome = run(mode, seed: 3, most: 2)
            #expect(outcome.moves > 0 && outcome.moves <= 2 * (600 / 64 + 1))
        }
    }

    private func decide(
        load: UInt64, upper: UInt64, blackout: UInt32, _ parameters: PlacementParameters
    ) -> (Placement.Decision, PlacementStatus) {
        let storage = TestStorage()
        var arena = Arena(storage.value.arena)
        var placement = Placement(in: &arena)
        placement.set(parameters)
        var decision = Placement.Decision.stay
        for _ in 0..<4 {
            placement.begin()
            placement.add(.init(owner: 7, latest: load, upper: upper, isOnDevice: true, isMovable: true, blackout: blackout))
            decision = placement.decide(busy: load * Self.cost, capacity: Self.capacity, now: 1, cyclesPerMicrosecond: 1)
        }
        return (decision, placement.status)
    }

    @Test func aMoveMustBeWorthItsCost() {
        var parameters = PlacementParameters()
        parameters.mode = PlacementParameters.Mode.predictive.rawValue
        parameters.highPermille = 800
        // 4,500 requests of 200 cycles are 900 of 1000: 100,000 cycles too many.
        #expect(decide(load: 3_000, upper: 4_500, blackout: 1_000, parameters).0 == .leave(7))
        let dear = decide(load: 3_000, upper: 4_500, blackout: 60_000, parameters)
        #expect(dear.0 == .stay && dear.1.declined > 0)
        #expect(decide(load: 3_000, upper: 3_900, blackout: 1_000, parameters).0 == .stay, "there is room")
        parameters.mode = PlacementParameters.Mode.reactive.rawValue
        #expect(decide(load: 3_000, upper: 4_500, blackout: 1_000, parameters).0 == .stay)
        #expect(decide(load: 4_500, upper: 0, blackout: 1_000, parameters).0 == .leave(7))
        parameters.mode = PlacementParameters.Mode.off.rawValue
        #expect(decide(load: 4_500, upper: 4_500, blackout: 1_000, parameters).0 == .stay)
    }
}
