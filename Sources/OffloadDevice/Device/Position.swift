import Simulation

/// A place in a device's life: between two instructions of whatever hart, or between two rounds.
///
/// The device passes its positions in their order and is at each of them once. The same inputs give the same positions, whatever the pace
/// was and wherever a debugger stopped.
public struct Position: Hashable, Sendable {
    /// Rounds that have begun since power-on.
    public var round: UInt64
    /// The hart whose turn it is in the round; ``roundEnd`` after all of their turns, ``between`` when the round is over.
    public var hart: UInt8
    /// The cycle in which that hart's next instruction begins; 0 outside of a turn.
    public var time: Cycle
    /// Device time. Within a round the harts are ahead of it.
    public var cycle: Cycle
    /// Inputs since power-on.
    public var inputs: UInt64

    public init(round: UInt64, hart: UInt8, time: Cycle, cycle: Cycle, inputs: UInt64) {
        self.round = round
        self.hart = hart
        self.time = time
        self.cycle = cycle
        self.inputs = inputs
    }

    /// Power-on.
    public static let start = Position(round: 0, hart: between, time: 0, cycle: 0, inputs: 0)

    public static let roundEnd: UInt8 = 254
    public static let between: UInt8 = 255

    /// No round is open.
    public var isBetweenRounds: Bool { hart == Self.between }

    /// The cycle that people are told: the hart's own in its turn, else device time.
    public var present: Cycle { hart < Self.roundEnd ? max(time, cycle) : cycle }
}

extension Position: Comparable {
    public static func < (a: Position, b: Position) -> Bool {
        if a.round != b.round { return a.round < b.round }
        if a.hart != b.hart { return a.hart < b.hart }
        if a.time != b.time { return a.time < b.time }
        // In a turn, device time is where the hart's last access was: it follows from the hart's.
        if a.hart >= roundEnd, a.cycle != b.cycle { return a.cycle < b.cycle }
        return a.inputs < b.inputs
    }

    public static func == (a: Position, b: Position) -> Bool { !(a < b) && !(b < a) }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(round)
        hasher.combine(hart)
        hasher.combine(time)
        if hart >= Self.roundEnd { hasher.combine(cycle) }
        hasher.combine(inputs)
    }
}

extension Position: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&round)
        try archive.integer(&hart)
        try archive.integer(&time)
        try archive.integer(&cycle)
        try archive.integer(&inputs)
    }
}

extension Position: CustomStringConvertible {
    /// `cycle 1200 (round 3, hart 0 at 1234, input 5)`
    public var description: String {
        let place = switch hart {
        case Self.between: "after round \(round)"
        case Self.roundEnd: "end of round \(round)"
        default: "round \(round), hart \(hart) at \(time)"
        }
        return "cycle \(cycle) (\(place), \(inputs) inputs)"
    }
}
