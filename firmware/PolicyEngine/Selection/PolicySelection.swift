import AdminProtocol

/// Which policy decides, why, and what became of it.
public struct PolicySelection: BitwiseCopyable, Equatable, Sendable {
    /// Decisions in an epoch: after so many what they did is measured, and the policy chosen anew.
    public static let decisionsPerEpoch: UInt32 = 8
    /// Epochs in which an uploaded policy has to be found good before it may be chosen.
    static let proofNeeded: UInt8 = 16
    /// Doublings of the time for which a policy that has failed isn't tried again, at most; and epochs without trouble that take one back.
    static let greatestBackoff: UInt8 = 6
    static let goodEpochs: UInt16 = 32

    /// Bytes that a request may be thought to cost beside its own.
    static let greatestRequestCost: UInt32 = 131_072

    /// Policies that it can be allowed to choose.
    public static let choosable: UInt32 = 0b1111_1110

    /// Epochs since the start, wrapping; decisions and windows in the present one.
    public var epoch: UInt32 = 0
    public var decisions: UInt32 = 0
    public var windows: UInt32 = 0
    /// Bucket of the latency that is good enough (``Objective/target``).
    public var targetBucket: UInt32 = 31
    /// Policies that `adaptive` may choose, one bit each.
    public var candidates: UInt32 = Self.choosable
    /// The policy in force, and the one that was in the epoch before.
    public var inForce = PolicyNumber.fair
    public var before = PolicyNumber.fair
    public var why = PolicyReason.selected
    /// The present epoch is the first of the policy in force.
    public var isNew = true
    /// An allocation was committed in the present epoch.
    public var hasChanged = false
    /// Epochs in a row that looked like harm, and in which the fallback would have done better.
    public var suspicions: UInt8 = 0
    public var lags: UInt8 = 0
    /// The latest decision takes back what the epoch has done.
    public var isUndoing = false
    /// Of the latest epoch that was measured: the utility and its terms; utility of the one before.
    public var measured: UInt32 = 0
    public var terms = Utility()
    public var measuredBefore: UInt32 = 0
    public var learner = PolicyLearner()
    /// Bytes that the link could carry in the time that a request takes beside its own bytes.
    public var requestCost: UInt32 = 0
    /// Changes of policy, allocations undone, times that the fallback had to take over; wrapping.
    public var switches: UInt32 = 0
    public var undone: UInt32 = 0
    public var guardRails: UInt32 = 0

    public init() {}

    /// Whether a policy may not be chosen yet.
    func isBlocked(_ record: PolicyRecord) -> Bool { Int32(bitPattern: record.blockedUntil &- epoch) > 0 }
}

extension PolicyEngine {
    /// The policy that is gone back to: what others do is measured by it.
    static var fallback: UInt32 { PolicyNumber.fair }

    /// What is known of a policy.
    public func record(of policy: UInt32) -> PolicyRecord { records[Int(policy)] }

    /// The numbers of the policies that there are, one bit each; `adaptive` is none, it chooses among them.
    public func getAvailablePolicies() -> UInt32 { registry.numbers & ~(1 << PolicyNumber.adaptive) }

    /// The policy that decides this time: the one that the host has selected, or the best one if it has selected `adaptive`. One that
    /// has done harm gives way for a time. Call it once in each decision, after `predictResourceNeeds`.
    /// - Returns: its number; `fixed`: the allocation stays as it is, or what the epoch has done is undone.
    public mutating func selectBestPolicy(_ available: UInt32) -> UInt32 {
        selection.isUndoing = false
        selection.decisions &+= 1
        if selection.decisions >= PolicySelection.decisionsPerEpoch { endEpoch(available) }
        if parameters.policy != PolicyNumber.adaptive {
            let wanted = available >> parameters.policy & 1 != 0 ? parameters.policy : Self.fallback
            if !selection.isBlocked(records[Int(wanted)]) { putInForce(wanted, .selected) }
        } else if available >> selection.inForce & 1 == 0 {
            putInForce(Self.fallback, .gone)
        }
        // What was held for others is no longer held.
        if isHeld, members != membersHeld { records[Int(selection.inForce)].blockedUntil = selection.epoch }
        return selection.isUndoing || isHeld ? PolicyNumber.fixed : selection.inForce
    }

    /// The fallback itself has done harm: for a time nothing changes.
    var isHeld: Bool { selection.isBlocked(records[Int(selection.inForce)]) }

