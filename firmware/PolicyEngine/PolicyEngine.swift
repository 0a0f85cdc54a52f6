import AdminProtocol

/// What a window of the Workload Analyzer says of one owner, as far as the policies need it.
public struct OwnerSample: Equatable, Sendable {
    /// Payload bytes completed in the window.
    public var bytes: UInt32
    /// Requests completed in the window.
    public var requests: UInt32
    /// Requests in flight at the window's end.
    public var depth: UInt32
    /// log2 of the cycles that 99 of 100 of the requests took no longer than, rounded down; ``unknown`` if nobody has looked.
    public var latencyBucket: UInt8

    public static let unknown: UInt8 = .max

    public init(bytes: UInt32 = 0, requests: UInt32 = 0, depth: UInt32 = 0, latencyBucket: UInt8 = 0) {
        self.bytes = bytes; self.requests = requests; self.depth = depth; self.latencyBucket = latencyBucket
    }
}

/// The Dynamic Allocation Policy Engine: divides the device between owners, by demand and by the policy that the host has selected.
///
/// In each window it takes in what the owners did (`add`, `endWindow`). Once in a period it re-allocates, in the stages that
/// `OffloadManager.reallocateResources` goes through: needs are predicted, a policy is selected, it states its claims, and the claims
/// become whole units (``Allocator``), which the Resource Manager commits or rejects (`committed`, `rejected`).
///
/// Demand is what an owner moved in a window plus what it had waiting at the end, averaged exponentially: an owner that its share
/// throttles shows by its queue what it would move. What nobody claims stays with the hardware, which lends it by weight. Owners that
/// the host has pinned keep what they have; the rest is what the policies divide. What comes in whole units (`UnitDemand`) is divided
/// while it is scarce; else all are served from what is shared.
///
/// It is pure: the same calls give the same allocation, and `decide` records what a decision depends on (``DecisionLog``). A window costs a
/// few dozen cycles for each active owner, with one 32-bit division and no 64-bit one.
public struct PolicyEngine: ~Copyable {
    public static let owners = PolicyContexts.owners
    /// How many times more slowly the average falls than it rises: a gap in a burst doesn't cost an owner its share.
    static let releaseFactor: UInt32 = 4
    /// Mean request size that is assumed of an owner that hasn't completed any.
    static let assumedRequestBytes: UInt32 = 4096

    struct OwnerState: BitwiseCopyable {
        /// Exponential average of the demand, in bytes per window.
        var demand: UInt32 = 0
        /// Bytes of the mean request of the last window that had any.
        var requestBytes: UInt32 = PolicyEngine.assumedRequestBytes
        /// The most of the link that the owner's limit allows, in 1/1000.
        var most: UInt16 = 1000
        /// Windows since the owner was last active.
        var idle: UInt16 = 0
        var forecast = DemandForecast()
    }

