import Simulation

/// Time with a fraction: 1/256 fabric cycles. Costs of small transfers on fast links are fractions of a cycle, and rounding each of
/// them to whole cycles would change the bandwidth. Wraps after more than two years of device time at 1 GHz.
public struct FineCycle: RawRepresentable, Hashable, Comparable, Sendable {
    public var rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(_ cycle: Cycle) { rawValue = cycle &<< 8 }

    /// The first whole cycle that isn't before it.
    @inlinable public var roundedUp: Cycle { (rawValue &+ 255) &>> 8 }

    @inlinable public static func < (a: FineCycle, b: FineCycle) -> Bool { a.rawValue < b.rawValue }
    @inlinable public static func + (a: FineCycle, b: FineCycle) -> FineCycle { .init(rawValue: a.rawValue &+ b.rawValue) }
    /// Zero if `b` is later.
    @inlinable public static func - (a: FineCycle, b: FineCycle) -> FineCycle {
        .init(rawValue: a.rawValue > b.rawValue ? a.rawValue &- b.rawValue : 0)
    }
    public static var zero: FineCycle { @inlinable get { .init(rawValue: 0) } }
}

extension FineCycle: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&rawValue, in: 0...FineCycle(StateArchive.lastCycle).rawValue)
    }
}

/// A bandwidth: so many bytes a microsecond (which is MB/s), on a clock of so many cycles a microsecond.
public struct Rate: Hashable, Sendable {
    /// 0: no bound.
    public var bytesPerMicrosecond: UInt32
    public var cyclesPerMicrosecond: UInt32

    @inlinable public init(bytesPerMicrosecond: UInt32, cyclesPerMicrosecond: UInt32) {
        self.bytesPerMicrosecond = bytesPerMicrosecond
        self.cyclesPerMicrosecond = cyclesPerMicrosecond
    }

    @inlinable public var isUnlimited: Bool { bytesPerMicrosecond == 0 }

    /// The time that `bytes` take, rounded up, so that a limit is never exceeded. Zero without a bound.
    @inlinable public func duration(of bytes: UInt64) -> FineCycle {
        guard bytesPerMicrosecond != 0 else { return .zero }
        let rate = UInt64(bytesPerMicrosecond)
        return .init(rawValue: (bytes &* (UInt64(cyclesPerMicrosecond) &<< 8) &+ rate &- 1) / rate)
    }
}

/// A token bucket: over any span of time, at most `depth` bytes plus the rate times the span pass.
///
/// It is kept as the time at which the bucket will be full again (the theoretical arrival time of the generic cell rate algorithm,
/// ITU-T I.371 annex A), which needs no refilling.
public struct TokenBucket: Hashable, Sendable {
    public var rate: Rate
    /// Bytes that the full bucket holds.
    public var depth: UInt64
    /// When it will be full again.
    @usableFromInline var full = FineCycle.zero

    @inlinable public init(rate: Rate, depth: UInt64) {
        self.rate = rate
        self.depth = depth
    }

    /// The first time, not before `time`, at which the bucket holds `bytes`; more than its depth counts as its depth.
    @inlinable public func earliest(for bytes: UInt64, at time: FineCycle) -> FineCycle {
        guard !rate.isUnlimited else { return time }
        return max(time, full + rate.duration(of: min(bytes, depth)) - rate.duration(of: depth))
    }

    /// Takes `bytes` at `time`.
    @inlinable public mutating func take(_ bytes: UInt64, at time: FineCycle) {
        guard !rate.isUnlimited else { return }
        full = max(full, time) + rate.duration(of: bytes)
    }
}

extension TokenBucket: ArchivedState {
    /// The clock of the rate is the configuration's.
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&rate.bytesPerMicrosecond)
        try archive.integer(&depth, in: 1...UInt64(UInt32.max))
        try archive.state(&full)
    }
}