    /// Why the latest decision is what it is.
    public var reason: PolicyReason { selection.isUndoing ? .undone : isHeld ? .held : selection.why }

    mutating func putInForce(_ policy: UInt32, _ why: PolicyReason) {
        guard policy != selection.inForce else { return }
        selection.inForce = policy
        selection.why = why
        selection.isNew = true
        selection.switches &+= 1
    }

    // MARK: The end of an epoch

    /// Measures what the epoch's decisions have done, learns from it, undoes harm, and chooses.
    private mutating func endEpoch(_ available: UInt32) {
        let policy = selection.inForce
        if let terms = measuredUtility(objective) { assess(policy, terms, available) }
        selection.isNew = selection.inForce != policy
        beginEpoch(after: policy)
    }

    private mutating func assess(_ policy: UInt32, _ terms: Utility, _ available: UInt32) {
        let objective = objective, measured = terms.value(objective)
        if selection.suspicions == 0 { selection.measuredBefore = selection.measured }
        (selection.measured, selection.terms) = (measured, terms)

        measureLoads()
        let isExperienced = selection.learner.epochs == PolicyLearner.warmUp
        for number in 0..<records.count { records[number].experience &-= records[number].experience >> 6 }
        var record = records[Int(policy)]
        suggestSharesInForce()
        let predicted = predictedUtility(shares, objective).value(objective)
        selection.learner.learn(&record, measured: measured, predicted: predicted, isNew: selection.isNew)
        record.good &+= 1
        if record.good == PolicySelection.goodEpochs {
            record.good = 0
            record.backoff -= min(record.backoff, 1)
        }
        records[Int(policy)] = record

        // One epoch may be chance: what it had changed is kept in mind for another one.
        selection.suspicions = isExperienced && hasDoneHarm(predicted, objective) ? selection.suspicions &+ 1 : 0
        if selection.suspicions == 2 {
            selection.suspicions = 0
            undo(policy)
        } else if parameters.policy == PolicyNumber.adaptive {
            choose(among: available & selection.candidates, predicted, objective, isExperienced)
        }
    }

    /// What is in force now is what the next epoch is compared with, unless the one before is still under suspicion.
    /// - Parameter policy: the one that was in force.
    mutating func beginEpoch(after policy: UInt32) {
        selection.epoch &+= 1
        selection.decisions = 0
        forgetOutcomes()
        guard selection.suspicions == 0 else { return }
        selection.before = policy
        selection.hasChanged = false
        for owner in 0..<Self.owners {
            for resource in Resource.all { grantsBefore[owner &* Resource.count &+ resource.rawValue] = contexts[owner][.grant, resource] }
            boostsBefore[owner] = contexts[owner][.boost]
        }
        membersBefore = members
    }

    /// Whether the owners would be served better, now, with the allocation that the epoch has changed.
    /// - Parameter predicted: what the model says of the allocation in force.
    private func hasDoneHarm(_ predicted: UInt32, _ objective: Objective) -> Bool {
        let bar = selection.measuredBefore &- selection.measuredBefore / 20
        guard selection.hasChanged, selection.measured < bar, membersBefore == members else { return false }
        for owner in 0..<Self.owners {
            shares[owner] = LinkShare(permille: grantsBefore[owner &* Resource.count], boost: boostsBefore[owner])
        }
        let before = predictedUtility(shares, objective).value(objective)
        let expected = selection.learner.expected(records[Int(selection.before)], predicted: before)
        return selection.learner.isWorse(selection.measured, than: expected, predictions: (predicted, before))
    }

    /// Makes targets of what was in force when the epoch began.
    private mutating func undo(_ policy: UInt32) {
        var rest = concerned
        while let owner = rest.popFirst() {
            for place in owner &* Resource.count..<(owner &+ 1) &* Resource.count { targets[place] = grantsBefore[place] }
            boosts[owner] = boostsBefore[owner]
        }
        selection.undone &+= 1
        selection.isUndoing = true
        membersHeld = members
        block(policy)
        putInForce(Self.fallback, .undone)
    }

    /// Keeps a policy from being chosen, each time for longer.
    mutating func block(_ policy: UInt32) {
        var record = records[Int(policy)]
        record.blockedUntil = selection.epoch &+ 1 &+ 4 &<< UInt32(record.backoff)
        record.backoff = min(record.backoff &+ 1, PolicySelection.greatestBackoff)
        record.good = 0
        record.proof = 0
        record.failures &+= 1
        records[Int(policy)] = record
    }

