import Registers
import Simulation

/// An entrance of the crossbar, which has a weight, a rate limit and counters of its own: hart 0, hart 1, the host, DMA.
public struct Lane: Hashable, Sendable {
    public let index: Int

    public static let count = 4

    @inlinable public init(_ initiator: Initiator) {
        switch initiator.rawValue &>> 8 {
        case 0: index = Int(initiator.rawValue & 1)
        case 1: index = 2
        case 2: index = 3
        default: index = -1
        }
    }

    /// A debugger's access takes no time and leaves no trace in counters.
    @inlinable public var isCounted: Bool { index >= 0 }
}

/// The first failed access since the log was emptied, and how many there were.
public struct ErrorLog: Hashable, Sendable {
    public struct Entry: Hashable, Sendable {
        public var address: UInt64
        /// The cycle in which it was issued.
        public var time: Cycle
        public var origin: UInt64
        public var initiator: Initiator
        public var isWrite: Bool
        public var size: UInt8
        public var status: BusStatus
    }

    public var first: Entry?
    /// Stays at its maximum.
    public var count: UInt32 = 0

    /// Returns whether the entry is the first.
    mutating func record(_ entry: Entry) -> Bool {
        if count < .max { count += 1 }
        guard first == nil else { return false }
        first = entry
        return true
    }
}

/// All of a crossbar that changes.
public struct CrossbarState: Sendable {
    public struct LaneState: Sendable {
        /// 1...255.
        public var weight: UInt32 = 16
        public var limit: TokenBucket
        public var accesses: UInt64 = 0
        /// Cycles spent waiting for the rate limit and for targets.
        public var waited: UInt64 = 0
        public var errors: UInt32 = 0
    }

    public struct TargetState: Sendable {
        /// When each lane's last access ends, or would end, its occupation of the target.
        var finish = InlineArray<4, FineCycle>(repeating: .zero)
        public var accesses: UInt64 = 0
        public var busy: Cycle = 0
        public var occupancy: Cycle = 1
        public var latency: Cycle = 0
        /// The first address on the firmware's side.
        public var base: UInt64 = 0
    }

    public var lanes: InlineArray<4, LaneState>
    public var targets = InlineArray<32, TargetState>(repeating: TargetState())
    public var errorLog = ErrorLog()

    init(cyclesPerMicrosecond: UInt32) {
        let unlimited = Rate(bytesPerMicrosecond: 0, cyclesPerMicrosecond: cyclesPerMicrosecond)
        lanes = .init(repeating: LaneState(limit: TokenBucket(rate: unlimited, depth: 64)))
    }

    /// The cycle at which a lane's rate limit lets an access of `bytes` in.
    @inline(__always)
    mutating func admit(_ bytes: UInt64, from lane: Lane, at cycle: Cycle) -> Cycle {
        if lanes[lane.index].limit.rate.isUnlimited { return cycle }
        return limit(bytes, from: lane, at: cycle)
    }

    @inline(never)
    private mutating func limit(_ bytes: UInt64, from lane: Lane, at cycle: Cycle) -> Cycle {
        let entry = lanes[lane.index].limit.earliest(for: bytes, at: FineCycle(cycle)).roundedUp
        lanes[lane.index].limit.take(bytes, at: FineCycle(entry))
        lanes[lane.index].waited &+= entry &- cycle
        return entry
    }

    /// Occupies a target for one access and returns the cycle at which the target is done with it.
    ///
    /// Initiators wait for each access, so there is no queue whose order could be chosen: an access must be given its time when
    /// it is made, before it is known who comes next. The target is therefore shared like a processor in generalised processor
    /// sharing (Parekh, Gallager 1993): while n initiators occupy it, each advances at the rate of its weight over the sum of
    /// their weights. An access alone takes the occupancy itself; against saturating rivals it takes the occupancy times that sum
    /// over its own weight, so that throughputs are in the proportion of the weights and everybody's wait is bounded.
    @inline(__always)
    mutating func occupy(_ target: Int, by lane: Lane, from cycle: Cycle) -> Cycle {
        let me = lane.index
        let arrival = FineCycle(cycle)
        let occupancy = targets[target].occupancy
        targets[target].accesses &+= 1
        targets[target].busy &+= occupancy
        var rivals: UInt32 = 0
        for other in 0..<Lane.count where other != me && targets[target].finish[other] >= arrival {
            rivals &+= lanes[other].weight
        }
        // Back to back an access begins in the very fraction of a cycle in which the one before ended.
        let before = targets[target].finish[me]
        let begin = before.roundedUp >= cycle ? before : arrival
        var duration = occupancy &<< 8
        if rivals != 0 {
            let weight = UInt64(lanes[me].weight)
            duration = (duration &* (weight &+ UInt64(rivals)) &+ weight &- 1) / weight
        }
        let end = FineCycle(rawValue: begin.rawValue &+ duration)
        targets[target].finish[me] = end
        let done = end.roundedUp
        lanes[me].waited &+= done &- cycle &- occupancy
        return done
    }
}

extension Crossbar {
    public var errorLog: ErrorLog { storage.pointee.errorLog }

    /// Empties the error log, so that it takes the next error.
    public func clearErrorLog() { storage.pointee.errorLog = ErrorLog() }

    /// Sets an entrance's weight; 0 counts as 1.
    public func setWeight(_ weight: UInt8, lane: Int) { storage.pointee.lanes[lane].weight = UInt32(max(weight, 1)) }

    /// Sets an entrance's rate limit.
    /// - Parameters:
    ///   - bytesPerMicrosecond: 0: no limit.
    ///   - burst: depth of the token bucket in bytes; at least 8, the largest access.
    public func setLimit(bytesPerMicrosecond: UInt32, burst: UInt64, lane: Int) {
        storage.pointee.lanes[lane].limit.rate.bytesPerMicrosecond = bytesPerMicrosecond
        storage.pointee.lanes[lane].limit.depth = max(burst, 8)
    }

    /// Counters and limits of an initiator's lane.
    public func laneState(_ lane: Int) -> CrossbarState.LaneState { storage.pointee.lanes[lane] }
    /// Counters of a target.
    public func targetState(_ target: TargetIndex) -> CrossbarState.TargetState { storage.pointee.targets[target] }
    public var targetCount: Int { targets.count }
    /// Cycles in which targets were occupied, of all targets together.
    public var busyCycles: Cycle { targets.indices.reduce(0) { $0 &+ storage.pointee.targets[$1].busy } }

    /// Forgets the utilisation counters.
    public func clearCounters() {
        for lane in 0..<Lane.count {
            storage.pointee.lanes[lane].accesses = 0
            storage.pointee.lanes[lane].waited = 0
            storage.pointee.lanes[lane].errors = 0
        }
        for target in targets.indices {
            storage.pointee.targets[target].accesses = 0
            storage.pointee.targets[target].busy = 0
        }
    }
}
