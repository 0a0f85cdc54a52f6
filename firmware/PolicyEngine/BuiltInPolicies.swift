import AdminProtocol

/// The policies that are part of the firmware. Each turns what is known of the owners into claims; its four values tune it.
enum BuiltInPolicies {
    /// The values that a policy begins with.
    static func values(_ number: UInt32) -> TuningValues {
        switch number {
        // Mean bytes of the largest requests of an owner that counts as sensitive; the most of the link that one is preferred with, in
        // 1/1000; how many times its weight counts then; room for bursts, in 1/1000 of its need.
        case PolicyNumber.latencyFirst: TuningValues(65_536, 250, 16, 24_000)
        // Mean bytes of the smallest requests of an owner that is preferred; how many times its weight counts then; most of its need
        // that one gets which isn't, in 1/1000.
        case PolicyNumber.throughputFirst: TuningValues(65_536, 8, 1000)
        // Weights of latency, throughput and fairness; latency that is good enough, in microseconds (`Objective`).
        case PolicyNumber.adaptive: TuningValues(2, 1, 1, 500)
        default: TuningValues()
        }
    }

    static func evaluate(_ number: UInt32, _ contexts: PolicyContexts, _ owners: OwnerSet, _ values: TuningValues) {
        switch number {
        case PolicyNumber.latencyFirst: latencyFirst(contexts, owners, values)
        case PolicyNumber.throughputFirst: throughputFirst(contexts, owners, values)
        default: DominantResourceFairness(contexts, owners).fill()
        }
    }

    /// Who sends small requests, or is to have a latency, waits for nobody: it comes first with what it needs and room for bursts. But
    /// only to a certain share of the link, if no latency is asked for: what it moves beyond that is no longer what people wait for, and
    /// counts like others'. Room for bursts costs the others nothing while there is none: the hardware lends it.
    private static func latencyFirst(_ contexts: PolicyContexts, _ owners: OwnerSet, _ values: TuningValues) {
        var rest = owners
        while let owner = rest.popFirst() {
            let context = contexts[owner], need = context[.need, .bandwidth], target = context[.latencyTarget]
            if target == 0 {
                guard context[.requestBytes] != 0, context[.requestBytes] <= values.value0, need <= values.value1 else { continue }
            } else if context[.isActive] != 0 {
                setAside(context, isLate: context[.latency99] > target)
            }
            context[.weight] = weight(context, times: values.value2)
            context[.claim, .bandwidth] = min(need &+ need &* min(values.value3, 100_000) / 1000, max(values.value1, need))
        }
    }

    /// Who is late for want of cores or memory gets some of its own, even while they aren't scarce, and then keeps them.
    private static func setAside(_ context: PolicyContext, isLate: Bool) {
        func claim(_ resource: Resource, _ bound: UInt32) {
            guard (isLate && context[.bottleneck] == bound) || context[.grant, resource] != 0 else { return }
            context[.claim, resource] = max(context[.need, resource], context[.expected, resource] &+ 1)
        }
        claim(.cores, PolicyContext.boundByCores)
        claim(.memory, PolicyContext.boundByMemory)
    }

    /// Large requests cost the device least for each byte: who sends them goes first.
    private static func throughputFirst(_ contexts: PolicyContexts, _ owners: OwnerSet, _ values: TuningValues) {
        var rest = owners
        while let owner = rest.popFirst() {
            let context = contexts[owner]
            if context[.requestBytes] >= values.value0 {
                context[.weight] = weight(context, times: values.value1)
            } else {
                context[.claim, .bandwidth] = context[.need, .bandwidth] &* min(values.value2, 1000) / 1000
            }
        }
    }

    private static func weight(_ context: PolicyContext, times factor: UInt32) -> UInt32 {
        let (product, overflow) = context[.weight].multipliedReportingOverflow(by: factor)
        return overflow ? PolicyContext.heaviest : min(max(product, 1), PolicyContext.heaviest)
    }
}

/// Dominant resource fairness (Ghodsi et al., NSDI 2011) by progressive filling: every owner's resources grow in the proportions of its
/// needs, and the greatest of its shares, by weight, keeps step with everybody else's, until a resource is used up; who needs that one
/// stops there, and the others go on.
struct DominantResourceFairness {
    private let contexts: PolicyContexts
    private var growing: OwnerSet
    private let owners: OwnerSet
    /// The level at which a dominant share is all there is.
    private static let whole: UInt32 = 65_536

