import AdminProtocol

/// What a window of the Workload Analyzer says of one owner, as far as the policy needs it.
public struct OwnerSample: Equatable, Sendable {
    /// Payload bytes completed in the window.
    public var bytes: UInt32
    /// Requests completed in the window.
    public var requests: UInt32
    /// Requests in flight at the window's end.
    public var depth: UInt32

    public init(bytes: UInt32 = 0, requests: UInt32 = 0, depth: UInt32 = 0) {
        self.bytes = bytes; self.requests = requests; self.depth = depth
    }
}

/// Re-partitions the link's bandwidth between owners by their demand.
///
/// Demand is what an owner moved in a window plus what it had waiting at the end, averaged exponentially: an owner that its share
/// throttles shows by its queue what it would move. The guarantees that follow are max-min fair: every active owner gets the least
/// share, then the demands (with head room) are filled up evenly until each is met or the link is given away. What is left stays
/// with nobody: the hardware lends it by weight. A decision is made once in a period, and committed only if some owner's share would
/// change by more than the hysteresis.
///
/// Owners that the host has pinned keep their share; the rest of the link is what the policy divides.
///
/// It is pure: the same calls give the same shares. A window costs a few dozen cycles for each active owner, with one 32-bit division
/// and no 64-bit one; a decision as much again.
public struct BandwidthPolicy: ~Copyable {
    /// The host and 64 virtual machines.
    public static let owners = 65
    /// How many times more slowly the average falls than it rises: a gap in a burst doesn't cost an owner its share.
    static let releaseFactor: UInt32 = 4
    /// Mean request size that is assumed of an owner that hasn't completed any.
    static let assumedRequestBytes: UInt32 = 4096

    struct OwnerState: BitwiseCopyable {
        /// Exponential average of the demand, in bytes per window.
        var demand: UInt32 = 0
        /// Bytes of the mean request of the last window that had any.
        var requestBytes: UInt32 = BandwidthPolicy.assumedRequestBytes
        /// Share in force, share of the last decision, and the most that the owner's limit allows; in 1/1000.
        var share: UInt16 = 0
        var target: UInt16 = 0
        var most: UInt16 = 1000
        /// Windows since the owner was last active.
        var idle: UInt16 = 0
    }

    public private(set) var parameters = PolicyParameters()
    private let states: Table<OwnerState>
    /// Owners that were active within `parameters.idleWindows`.
    public private(set) var members = OwnerSet()
    /// Owners with a share, and among them those whose share the host has pinned.
    public private(set) var holders = OwnerSet()
    public private(set) var pinned = OwnerSet()
    private var pinnedShare: UInt32 = 0
    /// Bytes that the link carries in a window.
    private var capacity: UInt32 = .max
    /// 2^32 / bytes that the link carries in a window, times 1000 and the head room: shares by one multiplication.
    private var shareOfByte: UInt32 = 0
    private var windowsToDecision: UInt32 = 0
    private var rejectionsInARow: UInt32 = 0
    /// Decisions that changed the shares, and that left them alone, wrapping.
    public private(set) var decisionsTaken: UInt32 = 0
    public private(set) var decisionsLeft: UInt32 = 0
    /// What each sharing owner wants beyond the least share, in 1/1000: close together, since bisection reads them again and again.
    private let needs: Table<UInt32>

    public init(in arena: inout Arena) {
        states = arena.table(of: Self.owners, repeating: OwnerState())
        needs = arena.table(of: Self.owners, repeating: 0)
    }

    /// - Parameters:
    ///   - new: parameters, valid by `isValid`.
    ///   - capacity: bytes that the whole link carries in a window, at least 11,000.
    public mutating func configure(_ new: PolicyParameters, capacity: UInt32) {
        parameters = new
        self.capacity = capacity
        // The one 64-bit division, once for all owners.
        let perByte = (UInt64(1000 &+ UInt32(new.headroomPermille)) << 32) / UInt64(max(capacity, 1))
        shareOfByte = UInt32(clamping: perByte)
        windowsToDecision = period
    }

