/// Which owners the statistics page shall show.
public struct StatisticsRequest: WireLayout {
    public static let byteCount = 8

    public var firstOwner: UInt16 = 0
    public var owners: UInt16 = 65

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        firstOwner = bytes.number(0)
        owners = bytes.number(2)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(firstOwner, 0)
        bytes.put(owners, 2)
        bytes.zero(4, count: 4)
    }
}

/// The head of the statistics page; ``entries`` times ``StatisticsEntry`` follow.
public struct StatisticsHeader: WireLayout {
    public static let byteCount = 64

    public var layoutVersion: UInt16 = 1
    public var entryBytes: UInt16 = UInt16(StatisticsEntry.byteCount)
    public var firstOwner: UInt16 = 0
    public var entries: UInt16 = 0
    /// Number of the latest window.
    public var window: UInt32 = 0
    /// Of the Resource Manager's table.
    public var generation: UInt32 = 0
    /// Device cycle.
    public var windowStart: UInt64 = 0
    /// Device cycle.
    public var windowEnd: UInt64 = 0
    /// Policy decisions that changed the allocation.
    public var decisionsTaken: UInt32 = 0
    /// Policy decisions that left it alone.
    public var decisionsLeft: UInt32 = 0
    /// ``PolicyNumber``.
    public var policy: UInt16 = 0
    /// The firmware's busy time, in the last second or less.
    public var busyPermille: UInt16 = 0
    public var eventsDropped: UInt32 = 0
    /// Of the firmware since boot.
    public var busyCycles: UInt64 = 0
    /// Device cycle of this page.
    public var cycle: UInt64 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        layoutVersion = bytes.number(0)
        entryBytes = bytes.number(2)
        firstOwner = bytes.number(4)
        entries = bytes.number(6)
        window = bytes.number(8)
        generation = bytes.number(12)
        windowStart = bytes.number(16)
        windowEnd = bytes.number(24)
        decisionsTaken = bytes.number(32)
        decisionsLeft = bytes.number(36)
        policy = bytes.number(40)
        busyPermille = bytes.number(42)
        eventsDropped = bytes.number(44)
        busyCycles = bytes.number(48)
        cycle = bytes.number(56)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(layoutVersion, 0)
        bytes.put(entryBytes, 2)
        bytes.put(firstOwner, 4)
        bytes.put(entries, 6)
        bytes.put(window, 8)
        bytes.put(generation, 12)
        bytes.put(windowStart, 16)
        bytes.put(windowEnd, 24)
        bytes.put(decisionsTaken, 32)
        bytes.put(decisionsLeft, 36)
        bytes.put(policy, 40)
        bytes.put(busyPermille, 42)
        bytes.put(eventsDropped, 44)
        bytes.put(busyCycles, 48)
        bytes.put(cycle, 56)
    }
}

/// One owner's part of the statistics page.
public struct StatisticsEntry: WireLayout {
    public static let byteCount = 128

