import AdminProtocol

/// How well owners are served. 65,536 is the best there can be.
public struct Utility: Equatable, Sendable, BitwiseCopyable {
    public static let one: UInt32 = 65_536

    /// Owners with small requests, or with a latency target: the target over the latency of 99 of 100 requests, at most 1; on average.
    public var latency: UInt32 = one
    /// Of the bytes that are wanted, and that the link can carry, those that are carried.
    public var throughput: UInt32 = one
    /// Of what an owner wants, up to its part of the link by weight, what is carried; of the owner that is worst off.
    public var fairness: UInt32 = one

    public init() {}

    /// The mean of the terms by the objective's weights.
    public func value(_ objective: Objective) -> UInt32 {
        (latency &* objective.latency &+ throughput &* objective.throughput &+ fairness &* objective.fairness)
            / (objective.latency &+ objective.throughput &+ objective.fairness)
    }
}

/// What a selection is after: how much each term of the ``Utility`` counts.
public struct Objective: Equatable, Sendable {
    /// 0...255, not all of them 0.
    public var latency: UInt32
    public var throughput: UInt32
    public var fairness: UInt32
    /// Latency that is good enough for owners for which the host wants none in particular, in microseconds, 1...65,535.
    public var target: UInt32

    /// From the values that tune `adaptive`: what is out of range counts as the nearest that isn't; nothing but zeros as all alike.
    public init(_ values: TuningValues) {
        latency = min(values.value0, 255)
        throughput = min(values.value1, 255)
        fairness = min(values.value2, 255)
        target = max(min(values.value3, 65_535), 1)
        if latency | throughput | fairness == 0 { (latency, throughput, fairness) = (1, 1, 1) }
    }
}

/// What an owner has of the link: its guarantee in 1/1000, and the boost of its weight where what is left is lent.
struct LinkShare: BitwiseCopyable {
    var permille: UInt32 = 0
    var boost: UInt32 = 0
}

/// Latency with a link that serves guarantees first and lends what is left by weight.
///
/// The model is coarse, but the same for all allocations; what it always gets wrong, the learner takes back.
struct ServiceModel {
    /// The whole link. Shares and demands are in these units, finer than 1/1000, so that small owners count.
    static let whole: UInt32 = 8192

    let linkBytesPerMicrosecond: UInt32
    /// Microseconds for which a queue that grows in the epoch has grown on average, at most 100,000.
    let halfEpoch: UInt32
    /// What all owners move under their guarantees, and what that leaves.
    let spare: UInt32
    /// Weights of those that want more than their guarantee.
    let wanting: UInt32
    /// What is left for those that want more than their guarantee and their part by weight, and their weights.
    var left: UInt32
    var greedy: UInt32

    static func units(permille: UInt32) -> UInt32 { (min(permille, 1000) &* 8389) >> 10 }

    init(linkBytesPerMicrosecond: UInt32, epochMicroseconds: UInt32, spare: UInt32, wanting: UInt32) {
        self.linkBytesPerMicrosecond = linkBytesPerMicrosecond
        halfEpoch = min(epochMicroseconds / 2, 100_000)
        (self.spare, self.wanting, left, greedy) = (spare, wanting, spare, wanting)
    }

    /// The part by weight of what is left.
    func part(_ weight: UInt32) -> UInt32 { left &* weight / max(greedy, 1) }

    /// What the link carries for an owner.
    func carried(guarantee: UInt32, demand: UInt32, weight: UInt32) -> UInt32 {
        demand <= guarantee ? demand : min(demand, guarantee &+ part(weight))
    }

    /// What the link gives an owner when it asks: its guarantee, or more if others leave it.
    func rate(guarantee: UInt32, demand: UInt32, weight: UInt32) -> UInt32 {
        let others = demand > guarantee ? wanting : wanting &+ weight
        let lent = min(demand, guarantee) &+ spare &* weight / max(others, 1)
        return max(guarantee, lent, carried(guarantee: guarantee, demand: demand, weight: weight))
    }

    /// The target over the latency of 99 of 100 requests, at most 1, in 1/65536.
    /// - Parameters:
    ///   - waiting: in units of 256 bytes.
    func promptness(rate: UInt32, demand: UInt32, requestBytes: UInt32, waiting: UInt32, target: UInt32) -> UInt32 {
        let microseconds: UInt32
        if rate > demand {
            // Who stays within its guarantee is served at once; else it waits until that is due again. In an M/M/1 queue of load p at
            // the guaranteed rate, 99 of 100 wait no longer than ln(100p) / (service rate - arrival rate); here that logarithm is 8p,
            // at most 4, which is near it between 1/10 and 1.
            let logarithm = min((demand &<< 6) / rate, 32)
            microseconds = ((min(requestBytes, 131_071) &* logarithm) &<< 10) / max(linkBytesPerMicrosecond &* (rate &- demand), 1)
        } else {
            // Little's law: what waits takes as long as it takes to serve it. It becomes more, unless the queue stands as it is.
            let amount = min(waiting, .max >> 8) &<< 8
            let grown = demand < Self.whole ? halfEpoch &* (demand &- rate) / max(rate, 1) : 0
            microseconds = OwnerOutcome.sum(amount / max((linkBytesPerMicrosecond &* rate) >> 13, 1), grown)
        }
        return microseconds <= target ? Utility.one : (target &<< 16) / microseconds
    }
}

