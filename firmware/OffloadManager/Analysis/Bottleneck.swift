/// What can hold an owner's requests up.
public enum BindingResource: UInt8, Sendable {
    case none = 0
    /// In the order of the data path's stages, from 1.
    case cores, linkToDevice, medium, linkToHost
    case memory
}

/// How an owner goes through its medium.
public enum AccessPattern: UInt8, Sendable { case unknown = 0, sequential, strided, random }

/// What an owner did in an interval.
public struct OwnerInterval: Sendable {
    public var cycles: UInt64 = 0
    /// Completed.
    public var requests: UInt32 = 0
    public var readBytes: UInt64 = 0
    public var writtenBytes: UInt64 = 0
    /// Cycles of the requests at the stages, in their order.
    public var stages = InlineArray<4, UInt64>(repeating: 0)
    /// Reads and writes by how they began.
    public var sequential: UInt32 = 0
    public var runs: UInt32 = 0
    public var strided: UInt32 = 0
    /// The most pages of its memory that the device wrote in one of the latest windows, and pages that it was granted; 0: no grant.
    public var touchedPages: UInt32 = 0
    public var grantedPages: UInt32 = 0

    public init() {}
}

/// Which resource binds an owner, and why.
///
/// Hardware says where the time of the owner's requests went, waiting included: the stage that took most of it is the one to widen, unless
/// the owner hardly waits at all. The shares are the evidence. A shared resource that is far from saturated binds by the owner's own share
/// or limit.
public struct Bottleneck: Equatable, Sendable {
    public var resource = BindingResource.none
    public var pattern = AccessPattern.unknown
    /// Of the time at all stages, in 1/1000.
    public var shares = InlineArray<4, UInt16>(repeating: 0)
    /// Requests in flight on average, in 1/256.
    public var depth: UInt32 = 0
    /// Of the resource in 1/1000, 0 for a medium or memory.
    public var utilisation: UInt16 = 0
    /// The owner's own share or limit binds, since the resource has room.
    public var isOwnShare = false

    /// Less than this many requests in flight on average, in 1/256: the owner doesn't wait for the device.
    static let idleDepth: UInt32 = 128
    /// From here on a resource counts as saturated, in 1/1000.
    static let saturated: UInt16 = 800
    private static let fewest: UInt32 = 8

    public init() {}

    /// - Parameter utilisation: of cores, link to the device, link to the host, in 1/1000.
    public init(_ interval: OwnerInterval, utilisation busy: InlineArray<3, UInt16>) {
        pattern = Self.pattern(interval)
        var sum: UInt64 = 0
        // In units of four cycles, so that no sum overflows.
        for stage in 0..<4 { sum &+= interval.stages[stage] &>> 2 }
        guard sum != 0, interval.cycles &>> 2 != 0 else { return }
        depth = Self.ratio(sum, interval.cycles &>> 2, of: 256)
        var most = 0
        for stage in 0..<4 {
            shares[stage] = UInt16(truncatingIfNeeded: Self.ratio(interval.stages[stage] &>> 2, sum, of: 1000))
            if shares[stage] > shares[most] { most = stage }
        }
        if interval.grantedPages != 0, interval.touchedPages > interval.grantedPages {
            resource = .memory
            return
        }
        guard depth >= Self.idleDepth else { return }
        resource = BindingResource(rawValue: UInt8(truncatingIfNeeded: most &+ 1)) ?? .none
        switch resource {
        case .cores: utilisation = busy[0]
        case .linkToDevice: utilisation = busy[1]
        case .linkToHost: utilisation = busy[2]
        case .none, .medium, .memory: return
        }
        isOwnShare = utilisation < Self.saturated
    }

    /// part / whole * scale, rounded down and at most 2^32 - 1, by one 32-bit division.
    static func ratio(_ part: UInt64, _ whole: UInt64, of scale: UInt32) -> UInt32 {
        // The whole gets 16 bits of its own; what is above in the part is as good as exact.
        let shift = UInt64(truncatingIfNeeded: max(48 &- whole.leadingZeroBitCount, 0))
        let (product, overflow) = UInt32(clamping: part &>> shift).multipliedReportingOverflow(by: scale)
        return overflow ? .max : product / UInt32(truncatingIfNeeded: max(whole &>> shift, 1))
    }

    private static func pattern(_ interval: OwnerInterval) -> AccessPattern {
        let all = interval.sequential &+ interval.runs
        guard all >= fewest else { return .unknown }
        if interval.sequential > all / 2 { return .sequential }
        return interval.strided > all / 2 ? .strided : .random
    }

    public static func == (a: Bottleneck, b: Bottleneck) -> Bool {
        for stage in 0..<4 where a.shares[stage] != b.shares[stage] { return false }
        return a.resource == b.resource && a.pattern == b.pattern && a.depth == b.depth && a.utilisation == b.utilisation
            && a.isOwnShare == b.isOwnShare
    }
}