    public internal(set) var parameters = PolicyParameters()
    public internal(set) var registry: PolicyRegistry
    /// What the policies are told; what is in force is in ``PolicyContext/Field/grant``.
    public let contexts: PolicyContexts
    let states: Table<OwnerState>
    /// One for each owner's resource, as the targets.
    let demands: Table<UnitDemand>
    /// What the last decision gives each owner: one word for each resource.
    let targets: Table<UInt32>
    /// And the boost of its weight.
    let boosts: Table<UInt32>
    var allocator: Allocator
    var capacities: InlineArray<5, UInt32> = [1000, 0, 0, 0, 0]
    /// A bit for each resource that is divided, since there isn't enough for all.
    var scarce: UInt32 = Resource.bandwidth.bit
    /// A bit for each resource that the decision is about, and the number of the one whose turn it is.
    var divided: UInt32 = 0
    var turnNumber = Resource.cores.rawValue
    /// Owners whose allocation the last decision changes.
    public internal(set) var changing = OwnerSet()
    /// Decisions for which resources still rest.
    var resting = InlineArray<5, UInt8>(repeating: 0)
    /// Owners that were active within `parameters.idleWindows`.
    public internal(set) var members = OwnerSet()
    /// Owners of which much is forecast, and those to whom the host has promised or foretold something.
    var expectant = OwnerSet()
    public internal(set) var promised = OwnerSet()
    /// Owners whose component the host serves: they need nothing of the device's but the link.
    public var away = OwnerSet()
    /// Owners that have something of their own, and those whose allocation the host has pinned.
    public internal(set) var holders = OwnerSet()
    public internal(set) var pinned = OwnerSet()
    /// Bytes that the link carries in a window.
    var linkBytes: UInt32 = .max
    var windowMicroseconds: UInt32 = 1000
    var cyclesPerMicrosecond: UInt32 = 1000
    /// 2^32 / bytes that the link carries in a window, times 1000 and the head room: shares by one multiplication.
    private(set) var shareOfByte: UInt32 = 0
    /// The same for units, in 1/256.
    private(set) var headroom: UInt32 = 0
    private var windowsToDecision: UInt32 = 0
    private var rejectionsInARow: UInt32 = 0
    /// The policy that was in force before the selected one, to go back to.
    var policyBefore = PolicyNumber.fair
    /// Whether the selected policy has decided since it was selected.
    var isProven = false
    /// Which policy decides, and what is known of each of them, by number.
    public var selection = PolicySelection()
    let records: Table<PolicyRecord>
    /// What the epoch's windows did for each owner.
    let outcomes: Table<OwnerOutcome>
    /// What was in force when the epoch began, as the targets, and for whom.
    let grantsBefore: Table<UInt32>
    let boostsBefore: Table<UInt32>
    var membersBefore = OwnerSet()
    /// For whom the allocation is held.
    var membersHeld = OwnerSet()
    /// Shares of the link that a utility is predicted for.
    let shares: Table<LinkShare>
    /// The latest decisions.
    public var log: DecisionLog
    /// Decisions that changed the allocation, and that left it alone, wrapping.
    public internal(set) var decisionsTaken: UInt32 = 0
    public internal(set) var decisionsLeft: UInt32 = 0

    public init(in arena: inout Arena) {
        registry = PolicyRegistry(in: &arena)
        contexts = PolicyContexts(in: &arena)
        states = arena.table(of: Self.owners, repeating: OwnerState())
        demands = arena.table(of: Self.owners * Resource.count, repeating: UnitDemand())
        targets = arena.table(of: Self.owners * Resource.count, repeating: 0)
        boosts = arena.table(of: Self.owners, repeating: 0)
        allocator = Allocator(in: &arena)
        records = arena.table(of: Int(PolicyNumber.count), repeating: PolicyRecord())
        outcomes = arena.table(of: Self.owners, repeating: OwnerOutcome())
        grantsBefore = arena.table(of: Self.owners * Resource.count, repeating: 0)
        boostsBefore = arena.table(of: Self.owners, repeating: 0)
        shares = arena.table(of: Self.owners, repeating: LinkShare())
        log = DecisionLog(in: &arena)
        for owner in 0..<Self.owners {
            let context = contexts[owner]
            context[.version] = PolicyContext.version
            context[.owner] = UInt32(truncatingIfNeeded: owner)
            context[.ownerWeight] = 1
        }
    }

    // MARK: Configuration

    /// - Parameters:
    ///   - new: parameters, valid by `isValid`.
    ///   - linkBytes: bytes that the whole link carries in a window, at least 11,000.
    public mutating func configure(
        _ new: PolicyParameters, linkBytes: UInt32, windowMicroseconds: UInt32 = 1000, cyclesPerMicrosecond: UInt32 = 1000
    ) {
        if new.policy != parameters.policy {
            if parameters.policy != PolicyNumber.fixed, isProven { policyBefore = parameters.policy }
            isProven = false
        }
        (self.linkBytes, self.windowMicroseconds, self.cyclesPerMicrosecond) = (linkBytes, windowMicroseconds, cyclesPerMicrosecond)
        parameters = new
        // The one 64-bit division, once for all owners.
        let perByte = (UInt64(1000 &+ UInt32(new.headroomPermille)) << 32) / UInt64(max(linkBytes, 1))
        shareOfByte = UInt32(clamping: perByte)
        headroom = UInt32(new.headroomPermille) &* 256 / 1000
        windowsToDecision = period
        // What is measured has been done with one set of parameters.
        selection.suspicions = 0
        beginEpoch(after: selection.inForce)
        for owner in 0..<Self.owners {
            contexts[owner][.windowMicroseconds] = windowMicroseconds
            contexts[owner][.linkBytesPerMicrosecond] = linkBytes / max(windowMicroseconds, 1)
        }
    }