    init(_ contexts: PolicyContexts, _ owners: OwnerSet) {
        self.contexts = contexts
        self.owners = owners
        growing = owners
    }

    /// Replaces the claims of those whose needs can't all be met.
    consuming func fill() {
        // If the link alone is short the allocator's division is the same, and finer.
        guard isMixed else { return }
        var level: UInt32 = 0
        // Each round uses a resource up, or meets all needs.
        for _ in 0..<Resource.count where !growing.isEmpty {
            var top: UInt32 = Self.whole
            var low = level
            while low < top {
                let middle = (low &+ top &+ 1) >> 1
                if isFeasible(at: middle) { low = middle } else { top = middle &- 1 }
            }
            level = low
            var rest = growing
            while let owner = rest.popFirst() { claim(owner, at: level) }
            guard level < Self.whole else { return }
            stop(at: level)
        }
    }

    /// Whether any resource but the link is needed by anybody, and some resource is short.
    private var isMixed: Bool {
        guard let first else { return false }
        var isMixed = false, isShort = false
        for resource in 0..<Resource.count {
            let need = PolicyContext.Field.need.rawValue &+ resource
            var sum: UInt32 = 0
            var rest = owners
            while let owner = rest.popFirst() { sum &+= min(contexts[owner].words[need], PolicyContext.greatestClaim) }
            if resource != Resource.bandwidth.rawValue, sum != 0 { isMixed = true }
            if sum > contexts[first].words[PolicyContext.Field.capacity.rawValue &+ resource] { isShort = true }
        }
        return isMixed && isShort
    }

    private var first: Int? {
        var rest = owners
        return rest.popFirst()
    }

    /// The greatest of the shares that the owner would have with all that it needs, in 1/65536, divided by its weight.
    private func dominant(_ context: PolicyContext) -> UInt32 {
        var greatest: UInt32 = 0
        for resource in Resource.all where context[.capacity, resource] != 0 {
            let need = min(context[.need, resource], 65_535)
            greatest = max(greatest, (need << 16) / context[.capacity, resource])
        }
        return greatest / max(context[.weight], 1)
    }

    /// Units of a resource that an owner has when dominant shares are at a level.
    private func units(_ context: PolicyContext, _ resource: Resource, _ dominant: UInt32, at level: UInt32) -> UInt32 {
        let need = min(context[.need, resource], 65_535)
        guard dominant > level else { return need }
        // At most 65535 x 65536.
        return need &* level / dominant
    }

    private func isFeasible(at level: UInt32) -> Bool {
        var used: (UInt32, UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0, 0)
        var capacities = used
        var rest = owners
        while let owner = rest.popFirst() {
            let context = contexts[owner]
            let dominant = dominant(context), grows = growing.contains(owner)
            func amount(_ resource: Resource) -> UInt32 {
                grows ? units(context, resource, dominant, at: level) : context[.claim, resource]
            }
            used = (
                used.0 &+ amount(.bandwidth), used.1 &+ amount(.cores), used.2 &+ amount(.memory), used.3 &+ amount(.gpu),
                used.4 &+ amount(.fpga))
            capacities = (
                context[.capacity, .bandwidth], context[.capacity, .cores], context[.capacity, .memory], context[.capacity, .gpu],
                context[.capacity, .fpga])
        }
        return used.0 <= capacities.0 && used.1 <= capacities.1 && used.2 <= capacities.2 && used.3 <= capacities.3
            && used.4 <= capacities.4
    }

    private func claim(_ owner: Int, at level: UInt32) {
        let context = contexts[owner]
        let dominant = dominant(context)
        for resource in Resource.all { context[.claim, resource] = units(context, resource, dominant, at: level) }
    }

    /// Takes out those who need a resource of which the next level would take more than there is.
    private mutating func stop(at level: UInt32) {
        var stopped = OwnerSet()
        for resource in Resource.all {
            var sum: UInt32 = 0
            var rest = owners
            while let owner = rest.popFirst() {
                let context = contexts[owner]
                sum &+= growing.contains(owner) ? units(context, resource, dominant(context), at: level &+ 1) : context[.claim, resource]
            }
            guard let owner = first, sum > contexts[owner][.capacity, resource] else { continue }
            rest = growing
            while let owner = rest.popFirst() {
                if contexts[owner][.need, resource] != 0 { stopped.insert(owner) }
            }
        }
        growing = growing.subtracting(stopped)
    }
}