    /// Whether the values are in the ranges that README.md documents.
    public static func isValid(_ parameters: PolicyParameters) -> Bool {
        PolicyKind(rawValue: parameters.policy) != nil
            && (1...100_000).contains(parameters.periodWindows)
            && parameters.hysteresisPermille <= 1000
            && parameters.mostPermille <= 1000
            && parameters.leastPermille <= parameters.mostPermille
            && (1...256).contains(parameters.smoothing)
            && parameters.headroomPermille <= 10_000
            && parameters.idleWindows >= 1
    }

    /// Windows from one decision to the next: doubled with each rejection in a row, at most to 64 times as many.
    private var period: UInt32 { parameters.periodWindows << rejectionsInARow }

    /// Takes in one owner's window, before `endWindow`. Owners that were not active need no call.
    public mutating func add(_ sample: OwnerSample, of owner: Int) {
        var state = states[owner]
        state.idle = 0
        if sample.requests != 0 { state.requestBytes = max(sample.bytes / sample.requests, 1) }
        let (waiting, tooMuch) = sample.depth.multipliedReportingOverflow(by: state.requestBytes)
        let (wanted, overflow) = sample.bytes.addingReportingOverflow(waiting)
        // More than the whole link is no more demand, only longer to forget.
        state.demand = average(state.demand, with: tooMuch || overflow ? capacity : min(wanted, capacity))
        states[owner] = state
    }

    private func average(_ old: UInt32, with new: UInt32) -> UInt32 {
        let weight = UInt32(parameters.smoothing)
        return new >= old ? old &+ part(weight, of: new &- old) : old &- part(max(weight / Self.releaseFactor, 1), of: old &- new)
    }

    /// So many 256ths of a difference, rounded up, so that a constant demand is reached and a silent owner's reaches zero.
    private func part(_ weight: UInt32, of difference: UInt32) -> UInt32 {
        (difference >> 8) &* weight &+ ((difference & 255) &* weight &+ 255) >> 8
    }

    /// Ends a window: ages the owners that did nothing in it and, once in a period, decides.
    /// - Returns: whether the targets should be committed now. `changing` names the owners, `target(of:)` has their shares; then
    ///   `committed` or `rejected` is to be called.
    public mutating func endWindow(active: OwnerSet) -> Bool {
        var idle = members.subtracting(active)
        members = members.union(active)
        while let owner = idle.popFirst() {
            states[owner].demand = average(states[owner].demand, with: 0)
            states[owner].idle &+= 1
            if states[owner].idle >= parameters.idleWindows {
                members.remove(owner)
                states[owner].demand = 0
            }
        }
        guard parameters.policy == PolicyKind.demand.rawValue else { return false }
        windowsToDecision = windowsToDecision == 0 ? 0 : windowsToDecision &- 1
        guard windowsToDecision == 0 else { return false }
        windowsToDecision = period
        guard decide() > UInt32(parameters.hysteresisPermille) else {
            decisionsLeft &+= 1
            return false
        }
        return true
    }