    /// What there is of a resource.
    public mutating func setCapacity(_ capacity: UInt32, of resource: Resource) { capacities[resource.rawValue] = capacity }
    /// What there is of a resource.
    public func total(of resource: Resource) -> UInt32 { capacities[resource.rawValue] }

    /// Whether the values are in the ranges that README.md documents, and there is such a policy.
    public func isValid(_ parameters: PolicyParameters) -> Bool {
        Self.isInRange(parameters) && registry.contains(parameters.policy)
    }

    /// Whether the values are in the ranges that README.md documents.
    public static func isInRange(_ parameters: PolicyParameters) -> Bool {
        parameters.policy < PolicyNumber.count
            && (1...100_000).contains(parameters.periodWindows)
            && parameters.hysteresisPermille <= 1000
            && parameters.mostPermille <= 1000
            && parameters.leastPermille <= parameters.mostPermille
            && (1...256).contains(parameters.smoothing)
            && parameters.headroomPermille <= 10_000
            && parameters.idleWindows >= 1
            && parameters.flags & ~PolicyParameters.ignoresForecasts == 0
    }

    /// Windows from one decision to the next: doubled with each rejection in a row, at most to 64 times as many.
    private var period: UInt32 { parameters.periodWindows << rejectionsInARow }

    // MARK: Windows

    /// Takes in one owner's window, before `endWindow`. Owners that were not active need no call.
    public mutating func add(_ sample: OwnerSample, of owner: Int) {
        var state = states[owner]
        state.idle = 0
        if sample.requests != 0 { state.requestBytes = max(sample.bytes / sample.requests, 1) }
        let (waiting, tooMuch) = sample.depth.multipliedReportingOverflow(by: state.requestBytes)
        let (wanted, overflow) = sample.bytes.addingReportingOverflow(waiting)
        // More than the whole link is no more demand, only longer to forget.
        state.demand = average(state.demand, with: tooMuch || overflow ? linkBytes : min(wanted, linkBytes))
        states[owner] = state
        let context = contexts[owner]
        context[.requests] = sample.requests
        context[.bytes] = sample.bytes
        context[.depth] = sample.depth
        context[.requestBytes] = state.requestBytes
        outcomes[owner].add(bytes: sample.bytes, requests: sample.requests)
        guard sample.latencyBucket != OwnerSample.unknown else { return }
        outcomes[owner].add(sample, targetBucket: context[.latencyTarget] == 0 ? selection.targetBucket : targetBucket(of: owner))
    }

    private func average(_ old: UInt32, with new: UInt32) -> UInt32 {
        let weight = UInt32(parameters.smoothing)
        return new >= old ? old &+ part(weight, of: new &- old) : old &- part(max(weight / Self.releaseFactor, 1), of: old &- new)
    }

    /// So many 256ths of a difference, rounded up, so that a constant demand is reached and a silent owner's reaches zero.
    private func part(_ weight: UInt32, of difference: UInt32) -> UInt32 {
        (difference >> 8) &* weight &+ ((difference & 255) &* weight &+ 255) >> 8
    }