    // MARK: Choice

    /// Scores every policy by what it would do now, and chooses.
    /// - Parameter predicted: what the model says of the allocation in force.
    private mutating func choose(among available: UInt32, _ predicted: UInt32, _ objective: Objective, _ isExperienced: Bool) {
        var all: UInt32 = 0
        for number in 0..<records.count { all &+= records[number].experience }
        for number in 1..<PolicyNumber.adaptive where available >> number & 1 != 0 || number == Self.fallback {
            score(number, objective, all)
        }
        let fallback = records[Int(Self.fallback)]
        let bar = fallback.expected &- fallback.expected / 20
        for number in PolicyNumber.uploaded where available >> number & 1 != 0 {
            let isGood = records[Int(number)].predicted != 0 && records[Int(number)].expected >= bar
            records[Int(number)].proof = isGood ? min(records[Int(number)].proof &+ 1, PolicySelection.proofNeeded) : 0
        }
        let inForce = selection.inForce
        let predictions = (predicted, fallback.predicted)
        let lags = inForce != Self.fallback && isExperienced
            && selection.learner.isWorse(selection.measured, than: fallback.expected, predictions: predictions)
        selection.lags = lags ? selection.lags &+ 1 : 0
        if selection.lags == 2 {
            selection.lags = 0
            selection.guardRails &+= 1
            block(inForce)
            return putInForce(Self.fallback, .guardRail)
        }
        var best = Self.fallback
        var bestScore: UInt32 = 0
        for number in 1..<PolicyNumber.adaptive where available >> number & 1 != 0 && mayBeChosen(number, bar) {
            let score = records[Int(number)].score &+ (number == inForce ? PolicyLearner.inertia : 0)
            if score > bestScore { (best, bestScore) = (number, score) }
        }
        let isBest = records[Int(best)].expected >= records[Int(inForce)].expected
        putInForce(best, isBest ? .best : .trial)
    }

    /// Whether `adaptive` may choose the policy when it isn't blocked and isn't bad.
    public func isCandidate(_ number: UInt32) -> Bool {
        guard (getAvailablePolicies() & selection.candidates) >> number & 1 != 0 else { return false }
        return !PolicyNumber.uploaded.contains(number) || records[Int(number)].proof >= PolicySelection.proofNeeded
    }

    private func mayBeChosen(_ number: UInt32, _ bar: UInt32) -> Bool {
        let record = records[Int(number)]
        guard isCandidate(number), !selection.isBlocked(record) else { return false }
        return number == Self.fallback || record.expected >= bar
    }

    /// What a policy would do now, in the shadow: nothing of it stays but its scores. One that fails has none.
    private mutating func score(_ policy: UInt32, _ objective: Objective, _ all: UInt32) {
        var record = records[Int(policy)]
        (record.predicted, record.expected, record.score) = (0, 0, 0)
        if registry.evaluateInShadow(policy, contexts, concerned) == .none {
            divide()
            suggestSharesInForce()
            var rest = concerned
            while let owner = rest.popFirst() { shares[owner] = LinkShare(permille: target(of: owner), boost: boost(of: owner)) }
            record.predicted = predictedUtility(shares, objective).value(objective)
            record.expected = selection.learner.expected(record, predicted: record.predicted)
            record.score = record.expected &+ PolicyLearner.bonus(record.experience, of: all)
        }
        records[Int(policy)] = record
    }

    private func suggestSharesInForce() {
        for owner in 0..<Self.owners {
            shares[owner] = LinkShare(permille: contexts[owner][.grant, .bandwidth], boost: contexts[owner][.boost])
        }
    }

    // MARK: What becomes of it

    /// Leaves the allocation as it is, but for what is being undone.
    /// - Returns: the largest change, as the division does; what is undone is so whatever it is.
    mutating func keepAllocation() -> UInt32 {
        changing = OwnerSet()
        var rest = concerned
        while let owner = rest.popFirst() {
            for resource in Resource.all {
                let place = owner &* Resource.count &+ resource.rawValue, now = contexts[owner][.grant, resource]
                if !selection.isUndoing { targets[place] = now }
                if targets[place] != now { changing.insert(owner) }
            }
            if !selection.isUndoing { boosts[owner] = contexts[owner][.boost] }
            if boosts[owner] != contexts[owner][.boost] { changing.insert(owner) }
        }
        return changing.isEmpty ? 0 : 1000
    }
}