extension PolicyEngine {
    /// Mean bytes of the largest requests of an owner that counts as sensitive to latency.
    static let smallRequest: UInt32 = 65_536

    var objective: Objective { Objective(registry.values(of: PolicyNumber.adaptive)) }

    /// Whether somebody waits for this owner's requests.
    func isSensitive(_ owner: Int) -> Bool {
        contexts[owner][.latencyTarget] != 0 || states[owner].requestBytes <= Self.smallRequest
    }

    func latencyTarget(of owner: Int, _ objective: Objective) -> UInt32 {
        let target = contexts[owner][.latencyTarget]
        return target == 0 ? objective.target : min(target, 65_535)
    }

    func weight(of owner: Int) -> UInt32 { max(min(contexts[owner][.ownerWeight], PolicyContext.heaviest), 1) }

    /// The owner's weight where the link lends what is left.
    private func weight(of owner: Int, _ share: LinkShare) -> UInt32 { weight(of: owner) &<< min(share.boost, PolicyContext.greatestBoost) }

    /// What the link does with shares for the load that the epoch had.
    private func model(_ shares: Table<LinkShare>) -> ServiceModel {
        var kept: UInt32 = 0, wanting: UInt32 = 0
        var greedy = OwnerSet()
        var rest = members
        while let owner = rest.popFirst() {
            let demand = outcomes[owner].load, guarantee = ServiceModel.units(permille: shares[owner].permille)
            kept &+= min(demand, guarantee)
            guard demand > guarantee else { continue }
            wanting &+= weight(of: owner, shares[owner])
            greedy.insert(owner)
        }
        let whole = ServiceModel.whole
        var model = ServiceModel(
            linkBytesPerMicrosecond: max(linkBytes / max(windowMicroseconds, 1), 1),
            epochMicroseconds: UInt32(clamping: UInt64(selection.windows) &* UInt64(windowMicroseconds)),
            spare: whole &- min(kept, whole), wanting: wanting)
        // Whoever wants less than his part leaves the rest to the others, which may satisfy more of them. What a few rounds don't find
        // is little.
        for _ in 0..<Self.modelRounds {
            var satisfied = OwnerSet()
            var left = model.left, weights = model.greedy
            rest = greedy
            while let owner = rest.popFirst() {
                let more = outcomes[owner].load &- ServiceModel.units(permille: shares[owner].permille)
                let weight = weight(of: owner, shares[owner])
                guard more <= model.part(weight) else { continue }
                satisfied.insert(owner)
                left &-= more
                weights &-= weight
            }
            (model.left, model.greedy) = (left, weights)
            greedy = greedy.subtracting(satisfied)
            if satisfied.isEmpty || greedy.isEmpty { break }
        }
        return model
    }

    private static var modelRounds: Int { 2 }

    /// The utility that shares of the link would have had in the epoch that ends.
    func predictedUtility(_ shares: Table<LinkShare>, _ objective: Objective) -> Utility {
        let model = model(shares)
        let whole = ServiceModel.whole
        var weights: UInt32 = 0
        var rest = members
        while let owner = rest.popFirst() { weights &+= weight(of: owner) }
        var utility = Utility()
        let cost = selection.requestCost
        var carried: UInt32 = 0, wanted: UInt32 = 0, promptness: UInt32 = 0, prompt: UInt32 = 0
        rest = members
        while let owner = rest.popFirst() {
            let weight = weight(of: owner), boosted = self.weight(of: owner, shares[owner]), demand = outcomes[owner].load
            let guarantee = ServiceModel.units(permille: shares[owner].permille)
            let moved = model.carried(guarantee: guarantee, demand: demand, weight: boosted)
            let size = min(states[owner].requestBytes, 131_071)
            carried &+= moved &* size / (size &+ cost)
            wanted &+= demand &* size / (size &+ cost)
            let rightful = min(demand, whole &* weight / weights)
            if rightful != 0 { utility.fairness = min(utility.fairness, (min(moved, rightful) &<< 16) / rightful) }
            guard isSensitive(owner) else { continue }
            let (costs, overflow) = contexts[owner][.depth].multipliedReportingOverflow(by: cost >> 8)
            let waiting = OwnerOutcome.sum(waiting(of: owner), overflow ? .max : costs)
            let part = model.promptness(
                rate: model.rate(guarantee: guarantee, demand: demand, weight: boosted), demand: demand,
                requestBytes: size &+ cost, waiting: waiting, target: latencyTarget(of: owner, objective))
            promptness &+= (part >> 8) &* weight
            prompt &+= weight
        }
        if prompt != 0 { utility.latency = min((promptness / prompt) &<< 8, Utility.one) }
        let possible = min(wanted, whole)
        if possible != 0 { utility.throughput = min((min(carried, whole) &<< 16) / possible, Utility.one) }
        return utility
    }
}