    /// Ends a window: ages the owners that did nothing in it.
    /// - Returns: whether it is time to re-allocate.
    public mutating func endWindow(active: OwnerSet) -> Bool {
        selection.windows &+= 1
        var idle = members.subtracting(active)
        members = members.union(active)
        while let owner = idle.popFirst() {
            states[owner].demand = average(states[owner].demand, with: 0)
            states[owner].idle &+= 1
            if states[owner].idle >= parameters.idleWindows {
                members.remove(owner)
                states[owner].demand = 0
                for resource in Resource.cores ... .fpga { demands[owner &* Resource.count &+ resource.rawValue].wanted = 0 }
            }
        }
        guard parameters.policy != PolicyNumber.fixed else { return false }
        windowsToDecision = windowsToDecision == 0 ? 0 : windowsToDecision &- 1
        guard windowsToDecision == 0 else { return false }
        windowsToDecision = period
        return true
    }

    // MARK: Policies

    /// What became of a policy that was to decide.
    public struct Rollback: Equatable, Sendable {
        /// The policy whose program failed, the kind of the fault, and the instruction.
        public var policy: UInt32
        public var fault: Interpreter.Fault
        public var instruction: UInt32
        /// The policy in force instead.
        public var replacement: UInt32

        public init(policy: UInt32, fault: Interpreter.Fault, instruction: UInt32, replacement: UInt32) {
            self.policy = policy; self.fault = fault; self.instruction = instruction; self.replacement = replacement
        }
    }

    /// Lets a policy state its claims and makes targets of them: never more than there is, and everybody's least kept. A program that
    /// fails gives way, within this same decision, to the one before it.
    /// - Returns: the largest change of any resource that changes, in 1/1000 of its capacity, and the last failure.
    @discardableResult
    public mutating func calculateNewAllocation(_ policy: UInt32) -> (change: UInt32, rollback: Rollback?) {
        guard policy != PolicyNumber.fixed else { return (keepAllocation(), nil) }
        var policy = policy
        var rollback: Rollback?
        while true {
            let fault = registry.evaluate(policy, contexts, concerned)
            guard fault != .none else { break }
            let failed = policy, place = registry.entry(policy).lastFault >> 16
            // The firmware's own policies never fail: this ends.
            if !registry.goBack(policy) {
                if parameters.policy == PolicyNumber.adaptive {
                    policy = Self.fallback
                } else {
                    policy = registry.contains(policyBefore) && policyBefore != policy ? policyBefore : Self.fallback
                    policyBefore = Self.fallback
                    parameters.policy = policy
                }
                block(failed)
                putInForce(policy, .fault)
            }
            rollback = Rollback(policy: failed, fault: fault, instruction: place, replacement: policy)
        }
        isProven = true
        changing = OwnerSet()
        return (divide(), rollback)
    }

    // MARK: What is in force

    /// The owner's guarantee in force, in 1/1000 of the link.
    public func share(of owner: Int) -> UInt32 { contexts[owner][.grant, .bandwidth] }
    /// What the last decision gives it of a resource.
    public func target(of owner: Int, _ resource: Resource = .bandwidth) -> UInt32 {
        targets[owner &* Resource.count &+ resource.rawValue]
    }
    /// The boost that the last decision gives its weight.
    public func boost(of owner: Int) -> UInt32 { boosts[owner] }
    /// Less of a resource than was decided can be had for an owner.
    public func limitTarget(of owner: Int, _ resource: Resource, to units: UInt32) {
        let place = owner &* Resource.count &+ resource.rawValue
        targets[place] = min(targets[place], units)
    }
    /// What the last `set` of the owner said, with the share that is in force.
    public func grant(of owner: Int) -> (share: UInt32, weight: UInt32, most: UInt32, isPinned: Bool) {
        (share(of: owner), contexts[owner][.ownerWeight], UInt32(states[owner].most), pinned.contains(owner))
    }
    /// Averaged demand, in bytes per window.
    public func demand(of owner: Int) -> UInt32 { states[owner].demand }

    /// Whether all that is in force of every resource is no more than there is.
    public var fits: Bool {
        for resource in Resource.all {
            var rest = holders
            var sum: UInt32 = 0
            while let owner = rest.popFirst() { sum &+= contexts[owner][.grant, resource] }
            if sum > total(of: resource) { return false }
        }
        return true
    }

