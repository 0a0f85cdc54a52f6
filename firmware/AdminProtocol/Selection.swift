/// Why the policy in force is in force, or why the allocation isn't a policy's.
public enum PolicyReason: UInt8, Sendable, BitwiseCopyable {
    /// The host has selected it.
    case selected = 0
    /// More is expected of it than of any other.
    case best = 1
    /// Not much less is expected of it, and little is known of it.
    case trial = 2
    /// The one before did worse than the fallback by more than a twentieth.
    case guardRail = 3
    /// The one before made things worse; what it did is undone.
    case undone = 4
    /// The fallback itself made things worse: the allocation stays as it is for a time.
    case held = 5
    /// The program of the one before was ended before its end.
    case fault = 6
    /// The one before isn't there any more.
    case gone = 7
}

/// Which policy decides, why, and what is expected of each. Utilities are in 1/65536 of the best there can be, at most 65,535.
public struct SelectionStatus: WireLayout {
    public static let byteCount = 64 + entries * SelectionEntry.byteCount
    /// Policies 0...7, in the order of their numbers.
    public static let entries = 8

    /// ``PolicyNumber`` that the host has selected, and that is in force.
    public var selected: UInt8 = 0
    public var inForce: UInt8 = 0
    /// ``PolicyReason``, or a number that isn't one.
    public var reason: UInt8 = 0
    /// Decisions in an epoch.
    public var decisionsPerEpoch: UInt8 = 0
    /// Epochs since the firmware started, wrapping.
    public var epoch: UInt32 = 0
    /// Measured in the latest epoch, and in the one before.
    public var measured: UInt16 = 0
    public var measuredBefore: UInt16 = 0
    /// The terms of ``measured``.
    public var latency: UInt16 = 0
    public var throughput: UInt16 = 0
    public var fairness: UInt16 = 0
    /// Changes of the policy in force, allocations undone, times that the fallback took over because of the guard rail; wrapping.
    public var switches: UInt32 = 0
    public var undone: UInt32 = 0
    public var guardRails: UInt32 = 0
    /// Decisions since the firmware started, and those that aren't in the log any more; wrapping.
    public var decisions: UInt32 = 0
    public var overwritten: UInt32 = 0
    /// Policies that `adaptive` may choose, one bit each.
    public var candidates: UInt32 = 0
    public var policies = InlineArray<8, SelectionEntry>(repeating: SelectionEntry())

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        selected = bytes.number(0)
        inForce = bytes.number(1)
        reason = bytes.number(2)
        decisionsPerEpoch = bytes.number(3)
        epoch = bytes.number(4)
        measured = bytes.number(8)
        measuredBefore = bytes.number(10)
        latency = bytes.number(12)
        throughput = bytes.number(14)
        fairness = bytes.number(16)
        switches = bytes.number(20)
        undone = bytes.number(24)
        guardRails = bytes.number(28)
        decisions = bytes.number(32)
        overwritten = bytes.number(36)
        candidates = bytes.number(40)
        for place in 0..<Self.entries { policies[place] = SelectionEntry(decoding: bytes + 64 + place &* SelectionEntry.byteCount) }
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(selected, 0)
        bytes.put(inForce, 1)
        bytes.put(reason, 2)
        bytes.put(decisionsPerEpoch, 3)
        bytes.put(epoch, 4)
        bytes.put(measured, 8)
        bytes.put(measuredBefore, 10)
        bytes.put(latency, 12)
        bytes.put(throughput, 14)
        bytes.put(fairness, 16)
        bytes.zero(18, count: 2)
        bytes.put(switches, 20)
        bytes.put(undone, 24)
        bytes.put(guardRails, 28)
        bytes.put(decisions, 32)
        bytes.put(overwritten, 36)
        bytes.put(candidates, 40)
        bytes.zero(44, count: 20)
        for place in 0..<Self.entries { policies[place].encode(to: bytes + 64 + place &* SelectionEntry.byteCount) }
    }

    public static func == (left: SelectionStatus, right: SelectionStatus) -> Bool {
        for place in 0..<entries where left.policies[place] != right.policies[place] { return false }
        return left.selected == right.selected && left.inForce == right.inForce && left.reason == right.reason
            && left.decisionsPerEpoch == right.decisionsPerEpoch && left.epoch == right.epoch && left.measured == right.measured
            && left.measuredBefore == right.measuredBefore && left.latency == right.latency && left.throughput == right.throughput
            && left.fairness == right.fairness && left.switches == right.switches && left.undone == right.undone
            && left.guardRails == right.guardRails && left.decisions == right.decisions && left.overwritten == right.overwritten
            && left.candidates == right.candidates
    }
}