    /// Computes the targets of all owners.
    /// - Returns: the largest difference between a target and the share in force.
    @discardableResult public mutating func decide() -> UInt32 {
        let sharing = members.subtracting(pinned)
        let available = pinnedShare >= 1000 ? 0 : 1000 &- pinnedShare
        let least = min(UInt32(parameters.leastPermille), available / max(sharing.count, 1))
        let remaining = available &- least &* sharing.count

        var rest = sharing
        var place = 0
        while let owner = rest.popFirst() {
            let most = min(UInt32(parameters.mostPermille), UInt32(states[owner].most))
            let wanted = min(states[owner].demand.multipliedFullWidth(by: shareOfByte).high, most)
            needs[place] = wanted > least ? wanted &- least : 0
            place &+= 1
        }
        // The highest level to which every need can be filled, by bisection: at most ten passes, whatever the demands.
        var level: UInt32 = 0
        var top = remaining
        while level < top {
            let middle = (level &+ top &+ 1) >> 1
            if filled(place, to: middle) <= remaining { level = middle } else { top = middle &- 1 }
        }

        var largest: UInt32 = 0
        rest = sharing
        place = 0
        while let owner = rest.popFirst() {
            let share = min(least, UInt32(states[owner].most)) &+ min(needs[place], level)
            states[owner].target = UInt16(truncatingIfNeeded: share)
            largest = max(largest, change(of: owner))
            place &+= 1
        }
        var gone = holders.subtracting(members).subtracting(pinned)
        while let owner = gone.popFirst() {
            states[owner].target = 0
            largest = max(largest, change(of: owner))
        }
        return largest
    }

    private func filled(_ count: Int, to level: UInt32) -> UInt32 {
        var sum: UInt32 = 0
        for place in 0..<count { sum &+= min(needs[place], level) }
        return sum
    }

    /// Difference between the target and the share in force, in 1/1000.
    private func change(of owner: Int) -> UInt32 {
        let (share, target) = (UInt32(states[owner].share), UInt32(states[owner].target))
        return share > target ? share &- target : target &- share
    }

    // MARK: Shares

    /// The owner's guarantee in force, in 1/1000.
    public func share(of owner: Int) -> UInt32 { UInt32(states[owner].share) }
    /// The guarantee that the last decision gives it.
    public func target(of owner: Int) -> UInt32 { UInt32(states[owner].target) }
    /// What the last `set` of the owner said, with the share that is in force.
    public func grant(of owner: Int) -> (share: UInt32, most: UInt32, isPinned: Bool) {
        (share(of: owner), UInt32(states[owner].most), pinned.contains(owner))
    }
    /// Averaged demand, in bytes per window.
    public func demand(of owner: Int) -> UInt32 { states[owner].demand }

    /// Sum of the shares in force.
    public var total: UInt32 {
        var rest = holders
        var sum: UInt32 = 0
        while let owner = rest.popFirst() { sum &+= share(of: owner) }
        return sum
    }

    /// Owners whose share the last decision changes.
    public var changing: OwnerSet {
        var result = OwnerSet()
        var rest = members.union(holders).subtracting(pinned)
        while let owner = rest.popFirst() {
            if states[owner].target != states[owner].share { result.insert(owner) }
        }
        return result
    }

    /// The targets are in force.
    public mutating func committed() {
        var rest = changing
        while let owner = rest.popFirst() { setShare(UInt32(states[owner].target), of: owner) }
        decisionsTaken &+= 1
        rejectionsInARow = 0
        windowsToDecision = period
    }

    /// The targets were refused: what was in force stays, and the next decision comes later.
    public mutating func rejected() {
        decisionsLeft &+= 1
        rejectionsInARow = min(rejectionsInARow &+ 1, 6)
        windowsToDecision = period
    }

    /// The host has set an owner's share, and it is in force.
    /// - Parameters:
    ///   - share: in 1/1000.
    ///   - most: what the owner's limit allows, in 1/1000.
    ///   - pin: whether the policy is to leave it alone.
    public mutating func set(_ share: UInt32, of owner: Int, most: UInt32 = 1000, pin: Bool) {
        if pinned.contains(owner) { pinnedShare &-= UInt32(states[owner].share) }
        setShare(share, of: owner)
        states[owner].most = UInt16(truncatingIfNeeded: min(most, 1000))
        if pin {
            pinned.insert(owner)
            pinnedShare &+= share
        } else {
            pinned.remove(owner)
        }
    }

    private mutating func setShare(_ share: UInt32, of owner: Int) {
        states[owner].share = UInt16(truncatingIfNeeded: share)
        if share == 0 { holders.remove(owner) } else { holders.insert(owner) }
    }
}
