import AdminProtocol
import Hardware
import PolicyEngine

/// Decides where components are served, once in an interval of the analysis: on the device, or, before its service cores are overloaded,
/// on the host. It touches no register: the same calls give the same moves.
public struct Placement {
    /// What one owner asks of the service cores, in requests of an interval.
    public struct Demand {
        public var owner: Int
        /// In the latest interval, and in the next one at most (nine times in ten).
        public var latest: UInt64
        public var upper: UInt64
        public var isOnDevice: Bool
        /// Its component can be moved now.
        public var isMovable: Bool
        /// Cycles for which its last move kept it from being served.
        public var blackout: UInt32

        public init(owner: Int, latest: UInt64, upper: UInt64, isOnDevice: Bool, isMovable: Bool, blackout: UInt32) {
            self.owner = owner; self.latest = latest; self.upper = upper
            self.isOnDevice = isOnDevice; self.isMovable = isMovable; self.blackout = blackout
        }
    }

    /// What is to be done.
    public enum Decision: Equatable { case stay, leave(Int), comeBack(Int) }

    /// What a move that nobody has made yet is taken to cost.
    static let assumedBlackout: UInt32 = 100_000
    private static let budgetIntervals: UInt32 = 64

    public private(set) var status = PlacementStatus()
    /// By owner: the interval of the last move, and whether it is away by a decision of this.
    private let moved: Table<UInt32>
    private var away = OwnerSet()
    /// Cycles of a core for a request, an average; 0: nothing known.
    private var requestCycles: UInt64 = 0
    private var movesInBudget: UInt16 = 0
    /// Of the interval that is being looked at: sums over owners, in requests, and who would leave or come back.
    private var (latest, latestOnDevice, expectedOnDevice) = (UInt64(0), UInt64(0), UInt64(0))
    private var leaving: Demand?
    private var returning: Demand?
    /// When the latest component left, until the demand has risen for which it did; and whether the demand was above before.
    private var left: UInt64?
    private var wasAbove = false

    public init(in arena: inout Arena) { moved = arena.table(of: PolicyEngine.owners, repeating: 0) }

    var mode: PlacementParameters.Mode { PlacementParameters.Mode(rawValue: status.parameters.mode) ?? .off }

    public mutating func set(_ parameters: PlacementParameters) {
        status.parameters = parameters
        (left, wasAbove) = (nil, false)
    }

    // MARK: An interval

    public mutating func begin() {
        (latest, latestOnDevice, expectedOnDevice) = (0, 0, 0)
        (leaving, returning) = (nil, nil)
        status.intervals &+= 1
        if status.intervals % Self.budgetIntervals == 0 { movesInBudget = 0 }
    }

    public mutating func add(_ demand: Demand) {
        // A forecast that falls short is found out when the demand is there: never later than without one.
        let next = mode == .predictive ? max(demand.upper, demand.latest) : demand.latest
        latest &+= demand.latest
        let hasRested = status.intervals &- moved[demand.owner] >= UInt32(status.parameters.restIntervals)
        var demand = demand
        demand.upper = next
        if demand.isOnDevice {
            latestOnDevice &+= demand.latest
            expectedOnDevice &+= next
            away.remove(demand.owner)
            if demand.isMovable, hasRested, next > leaving?.upper ?? 0 { leaving = demand }
        } else if away.contains(demand.owner), hasRested, next < returning?.upper ?? .max {
            returning = demand
        }
    }