/// What is known of one policy. Of a policy that isn't there, or that hasn't been scored yet, all is zero.
public struct SelectionEntry: WireLayout, BitwiseCopyable {
    public static let byteCount = 24

    /// What the model predicts of it for the latest epoch's demands; that with what was learned; that with what it is worth to learn more.
    public var predicted: UInt16 = 0
    public var expected: UInt16 = 0
    public var score: UInt16 = 0
    /// What it does better, measured, than is predicted, beside what all do; in 1/65536.
    public var advantage: Int16 = 0
    /// Epochs in which it was in force, in 1/256, the older the less.
    public var experience: UInt32 = 0
    /// Epochs for which it still can't be chosen.
    public var blocked: UInt16 = 0
    /// How often it has failed, saturating.
    public var failures: UInt16 = 0
    /// Bits of ``Flag``.
    public var flags: UInt8 = 0
    /// Epochs in a row in which an uploaded policy was found good, of 16.
    public var proof: UInt8 = 0

    public enum Flag {
        public static let inForce: UInt8 = 1
        /// It is there, and `adaptive` may choose it when it isn't blocked.
        public static let candidate: UInt8 = 2
    }

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        predicted = bytes.number(0)
        expected = bytes.number(2)
        score = bytes.number(4)
        advantage = bytes.number(6)
        experience = bytes.number(8)
        blocked = bytes.number(12)
        failures = bytes.number(14)
        flags = bytes.number(16)
        proof = bytes.number(17)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(predicted, 0)
        bytes.put(expected, 2)
        bytes.put(score, 4)
        bytes.put(advantage, 6)
        bytes.put(experience, 8)
        bytes.put(blocked, 12)
        bytes.put(failures, 14)
        bytes.put(flags, 16)
        bytes.put(proof, 17)
        bytes.zero(18, count: 6)
    }
}

/// Which words of the decision log are wanted.
public struct DecisionLogRequest: WireLayout {
    public static let byteCount = 8

    /// Of the first word; positions count all words that were written since the firmware started, wrapping.
    public var position: UInt32 = 0

    public init(position: UInt32 = 0) { self.position = position }
    public init(decoding bytes: UnsafeRawPointer) { position = bytes.number(0) }
    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(position, 0)
        bytes.zero(4, count: 4)
    }
}

/// What there is in the decision log; words follow.
public struct DecisionLogHeader: WireLayout {
    public static let byteCount = 32
    /// The second word of a record, `ODLG`, and where in it its number of words is; what that is at most.
    public static let recordMagic: UInt32 = 0x474c_444f
    public static let recordLengthPlace = 3
    public static let longestRecord = 65_536

    /// Positions of the oldest record that is there, and of the end of the last one.
    public var first: UInt32 = 0
    public var end: UInt32 = 0
    /// Records since the firmware started, and those of them that were overwritten; wrapping.
    public var records: UInt32 = 0
    public var overwritten: UInt32 = 0
    /// Position of the words that follow: what was asked for, or the oldest record if that isn't there any more; and how many they are.
    public var position: UInt32 = 0
    public var count: UInt32 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        first = bytes.number(0)
        end = bytes.number(4)
        records = bytes.number(8)
        overwritten = bytes.number(12)
        position = bytes.number(16)
        count = bytes.number(20)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(first, 0)
        bytes.put(end, 4)
        bytes.put(records, 8)
        bytes.put(overwritten, 12)
        bytes.put(position, 16)
        bytes.put(count, 20)
        bytes.zero(24, count: 8)
    }
}
