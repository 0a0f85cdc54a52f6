import AdminProtocol
import PolicyEngine
import Simulation
import Testing

/// The policy against samples, on a link that carries 100,000 bytes in a window.
@Suite struct PolicyEngineTests {
    typealias Samples = [Int: OwnerSample]

    /// Of the one engine that a test has at a time.
    let memory = TestMemory()

    func policy(_ change: (inout PolicyParameters) -> Void = { _ in }) -> PolicyEngine {
        var parameters = PolicyParameters()
        parameters.headroomPermille = 0
        change(&parameters)
        #expect(PolicyEngine.isInRange(parameters))
        var arena = memory.arena
        var policy = PolicyEngine(in: &arena)
        policy.configure(parameters, linkBytes: 100_000)
        return policy
    }

    /// A window's work, in 1/1000 of the link.
    func sample(_ permille: UInt32, requests: UInt32, depth: UInt32 = 0) -> OwnerSample {
        OwnerSample(bytes: permille * 100, requests: requests, depth: depth)
    }

    /// One window; commits what the policy decides.
    @discardableResult func window(_ policy: inout PolicyEngine, _ samples: Samples, accept: Bool = true) -> Bool {
        var active = OwnerSet()
        for owner in samples.keys.sorted() {
            policy.add(samples[owner]!, of: owner)
            active.insert(owner)
        }
        guard policy.endWindow(active: active) else { return false }
        policy.predictResourceNeeds()
        let decision = policy.calculateNewAllocation(policy.selectBestPolicy(policy.getAvailablePolicies()))
        #expect(decision.rollback == nil)
        guard decision.change > UInt32(policy.parameters.hysteresisPermille) else {
            policy.left()
            return false
        }
        if accept { policy.committed() } else { policy.rejected() }
        return true
    }

    /// Windows of the same samples. Returns the numbers of those that ended with a commit, from 1.
    @discardableResult func windows(_ policy: inout PolicyEngine, _ count: Int, _ samples: Samples, accept: Bool = true) -> [Int] {
        (1...count).filter { _ in window(&policy, samples, accept: accept) }
    }

    var busy: OwnerSample { sample(500, requests: 10, depth: 32) }

    @Test func oneOwnerGetsWhatItAsksForUpToTheMost() {
        var policy = policy()
        windows(&policy, 200, [3: sample(400, requests: 10)])
        #expect((380...400).contains(policy.share(of: 3)))
        windows(&policy, 200, [3: busy])
        #expect(policy.share(of: 3) == 900)
        #expect(policy.holders == OwnerSet(1 << 3))
    }

    @Test func headRoomIsAddedToTheDemand() {
        var policy = policy { $0.headroomPermille = 250; $0.hysteresisPermille = 0 }
        windows(&policy, 200, [3: sample(400, requests: 10)])
        #expect((499...500).contains(policy.share(of: 3)))
    }

    @Test func equalDemandsShareEqually() {
        var policy = policy()
        #expect(windows(&policy, 100, [1: busy, 2: busy, 3: busy]) == [10])
        #expect([1, 2, 3].map { policy.share(of: $0) } == [334, 333, 333])
        #expect(policy.decisionsTaken == 1)
        #expect(policy.decisionsLeft == 9)
    }

    @Test func bandwidthGoesToTheOneInNeed() {
        var policy = policy()
        windows(&policy, 100, [1: busy, 2: busy])
        #expect([1, 2].map { policy.share(of: $0) } == [500, 500])
        let commits = windows(&policy, 200, [1: busy, 2: sample(100, requests: 10)])
        #expect(commits.first! <= 20, "within two periods")
        #expect(commits.last! <= 80, "and then it rests")
        #expect((780...900).contains(policy.share(of: 1)))
        #expect((100...120).contains(policy.share(of: 2)))
    }

    @Test func aStarvedOwnerShowsByItsQueue() {
        var policy = policy()
        let hog = sample(990, requests: 99, depth: 4)
        windows(&policy, 50, [1: hog])
        windows(&policy, 50, [1: hog, 2: sample(10, requests: 1, depth: 64)])
        #expect([1, 2].map { policy.share(of: $0) } == [500, 500])
    }

    @Test func changesWithinTheHysteresisDontCommit() {
        var policy = policy()
        windows(&policy, 300, [1: sample(600, requests: 10), 2: sample(300, requests: 10)])
        let before = (policy.share(of: 1), policy.share(of: 2))
        for number in 0..<1000 {
            let wobble: UInt32 = number / 25 % 2 == 0 ? 15 : 0
            let samples: Samples = [1: sample(590 + wobble, requests: 10), 2: sample(310 - wobble, requests: 10)]
            #expect(!window(&policy, samples), "window \(number)")
        }
        #expect(policy.share(of: 1) == before.0 && policy.share(of: 2) == before.1)
    }

    @Test func everyRejectionInARowDoublesThePeriod() {
        var policy = policy { $0.periodWindows = 5 }
        #expect(windows(&policy, 2000, [1: busy], accept: false) == [5, 15, 35, 75, 155, 315, 635, 955, 1275, 1595, 1915])
        #expect(policy.share(of: 1) == 0)
        #expect(policy.decisionsTaken == 0)
        #expect(windows(&policy, 320, [1: busy]).count == 1)
        #expect(windows(&policy, 10, [1: busy, 2: busy]) == [5], "an accepted one ends that")
    }

