import AdminProtocol

/// What the windows of an epoch did for one owner.
struct OwnerOutcome: BitwiseCopyable {
    /// Carried, in units of 256 bytes, and requests that were done.
    var carried: UInt32 = 0
    var served: UInt32 = 0
    /// Waited when the epoch began, in the same units.
    var waiting: UInt32 = 0
    /// Requests whose latency was looked at, and the sum of their ``Utility/latency``, in 1/256.
    var requests: UInt32 = 0
    var promptness: UInt32 = 0
    /// What it asked of the link, in units of the ``ServiceModel``: known when the epoch ends.
    var load: UInt32 = 0

    /// Takes in what a window carried. All sums stop at their greatest value.
    @inline(__always) mutating func add(bytes: UInt32, requests: UInt32) {
        carried = Self.sum(carried, bytes >> 8 &+ (bytes & 255 == 0 ? 0 : 1))
        served = Self.sum(served, requests)
    }

    /// Takes in a window's latency.
    mutating func add(_ sample: OwnerSample, targetBucket: UInt32) {
        // In each bucket above the target's requests take twice as long.
        let late = UInt32(sample.latencyBucket) &- min(UInt32(sample.latencyBucket), targetBucket)
        requests = Self.sum(requests, sample.requests)
        let (product, overflow) = sample.requests.multipliedReportingOverflow(by: 256 >> min(late, 31))
        promptness = Self.sum(promptness, overflow ? .max : product)
    }

    static func sum(_ left: UInt32, _ right: UInt32) -> UInt32 {
        let (sum, overflow) = left.addingReportingOverflow(right)
        return overflow ? .max : sum
    }
}

extension PolicyEngine {
    /// The bucket, log2 of cycles, that the owner's latency target is in.
    func targetBucket(of owner: Int) -> UInt32 { bucket(of: contexts[owner][.latencyTarget]) }

    private func bucket(of microseconds: UInt32) -> UInt32 {
        let (cycles, overflow) = microseconds.multipliedReportingOverflow(by: cyclesPerMicrosecond)
        return overflow ? 31 : 31 &- UInt32(truncatingIfNeeded: max(cycles, 1).leadingZeroBitCount)
    }

    /// What waits now, in units of 256 bytes.
    func waiting(of owner: Int) -> UInt32 {
        let (waiting, overflow) = contexts[owner][.depth].multipliedReportingOverflow(by: states[owner].requestBytes)
        return (overflow ? .max : waiting) >> 8
    }

    /// What the link could have carried in the epoch, in units of 256 bytes.
    private var capacity: UInt32 { UInt32(clamping: (UInt64(linkBytes) &* UInt64(selection.windows)) >> 8) }

    /// Finds out what everybody asked for in the epoch that ends: what arrived, and what waited from before. A queue that stands takes
    /// whatever it gets.
    mutating func measureLoads() {
        measureRequestCost()
        let perUnit = max(capacity / ServiceModel.whole, 1), cost = selection.requestCost >> 8
        var rest = members
        while let owner = rest.popFirst() {
            let outcome = outcomes[owner], bytes = OwnerOutcome.sum(outcome.carried, waiting(of: owner))
            let (costs, overflow) = OwnerOutcome.sum(outcome.served, contexts[owner][.depth]).multipliedReportingOverflow(by: cost)
            let asked = OwnerOutcome.sum(bytes, overflow ? .max : costs)
            outcomes[owner].load = stands(owner) ? ServiceModel.whole : min(asked / perUnit &+ 1, ServiceModel.whole)
        }
    }

    private func stands(_ owner: Int) -> Bool {
        let before = outcomes[owner].waiting, waiting = waiting(of: owner)
        return before != 0 && waiting != 0 && waiting >= before / 2
    }

    /// What a request takes of the link beside its bytes: while a queue stands that nothing else holds up the link is never idle, and what
    /// it doesn't carry is at most that. The least that was seen, which is forgotten slowly.
    private mutating func measureRequestCost() {
        var carried: UInt32 = 0, served: UInt32 = 0, isBusy = false
        var rest = members
        while let owner = rest.popFirst() {
            carried = OwnerOutcome.sum(carried, outcomes[owner].carried)
            served = OwnerOutcome.sum(served, outcomes[owner].served)
            isBusy = isBusy || (stands(owner) && !contexts[owner].isHeldUpElsewhere)
        }
        guard isBusy, served != 0 else { return }
        let lost = (capacity &- min(carried, capacity)) / served
        let cost = min(lost, PolicySelection.greatestRequestCost >> 8) &<< 8
        let known = selection.requestCost
        selection.requestCost = known == 0 ? cost : min(cost, known &+ known >> 6 &+ 1)
    }

    /// The utility that the epoch had; nil if nobody did anything.
    func measuredUtility(_ objective: Objective) -> Utility? {
        guard selection.windows != 0, !members.isEmpty else { return nil }
        let capacity = capacity
        var weights: UInt32 = 0, wanted: UInt64 = 0, carried: UInt64 = 0
        var rest = members
        while let owner = rest.popFirst() {
            weights &+= weight(of: owner)
            carried &+= UInt64(outcomes[owner].carried)
            wanted &+= UInt64(outcomes[owner].carried) &+ UInt64(waiting(of: owner))
        }
        guard wanted != 0 else { return nil }
        var utility = Utility()
        utility.throughput = ratio(UInt32(clamping: carried), min(capacity, UInt32(clamping: wanted)))
        let part = capacity / weights
        var promptness: UInt32 = 0, prompt: UInt32 = 0
        rest = members
        while let owner = rest.popFirst() {
            let outcome = outcomes[owner], weight = weight(of: owner)
            let (rightful, overflow) = part.multipliedReportingOverflow(by: weight)
            let due = min(outcome.waiting, overflow ? .max : rightful)
            if due != 0 { utility.fairness = min(utility.fairness, ratio(outcome.carried, due)) }
            // Who had requests waiting, and saw none of them done, waits for them still.
            guard isSensitive(owner), outcome.requests != 0 || (due != 0 && outcome.carried == 0) else { continue }
            promptness &+= (outcome.requests == 0 ? 0 : outcome.promptness / outcome.requests) &* weight
            prompt &+= weight
        }
        if prompt != 0 { utility.latency = min((promptness / prompt) &<< 8, Utility.one) }
        return utility
    }

    /// Begins a new epoch.
    mutating func forgetOutcomes() {
        selection.windows = 0
        selection.targetBucket = bucket(of: objective.target)
        for owner in 0..<Self.owners { outcomes[owner] = OwnerOutcome() }
        var rest = members
        while let owner = rest.popFirst() { outcomes[owner].waiting = waiting(of: owner) }
    }

    /// `part` of `whole`, at most 1, in 1/65536.
    private func ratio(_ part: UInt32, _ whole: UInt32) -> UInt32 {
        guard part < whole else { return Utility.one }
        let shift = UInt32(truncatingIfNeeded: max(16 &- whole.leadingZeroBitCount, 0))
        return min(((part &>> shift) &<< 16) / max(whole &>> shift, 1), Utility.one)
    }
}
