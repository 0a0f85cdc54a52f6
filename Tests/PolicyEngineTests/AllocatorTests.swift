import PolicyEngine
import Simulation
import Testing

/// Divisions against the best that there is.
@Suite struct AllocatorTests {
    struct Owner {
        var least: UInt32, claim: UInt32, now: UInt32, weight: UInt32

        /// What so many units are worth: weight x (1 + 1/2 + ...), those that it doesn't have yet a little less.
        func worth(_ units: UInt32, movingCost: UInt32) -> Double {
            var sum = 0.0
            for unit in stride(from: 1, through: units, by: 1) {
                sum += Double(weight) / Double(unit) * (unit <= now ? 1 : Double(32 - movingCost) / 32)
            }
            return sum
        }
    }

    let memory = TestMemory()

    func divide(_ owners: [Owner], _ capacity: UInt32, movingCost: UInt32) -> (units: [UInt32], rest: UInt32) {
        var arena = memory.arena
        var allocator = Allocator(in: &arena)
        allocator.begin()
        for owner in owners {
            allocator.add(least: owner.least, claim: owner.claim, now: owner.now, weight: owner.weight, movingCost: movingCost)
        }
        let rest = allocator.divide(capacity)
        return (owners.indices.map { allocator.units($0) }, rest)
    }

    /// The best worth of any division, by dynamic programming over all of them.
    func best(_ owners: [Owner], _ capacity: UInt32, movingCost: UInt32) -> Double {
        var reachable = [Double](repeating: 0, count: Int(capacity) + 1)
        for owner in owners {
            let most = max(owner.least, owner.claim)
            let worths = (0...min(most, capacity)).map { owner.worth($0, movingCost: movingCost) }
            reachable = (0...Int(capacity)).map { total in
                guard Int(owner.least) <= total else { return -.infinity }
                return (Int(owner.least)...max(Int(owner.least), min(total, Int(most)))).map { worths[$0] + reachable[total - $0] }.max()!
            }
        }
        return reachable.last!
    }

    /// Never more than there is, leasts kept, claims not exceeded, nothing left while somebody claims it, and within 3 % of the best.
    @Test(arguments: 1...4 as ClosedRange<UInt64>) func everyDivisionIsTheBest(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var farthest = 0.0
        for number in 0..<25_000 {
            let capacity = UInt32.random(in: 1...20, using: &random), movingCost = [0, 2, 4, 16].randomElement(using: &random)!
            var left = capacity
            let owners = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                let least = Bool.random(using: &random) ? 0 : UInt32.random(in: 0...min(left, 4), using: &random)
                left -= least
                return Owner(
                    least: least, claim: .random(in: 0...25, using: &random), now: .random(in: 0...10, using: &random),
                    weight: Bool.random(using: &random) ? 1 : .random(in: 1...255, using: &random))
            }
            let (units, rest) = divide(owners, capacity, movingCost: UInt32(movingCost))
            let name = "seed \(seed), case \(number): \(owners), capacity \(capacity), moving cost \(movingCost): \(units)"
            guard units.reduce(0, +) + rest == capacity else { Issue.record("\(name), \(rest) left"); return }
            for (owner, units) in zip(owners, units) {
                guard units >= owner.least, units <= max(owner.claim, owner.least) else { Issue.record("\(name)"); return }
                guard rest == 0 || units == max(owner.claim, owner.least) else { Issue.record("\(name), \(rest) left"); return }
            }
            let worth = zip(owners, units).reduce(0) { $0 + $1.0.worth($1.1, movingCost: UInt32(movingCost)) }
            let best = best(owners, capacity, movingCost: UInt32(movingCost))
            guard worth >= 0.97 * best else { Issue.record("\(name): worth \(worth), best \(best)"); return }
            if best > 0 { farthest = max(farthest, 1 - worth / best) }
        }
        print("seed \(seed): at most \(farthest * 100) % below the best")
    }

    @Test func leastsThatCannotBeHadAreCut() {
        let owners = [Owner](repeating: Owner(least: 10, claim: 10, now: 0, weight: 1), count: 3)
        #expect(divide(owners, 20, movingCost: 0).units.reduce(0, +) <= 20)
        #expect(divide(owners, 20, movingCost: 0).units.allSatisfy { $0 >= 6 })
    }

    @Test func whatMovesDearlyStays() {
        let owners = [Owner(least: 0, claim: 4, now: 4, weight: 1), Owner(least: 0, claim: 4, now: 0, weight: 1)]
        #expect(divide(owners, 4, movingCost: 0).units == [2, 2])
        #expect(divide(owners, 4, movingCost: 16).units == [3, 1])
    }

    @Test func weightsCount() {
        let owners = [Owner(least: 0, claim: 1000, now: 0, weight: 3), Owner(least: 0, claim: 1000, now: 0, weight: 1)]
        #expect(divide(owners, 1000, movingCost: 0).units == [750, 250])
    }
}