    @Test func pinnedSharesStayAndTheRestIsDivided() {
        var policy = policy()
        policy.set(300, of: 4, pin: true)
        windows(&policy, 50, [1: busy, 2: busy, 4: busy])
        #expect([1, 2, 4].map { policy.share(of: $0) } == [350, 350, 300])
        policy.set(200, of: 4, pin: true)
        windows(&policy, 50, [1: busy, 2: busy, 4: busy])
        #expect([1, 2, 4].map { policy.share(of: $0) } == [400, 400, 200])
        policy.set(200, of: 4, pin: false)
        windows(&policy, 50, [1: busy, 2: busy, 4: busy])
        #expect([1, 2, 4].map { policy.share(of: $0) } == [334, 333, 333])
    }

    @Test func anOwnersLimitCapsItsShare() {
        var policy = policy()
        policy.set(0, of: 1, most: 150, pin: false)
        windows(&policy, 50, [1: busy, 2: busy])
        #expect([1, 2].map { policy.share(of: $0) } == [150, 850])
    }

    @Test func aSilentOwnerFallsToTheLeastAndThenToNothing() {
        var policy = policy { $0.idleWindows = 400 }
        windows(&policy, 50, [1: busy, 64: busy])
        #expect(policy.share(of: 64) == 500)
        windows(&policy, 390, [1: busy])
        #expect(policy.members.contains(64))
        #expect((1...30).contains(policy.share(of: 64)))
        windows(&policy, 100, [1: busy])
        #expect(policy.members == OwnerSet(1 << 1))
        #expect(policy.contexts[64][.need, .bandwidth] == 0)
        windows(&policy, 20, [1: busy, 2: busy])
        #expect(policy.share(of: 64) == 0)
    }

    @Test func switchedOffItOnlyObserves() {
        var policy = policy { $0.policy = PolicyNumber.fixed }
        #expect(windows(&policy, 100, [1: sample(500, requests: 10)]).isEmpty)
        #expect(policy.demand(of: 1) == 50_000)
    }

    /// Whatever the samples: the targets sum to at most 1000, every active owner has the least share, none has more than it wants, and
    /// nobody stands above one whose want isn't met.
    @Test(arguments: 1...8 as ClosedRange<UInt64>) func anyDemandsGiveAFairTable(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for round in 0..<200 {
            var policy = policy { $0.smoothing = 256; $0.periodWindows = 1; $0.hysteresisPermille = 0 }
            let pinned = UInt32(random.next() % 3 == 0 ? random.next() % 1001 : 0)
            if pinned > 0 { policy.set(pinned, of: 64, pin: true) }
            var samples: Samples = [:]
            for owner in 0..<Int(random.next() % 64) + 1 where random.next() % 4 != 0 {
                samples[owner] = random.next() % 8 == 0
                    ? OwnerSample(bytes: .max, requests: UInt32(truncatingIfNeeded: random.next()), depth: .max)
                    : sample(UInt32(random.next() % 400), requests: UInt32(random.next() % 10), depth: 0)
            }
            guard !samples.isEmpty else { continue }
            window(&policy, samples)
            let least = min(10, (1000 - pinned) / UInt32(samples.count))
            let owners = samples.keys.sorted().map { owner in
                (owner: owner, target: policy.target(of: owner), wants: max(min(policy.demand(of: owner) / 100, 900), least))
            }
            let sum = owners.reduce(0) { $0 + $1.target }
            #expect(sum + pinned <= 1000, "seed \(seed), round \(round)")
            for one in owners {
                #expect(one.target >= least, "seed \(seed), round \(round): \(one)")
                #expect(one.target <= one.wants, "seed \(seed), round \(round): \(one)")
                guard one.target + 2 < one.wants else { continue }
                #expect(sum + pinned + UInt32(owners.count) >= 1000, "seed \(seed), round \(round): \(one) goes short for nothing")
                #expect(owners.allSatisfy { $0.target <= one.target + 1 }, "seed \(seed), round \(round): \(one) goes short")
            }
        }
    }

    @Test func parametersOutOfRangeAreRefused() {
        func isValid(_ change: (inout PolicyParameters) -> Void) -> Bool {
            var parameters = PolicyParameters()
            change(&parameters)
            return PolicyEngine.isInRange(parameters)
        }
        #expect(isValid { _ in })
        #expect(!isValid { $0.policy = 9 })
        #expect(!isValid { $0.periodWindows = 0 })
        #expect(!isValid { $0.periodWindows = 100_001 })
        #expect(!isValid { $0.hysteresisPermille = 1001 })
        #expect(!isValid { $0.mostPermille = 1001 })
        #expect(!isValid { $0.leastPermille = 901 })
        #expect(!isValid { $0.smoothing = 0 })
        #expect(!isValid { $0.smoothing = 257 })
        #expect(!isValid { $0.headroomPermille = 10_001 })
        #expect(!isValid { $0.idleWindows = 0 })
    }
}
