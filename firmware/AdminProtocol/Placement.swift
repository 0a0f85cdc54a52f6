/// When components move between device and host by themselves: data of ``AdminOpcode/setPlacement``.
public struct PlacementParameters: WireLayout {
    public static let byteCount = 16

    /// ``Mode``, or a number that isn't one.
    public var mode: UInt8 = 0
    /// How busy the service cores may be before a component leaves, and what they must stay below with one that comes back, in 1/1000.
    public var highPermille: UInt16 = 800
    public var lowPermille: UInt16 = 500
    /// Intervals of the analysis that a component stays where it is at least.
    public var restIntervals: UInt16 = 2
    /// Moves in 64 intervals, of all components together.
    public var mostMoves: UInt16 = 32

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        mode = bytes.number(0)
        highPermille = bytes.number(2)
        lowPermille = bytes.number(4)
        restIntervals = bytes.number(6)
        mostMoves = bytes.number(8)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(mode, 0)
        bytes.put(0 as UInt8, 1)
        bytes.put(highPermille, 2)
        bytes.put(lowPermille, 4)
        bytes.put(restIntervals, 6)
        bytes.put(mostMoves, 8)
        bytes.zero(10, count: 6)
    }

    public enum Mode: UInt8, Sendable, CaseIterable {
        /// Components move when the host says so.
        case off = 0
        /// By what owners asked of the device in the latest interval.
        case reactive = 1
        /// By the upper end of what they are forecast to ask in the next one.
        case predictive = 2
    }

    public var isValid: Bool {
        Mode(rawValue: mode) != nil && highPermille <= 1000 && lowPermille <= highPermille && restIntervals >= 1 && mostMoves >= 1
    }
}

/// How that goes: the result of ``AdminOpcode/getPlacement``. Counts since the firmware's start.
public struct PlacementStatus: WireLayout {
    public static let byteCount = 64

    public var parameters = PlacementParameters()
    /// Of the service cores in 1/1000: used in the latest interval; expected of the next one; what all components would use on the device.
    public var load: UInt16 = 0
    public var expected: UInt16 = 0
    public var demand: UInt16 = 0
    /// Components that are away.
    public var away: UInt16 = 0
    /// Cycles of a service core for a request.
    public var requestCycles: UInt32 = 0
    public var intervals: UInt32 = 0
    /// Intervals in which the cores were busier than they may be.
    public var overloaded: UInt32 = 0
    public var movesOut: UInt32 = 0
    public var movesHome: UInt32 = 0
    /// Times that the demand rose above what the device may carry: after a component had left for it, and before.
    public var ahead: UInt32 = 0
    public var late: UInt32 = 0
    /// Microseconds from the latest such move to the end of the interval in which the demand rose.
    public var lead: UInt32 = 0
    /// Moves that were refused, or not worth their cost.
    public var declined: UInt32 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        parameters = PlacementParameters(decoding: bytes)
        load = bytes.number(16)
        expected = bytes.number(18)
        demand = bytes.number(20)
        away = bytes.number(22)
        requestCycles = bytes.number(24)
        intervals = bytes.number(28)
        overloaded = bytes.number(32)
        movesOut = bytes.number(36)
        movesHome = bytes.number(40)
        ahead = bytes.number(44)
        late = bytes.number(48)
        lead = bytes.number(52)
        declined = bytes.number(56)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        parameters.encode(to: bytes)
        bytes.put(load, 16)
        bytes.put(expected, 18)
        bytes.put(demand, 20)
        bytes.put(away, 22)
        bytes.put(requestCycles, 24)
        bytes.put(intervals, 28)
        bytes.put(overloaded, 32)
        bytes.put(movesOut, 36)
        bytes.put(movesHome, 40)
        bytes.put(ahead, 44)
        bytes.put(late, 48)
        bytes.put(lead, 52)
        bytes.put(declined, 56)
        bytes.zero(60, count: 4)
    }
}