    public var owner: UInt8 = 0
    /// ``active``, ``pinned``, ``logging``, ``reported``.
    public var flags: UInt8 = 0
    public var guaranteePermille: UInt16 = 0
    public var weight: UInt16 = 0
    public var serviceCores: UInt8 = 0
    /// Bytes per microsecond; 0: none.
    public var limit: UInt32 = 0
    /// As the policy sees it, in bytes per microsecond.
    public var demand: UInt32 = 0
    /// Completed since power-on, as the four after it.
    public var reads: UInt64 = 0
    public var writes: UInt64 = 0
    public var others: UInt64 = 0
    public var readBytes: UInt64 = 0
    public var writeBytes: UInt64 = 0
    /// Completed in the latest window.
    public var windowRequests: UInt32 = 0
    public var windowArrivals: UInt32 = 0
    /// Read and written; saturates.
    public var windowBytes: UInt32 = 0
    /// Latency bucket, log2 of cycles, of the median.
    public var latency50: UInt8 = 0
    public var latency90: UInt8 = 0
    public var latency99: UInt8 = 0
    public var latencyMax: UInt8 = 0
    /// Requests in flight at the end of the window.
    public var depth: UInt16 = 0
    public var depthMax: UInt16 = 0
    /// In 1/256.
    public var depthMean: UInt32 = 0
    public var sequential: UInt32 = 0
    public var distinctPages: UInt32 = 0
    public var dirtyPages: UInt32 = 0
    /// As reported by the host, with the two after it.
    public var processorPermille: UInt32 = 0
    public var memoryKiB: UInt32 = 0
    public var networkKiBPerSecond: UInt32 = 0
    public var logRecords: UInt32 = 0
    public var logLost: UInt32 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        owner = bytes.number(0)
        flags = bytes.number(1)
        guaranteePermille = bytes.number(2)
        weight = bytes.number(4)
        serviceCores = bytes.number(6)
        limit = bytes.number(8)
        demand = bytes.number(12)
        reads = bytes.number(16)
        writes = bytes.number(24)
        others = bytes.number(32)
        readBytes = bytes.number(40)
        writeBytes = bytes.number(48)
        windowRequests = bytes.number(56)
        windowArrivals = bytes.number(60)
        windowBytes = bytes.number(64)
        latency50 = bytes.number(68)
        latency90 = bytes.number(69)
        latency99 = bytes.number(70)
        latencyMax = bytes.number(71)
        depth = bytes.number(72)
        depthMax = bytes.number(74)
        depthMean = bytes.number(76)
        sequential = bytes.number(80)
        distinctPages = bytes.number(84)
        dirtyPages = bytes.number(88)
        processorPermille = bytes.number(92)
        memoryKiB = bytes.number(96)
        networkKiBPerSecond = bytes.number(100)
        logRecords = bytes.number(104)
        logLost = bytes.number(108)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(owner, 0)
        bytes.put(flags, 1)
        bytes.put(guaranteePermille, 2)
        bytes.put(weight, 4)
        bytes.put(serviceCores, 6)
        bytes.put(limit, 8)
        bytes.put(demand, 12)
        bytes.put(reads, 16)
        bytes.put(writes, 24)
        bytes.put(others, 32)
        bytes.put(readBytes, 40)
        bytes.put(writeBytes, 48)
        bytes.put(windowRequests, 56)
        bytes.put(windowArrivals, 60)
        bytes.put(windowBytes, 64)
        bytes.put(latency50, 68)
        bytes.put(latency90, 69)
        bytes.put(latency99, 70)
        bytes.put(latencyMax, 71)
        bytes.put(depth, 72)
        bytes.put(depthMax, 74)
        bytes.put(depthMean, 76)
        bytes.put(sequential, 80)
        bytes.put(distinctPages, 84)
        bytes.put(dirtyPages, 88)
        bytes.put(processorPermille, 92)
        bytes.put(memoryKiB, 96)
        bytes.put(networkKiBPerSecond, 100)
        bytes.put(logRecords, 104)
        bytes.put(logLost, 108)
        bytes.zero(7, count: 1)
        bytes.zero(112, count: 16)
    }

    /// In ``flags``: the owner was active in the latest window.
    public static let active: UInt8 = 1
    /// In ``flags``: the policy leaves the owner alone.
    public static let pinned: UInt8 = 2
    /// In ``flags``: the owner's log runs.
    public static let logging: UInt8 = 4
    /// In ``flags``: the host has reported the owner's baseline.
    public static let reported: UInt8 = 8
    /// In ``flags``: the owner has a key, which was not given; nothing else is shown.
    public static let withheld: UInt8 = 16
}

/// How long an owner's requests took since power-on, up to the end of the latest window.
public struct LatencyHistogram: WireLayout {
    public static let byteCount = 256
    public static let buckets = 32

    /// Requests by the logarithm to base 2 of their cycles, rounded down; the last bucket has all that took longer, too.
    public var counts = InlineArray<32, UInt64>(repeating: 0)

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        for bucket in 0..<Self.buckets { counts[bucket] = bytes.number(8 * bucket) }
    }

    public static func == (a: Self, b: Self) -> Bool {
        for bucket in 0..<buckets where a.counts[bucket] != b.counts[bucket] { return false }
        return true
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        for bucket in 0..<Self.buckets { bytes.put(counts[bucket], 8 * bucket) }
    }
}