    /// - Parameters:
    ///   - busy: cycles of all cores in the interval.
    ///   - capacity: cycles that there were.
    ///   - now: device cycle.
    public mutating func decide(busy: UInt64, capacity: UInt64, now: UInt64, cyclesPerMicrosecond: UInt32) -> Decision {
        let capacity = max(capacity, 1)
        if latestOnDevice >= 16 {
            let cycles = busy / latestOnDevice
            requestCycles = requestCycles == 0 ? cycles : (requestCycles &* 3 &+ cycles) / 4
        }
        func permille(_ requests: UInt64) -> UInt16 { UInt16(clamping: requests &* requestCycles &* 1000 / capacity) }
        status.load = UInt16(clamping: busy &* 1000 / capacity)
        status.expected = permille(expectedOnDevice)
        status.demand = permille(latest)
        status.requestCycles = UInt32(clamping: requestCycles)
        let high = status.parameters.highPermille
        if status.load > high { status.overloaded &+= 1 }
        judge(isAbove: status.demand > high, now, cyclesPerMicrosecond)
        guard mode != .off, movesInBudget < status.parameters.mostMoves else { return .stay }
        if status.expected > high, let demand = leaving {
            // What would be too much for the cores in the interval, against what two moves keep everybody waiting for.
            let blackout = demand.blackout == 0 ? Self.assumedBlackout : demand.blackout
            guard (UInt64(status.expected) &- UInt64(high)) &* capacity / 1000 > 2 &* UInt64(blackout) else {
                status.declined &+= 1
                return .stay
            }
            return .leave(demand.owner)
        }
        if let demand = returning, permille(expectedOnDevice &+ demand.upper) < status.parameters.lowPermille {
            return .comeBack(demand.owner)
        }
        return .stay
    }

    /// Whether the demand has risen above what the device may carry, and who was first.
    private mutating func judge(isAbove: Bool, _ now: UInt64, _ cyclesPerMicrosecond: UInt32) {
        defer { wasAbove = isAbove }
        guard isAbove, !wasAbove else { return }
        if let cycle = left {
            status.ahead &+= 1
            status.lead = UInt32(clamping: (now &- cycle) / UInt64(max(cyclesPerMicrosecond, 1)))
        } else if away.isEmpty {
            status.late &+= 1
        }
        left = nil
    }

    /// A move has begun, or was refused.
    public mutating func carriedOut(_ decision: Decision, isBegun: Bool, now: UInt64) {
        guard isBegun else { status.declined &+= 1; return }
        movesInBudget &+= 1
        switch decision {
        case .stay: break
        case .leave(let owner):
            away.insert(owner)
            moved[owner] = status.intervals
            status.movesOut &+= 1
            left = wasAbove ? nil : now
        case .comeBack(let owner):
            away.remove(owner)
            moved[owner] = status.intervals
            status.movesHome &+= 1
            left = nil
        }
        status.away = UInt16(truncatingIfNeeded: away.count)
    }
}

extension OffloadManager {
    /// When all owners of an interval have had their turn.
    mutating func placeComponents() {
        guard analysis.isCaughtUp, analysis.intervals != placedInterval else { return }
        placedInterval = analysis.intervals
        let cores = hw.wa.resource[0]
        let (total, end) = (cores.busyTotal.cycles, hw.wa.windowEnd.rawValue)
        let (busy, cycles) = (total &- placementMark.busy, end &- placementMark.cycle)
        placementMark = (total, end)
        placement.begin()
        var rest = analysis.members
        while let owner = rest.popFirst() {
            let report = analysis.report(of: owner), component = hw.vic.component[owner]
            let forecast = analysis.next.forecast(of: owner, .requests)
            let isKnown = analysis.next.record(of: owner, .requests).checked >= Self.forecastsToTrust
            let amount = Level.amount(report.latest.0)
            let isOnDevice = !component.state.present || component.state.location == .device
            placement.add(Placement.Demand(
                owner: owner, latest: amount, upper: isKnown ? Level.amount(forecast.high) : amount, isOnDevice: isOnDevice,
                isMovable: isOnDevice && mover.canLeave(owner), blackout: component.blackout.cycles))
        }
        let now = interrupts.now
        let decision = placement.decide(
            busy: busy, capacity: cycles &* UInt64(cores.units.count), now: now, cyclesPerMicrosecond: cyclesPerMicrosecond)
        switch decision {
        case .stay: return
        case .leave(let owner):
            let answer = mover.begin(owner, to: .host, stopAndCopy: false, at: now)
            placement.carriedOut(decision, isBegun: answer.status == .ok, now: now)
        case .comeBack(let owner):
            let answer = mover.begin(owner, to: .device, stopAndCopy: false, at: now)
            placement.carriedOut(decision, isBegun: answer.status == .ok, now: now)
        }
    }

    /// Forecasts of an owner that must have been compared with what came before its interval is believed.
    private static let forecastsToTrust: UInt32 = 16

    mutating func setPlacement(_ parameters: PlacementParameters) -> Answer {
        guard parameters.isValid else { return Answer(.invalid, .field) }
        placement.set(parameters)
        return Answer(.ok)
    }
}