    /// The targets are in force.
    public mutating func committed() {
        endDecision()
        var rest = changing
        while let owner = rest.popFirst() {
            let context = contexts[owner]
            for resource in 0..<Resource.count {
                let target = targets[owner &* Resource.count &+ resource], now = PolicyContext.Field.grant.rawValue &+ resource
                guard target != context.words[now] else { continue }
                context.words[now] = target
                resting[resource] = Resource.rests[resource]
            }
            context[.boost] = boosts[owner]
            noteHolding(owner)
        }
        changing = OwnerSet()
        selection.hasChanged = selection.hasChanged || !selection.isUndoing
        decisionsTaken &+= 1
        rejectionsInARow = 0
        windowsToDecision = period
    }

    /// The targets don't differ enough from what is in force: that stays.
    public mutating func left() {
        endDecision()
        decisionsLeft &+= 1
    }

    /// The targets were refused: what was in force stays, and the next decision comes later.
    public mutating func rejected() {
        endDecision()
        decisionsLeft &+= 1
        rejectionsInARow = min(rejectionsInARow &+ 1, 6)
        windowsToDecision = period
    }

    private mutating func endDecision() {
        for resource in 0..<Resource.count where divided &>> UInt32(truncatingIfNeeded: resource) & 1 != 0 && resting[resource] != 0 {
            resting[resource] &-= 1
        }
        for _ in 0..<Resource.count {
            turnNumber = turnNumber == Resource.fpga.rawValue ? Resource.cores.rawValue : turnNumber &+ 1
            if capacities[turnNumber] != 0 { break }
        }
    }

    /// The host has set an owner's share, and it is in force.
    /// - Parameters:
    ///   - share: in 1/1000.
    ///   - most: what the owner's limit allows, in 1/1000.
    ///   - pin: whether the policies are to leave it alone.
    public mutating func set(_ share: UInt32, of owner: Int, weight: UInt32 = 1, most: UInt32 = 1000, pin: Bool) {
        setGrant(share, of: .bandwidth, for: owner)
        contexts[owner][.ownerWeight] = weight
        states[owner].most = UInt16(truncatingIfNeeded: min(most, 1000))
        if pin { pinned.insert(owner) } else { pinned.remove(owner) }
    }

    /// So many units of a resource are in force for an owner.
    public mutating func setGrant(_ units: UInt32, of resource: Resource, for owner: Int) {
        contexts[owner][.grant, resource] = units
        noteHolding(owner)
    }

    /// Such a boost of an owner's weight is in force.
    public mutating func setBoost(_ boost: UInt32, of owner: Int) {
        contexts[owner][.boost] = boost
        noteHolding(owner)
    }

    private mutating func noteHolding(_ owner: Int) {
        let grants = contexts[owner].words + PolicyContext.Field.grant.rawValue
        var any = contexts[owner][.boost]
        for resource in 0..<Resource.count { any |= grants[resource] }
        if any != 0 { holders.insert(owner) } else { holders.remove(owner) }
    }

    // MARK: Policies of the host's

    /// Sets the values that tune a policy that there is.
    public func setValues(_ values: PolicyValues) { registry.set(values.values, of: values.number) }

    /// The next byte of a program.
    public mutating func upload(_ byte: UInt8) { registry.upload(byte) }
    /// Whether a piece of a program that begins at this offset is the next one.
    public mutating func expects(_ offset: UInt32) -> Bool { registry.expects(offset) }
    /// Verifies the uploaded program and makes it a policy.
    public mutating func install(_ installation: PolicyInstallation) -> PolicyRefusal? {
        if let refusal = registry.install(installation) { return refusal }
        // It has to prove itself anew.
        records[Int(installation.number)] = PolicyRecord()
        return nil
    }
    /// Takes an uploaded policy away that isn't selected.
    public mutating func remove(_ number: UInt32) {
        registry.remove(number)
        records[Int(number)] = PolicyRecord()
        if policyBefore == number { policyBefore = PolicyNumber.fair }
    }
}
